/* The server's side of the RTMP handshake, plain and with digests (as Flash players since 9 and some encoders ask for).
 * Bytes in, bytes out; no I/O. Any thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct buffer;

#define RTMP_HANDSHAKE_SIZE 1536 /* of C1, C2, S1, S2 */

struct rtmp_handshake {
    size_t received; /* of C0, C1 and C2 together */
    uint8_t hello[1 + RTMP_HANDSHAKE_SIZE];
};

void rtmp_handshake_init(struct rtmp_handshake *handshake);
/* Takes what belongs to the handshake and appends the answer (S0 S1 S2, once) to `out`.
 * 1: complete; 0: more is needed; -1: not RTMP (an unknown version), or `out` is full. */
int rtmp_handshake_feed(struct rtmp_handshake *handshake, const uint8_t *bytes, size_t len_bytes, size_t *taken,
                        struct buffer *out) __attribute__((warn_unused_result));

/* Where the digest of a C1 or S1 lies in one of the two layouts (0 and 1). */
size_t rtmp_handshake_digest_offset(const uint8_t hello[RTMP_HANDSHAKE_SIZE], int layout);
/* HMAC-SHA256 over a C1 or S1 without its digest. `is_server`: with the server's key. */
void rtmp_handshake_digest(const uint8_t hello[RTMP_HANDSHAKE_SIZE], size_t offset, int is_server, uint8_t out[32]);
