#include "payment_signature.h"

#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMESTAMP_MAX 12 /* digits */

void payment_signature_make(const char *secret, const char *timestamp, const char *body, size_t len_bytes,
                            char out[PAYMENT_SIGNATURE_SIZE])
{
    size_t head = strlen(timestamp), len = head + 1 + len_bytes;
    unsigned char digest[32], *text = malloc(len);

    if (!text)
        abort();
    memcpy(text, timestamp, head);
    text[head] = '.';
    memcpy(text + head + 1, body, len_bytes);
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), text, len, digest, NULL))
        abort();
    free(text);
    memcpy(out, "v1=", 3);
    sodium_bin2hex(out + 3, PAYMENT_SIGNATURE_SIZE - 3, digest, sizeof(digest));
}

int payment_signature_check(const char *secret, const char *timestamp, const char *signature, const char *body,
                            size_t len_bytes, int64_t now_s)
{
    char expected[PAYMENT_SIGNATURE_SIZE];
    size_t digits = timestamp ? strspn(timestamp, "0123456789") : 0;

    if (digits == 0 || digits > TIMESTAMP_MAX || timestamp[digits] || !signature ||
        strlen(signature) != PAYMENT_SIGNATURE_SIZE - 1)
        return PAYMENT_SIGNATURE_FORGED;
    payment_signature_make(secret, timestamp, body, len_bytes, expected);
    if (sodium_memcmp(expected, signature, PAYMENT_SIGNATURE_SIZE - 1) != 0)
        return PAYMENT_SIGNATURE_FORGED;
    return llabs(now_s - strtoll(timestamp, NULL, 10)) > PAYMENT_SIGNATURE_AGE_S ? PAYMENT_SIGNATURE_OLD : 0;
}
