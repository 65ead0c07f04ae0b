/* Sealed tokens: text that only we can read or make, for URLs. XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha, libsodium's
 * crypto_aead_xchacha20poly1305_ietf) over `expires_s` and a payload, as base64url without padding (RFC 4648, 5).
 *
 * The nonce is a keyed hash of what is sealed (BLAKE2b; a synthetic nonce, as in RFC 5297), so the same payload with
 * the same end is the same token, whichever process makes it: whoever lets the end lie on a grid
 * (sealed_token_window_end) gives all viewers of a window one URL, and a CDN one object. Equal tokens tell that their
 * payloads are equal, nothing more. `purpose` keeps tokens of one kind from being taken for another's.
 *
 *     sealed_token_key_init(&key, secret, "playout");
 *     sealed_token_seal(&key, payload, len, sealed_token_window_end(now_s, 3600), token, sizeof(token));
 *
 * Not a bearer token of a user: that is access_token.h. Any thread; no state. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SEALED_TOKEN_KEY_BYTES   32
#define SEALED_TOKEN_PAYLOAD_MAX 4096
/* Characters of a token over `payload` bytes, with the NUL: nonce 24, end 8 and MAC 16, then base64. */
#define SEALED_TOKEN_SIZE(payload) ((24 + 8 + 16 + (payload) + 2) / 3 * 4 + 1)

struct sealed_token_key {
    uint8_t seal[SEALED_TOKEN_KEY_BYTES], nonce[SEALED_TOKEN_KEY_BYTES];
};

enum sealed_token_error {
    SEALED_TOKEN_FORGED = -1,  /* not a token of this key and purpose, or changed in any bit */
    SEALED_TOKEN_EXPIRED = -2, /* ours, but its end has passed */
    SEALED_TOKEN_SIZE_LOW = -3 /* `payload` does not fit where it is wanted; nothing was written */
};

/* `secret`: a configured string of any length; `purpose`: a short constant. */
void sealed_token_key_init(struct sealed_token_key *key, const char *secret, const char *purpose);
/* `out` gets a NUL-terminated token. `expires_s`: seconds since 1970. 0, or SEALED_TOKEN_SIZE_LOW: `out_size` is below
 * SEALED_TOKEN_SIZE(len_bytes), or the payload above SEALED_TOKEN_PAYLOAD_MAX. */
int sealed_token_seal(const struct sealed_token_key *key, const void *payload, size_t len_bytes, int64_t expires_s,
                      char *out, size_t out_size) __attribute__((warn_unused_result));
/* The payload into `out`, its length into `len_bytes`, its end into `expires_s` (may be NULL). 0 or a
 * sealed_token_error. The bytes are the caller's, there is no NUL behind them. */
int sealed_token_open(const struct sealed_token_key *key, const char *token, int64_t now_s, void *out, size_t out_size,
                      size_t *len_bytes, int64_t *expires_s) __attribute__((warn_unused_result));
/* The end of the window after the one that `now_s` lies in: a token made now is good for one to two windows. */
int64_t sealed_token_window_end(int64_t now_s, int64_t window_s);
