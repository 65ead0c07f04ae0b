/* What a payment provider sends is signed: HMAC-SHA-256 with the secret of both over "<timestamp>.<body>", and the
 * timestamp is near now, so that what was overheard is worth nothing for long. Pure; any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define PAYMENT_SIGNATURE_HEADER "X-Hanabi-Signature" /* "v1=<64 hex digits>" */
#define PAYMENT_TIMESTAMP_HEADER "X-Hanabi-Timestamp" /* seconds since 1970 */
#define PAYMENT_SIGNATURE_AGE_S  300
#define PAYMENT_SIGNATURE_SIZE   (sizeof("v1=") + 64)

enum payment_signature_error {
    PAYMENT_SIGNATURE_FORGED = -1, /* missing, malformed or not of this secret, timestamp and body */
    PAYMENT_SIGNATURE_OLD = -2,    /* ours, but its timestamp is more than PAYMENT_SIGNATURE_AGE_S from now */
};

/* The header's value for this body. */
void payment_signature_make(const char *secret, const char *timestamp, const char *body, size_t len_bytes,
                            char out[PAYMENT_SIGNATURE_SIZE]);
/* 0 or a payment_signature_error. `timestamp` and `signature` are the headers' values, NULL when absent. Takes the same
 * time whatever the signature. */
int payment_signature_check(const char *secret, const char *timestamp, const char *signature, const char *body,
                            size_t len_bytes, int64_t now_s) __attribute__((warn_unused_result));
