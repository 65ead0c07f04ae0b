/* Signed as nginx's secure_link_md5 wants it: base64url(MD5(expires scope secret)). */
#include "proto/playback_url.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void sign(const char *text, char out[25])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    if (EVP_Digest(text, strlen(text), digest, &len, EVP_md5(), NULL) != 1)
        abort();
    EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
    for (char *c = out; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    out[strcspn(out, "=")] = '\0';
}

void playback_url_make(const struct playback_signer *signer, const char *id, int64_t now_s, const char *file, char *out,
                       size_t out_size)
{
    long long expires_s = (long long)((now_s / signer->window_s + 2) * signer->window_s);
    char text[600], signature[25];

    snprintf(text, sizeof(text), "%lldlive/%s%s", expires_s, id, signer->secret);
    sign(text, signature);
    snprintf(out, out_size, "/hls/%lld/%s/live/%s/%s", expires_s, signature, id, file);
}
