#include "load.h"

#include <openssl/hmac.h>
#include <string.h>

static size_t base64url(const void *data, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = data;
    size_t at = 0;

    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        unsigned value = (unsigned)in[i] << 16 | (have > 1 ? (unsigned)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0);

        for (size_t digit = 0; digit <= have; digit++)
            out[at++] = digits[value >> (18 - 6 * digit) & 63];
    }
    out[at] = '\0';
    return at;
}

void token_make(long number, char out[1024])
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char claims[400];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    size_t at;

    snprintf(claims, sizeof(claims), "{\"sub\":\"load%ld\",\"name\":\"load %ld\",\"role\":\"viewer\",\"exp\":%ld}",
             number, number, (long)time(NULL) + 86400);
    at = base64url(header, sizeof(header) - 1, out);
    out[at++] = '.';
    at += base64url(claims, strlen(claims), out + at);
    HMAC(EVP_sha256(), options.secret, (int)strlen(options.secret), (unsigned char *)out, at, mac, &mac_len);
    out[at++] = '.';
    base64url(mac, mac_len, out + at);
}
