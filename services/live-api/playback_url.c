/* Playback URLs that the edge can check by itself (nginx secure_link): the path carries the end of its validity and
 * base64url(MD5(expires scope secret)). The end lies on a grid, so that all viewers of a window share one URL and a CDN
 * one object. */
#include "live_api.h"

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

void playback_url_make(const struct live_api *api, const char *id, int64_t now_s, const char *file, char *out,
                       size_t out_size)
{
    int64_t window_s = api->config.playback_window_s;
    long long expires_s = (long long)((now_s / window_s + 2) * window_s);
    char text[600], signature[25];

    snprintf(text, sizeof(text), "%lldlive/%s%s", expires_s, id, api->config.hls_secret);
    sign(text, signature);
    snprintf(out, out_size, "/hls/%lld/%s/live/%s/%s", expires_s, signature, id, file);
}
