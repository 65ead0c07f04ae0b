/* See sealed_token.h. */
#include "libcommon/sealed_token.h"

#include <sodium.h>
#include <string.h>

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define MAC_BYTES   crypto_aead_xchacha20poly1305_ietf_ABYTES
#define END_BYTES   8
#define VARIANT     sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define CLEAR_MAX   (END_BYTES + SEALED_TOKEN_PAYLOAD_MAX)
#define SEALED_MAX  (NONCE_BYTES + CLEAR_MAX + MAC_BYTES)

_Static_assert(NONCE_BYTES == 24 && MAC_BYTES == 16, "SEALED_TOKEN_SIZE counts on these");

static void derive(uint8_t out[SEALED_TOKEN_KEY_BYTES], const char *secret, const char *purpose, const char *use)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, SEALED_TOKEN_KEY_BYTES);
    /* With the NULs, so that no two triples run together into the same bytes. */
    crypto_generichash_update(&state, (const unsigned char *)use, strlen(use) + 1);
    crypto_generichash_update(&state, (const unsigned char *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, (const unsigned char *)secret, strlen(secret) + 1);
    crypto_generichash_final(&state, out, SEALED_TOKEN_KEY_BYTES);
}

void sealed_token_key_init(struct sealed_token_key *key, const char *secret, const char *purpose)
{
    derive(key->seal, secret, purpose, "seal");
    derive(key->nonce, secret, purpose, "nonce");
}

static void put_end(uint8_t out[END_BYTES], int64_t value)
{
    for (int i = 0; i < END_BYTES; i++)
        out[i] = (uint8_t)((uint64_t)value >> (8 * (END_BYTES - 1 - i)));
}

static int64_t get_end(const uint8_t in[END_BYTES])
{
    uint64_t value = 0;

    for (int i = 0; i < END_BYTES; i++)
        value = value << 8 | in[i];
    return (int64_t)value;
}

int sealed_token_seal(const struct sealed_token_key *key, const void *payload, size_t len_bytes, int64_t expires_s,
                      char *out, size_t out_size)
{
    uint8_t clear[CLEAR_MAX], sealed[SEALED_MAX];

    if (len_bytes > SEALED_TOKEN_PAYLOAD_MAX || out_size < SEALED_TOKEN_SIZE(len_bytes))
        return SEALED_TOKEN_SIZE_LOW;
    put_end(clear, expires_s);
    if (len_bytes > 0)
        memcpy(clear + END_BYTES, payload, len_bytes);
    crypto_generichash(sealed, NONCE_BYTES, clear, END_BYTES + len_bytes, key->nonce, sizeof(key->nonce));
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_BYTES, NULL, clear, END_BYTES + len_bytes, NULL, 0, NULL,
                                               sealed, key->seal);
    sodium_bin2base64(out, out_size, sealed, NONCE_BYTES + END_BYTES + len_bytes + MAC_BYTES, VARIANT);
    return 0;
}

int sealed_token_open(const struct sealed_token_key *key, const char *token, int64_t now_s, void *out, size_t out_size,
                      size_t *len_bytes, int64_t *expires_s)
{
    char spelled[SEALED_TOKEN_SIZE(SEALED_TOKEN_PAYLOAD_MAX) + 4];
    uint8_t clear[CLEAR_MAX], sealed[SEALED_MAX];
    size_t sealed_len = 0, token_len = strlen(token), payload_len;
    int64_t end;

    if (token_len >= SEALED_TOKEN_SIZE(SEALED_TOKEN_PAYLOAD_MAX) ||
        sodium_base642bin(sealed, sizeof(sealed), token, token_len, NULL, &sealed_len, NULL, VARIANT) != 0 ||
        sealed_len < NONCE_BYTES + END_BYTES + MAC_BYTES)
        return SEALED_TOKEN_FORGED;
    /* libsodium 1.0.18 reads any byte above 127 as '_': only the one spelling that we would write is ours. */
    sodium_bin2base64(spelled, sizeof(spelled), sealed, sealed_len, VARIANT);
    if (strcmp(spelled, token) != 0)
        return SEALED_TOKEN_FORGED;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(clear, NULL, NULL, sealed + NONCE_BYTES, sealed_len - NONCE_BYTES,
                                                   NULL, 0, sealed, key->seal) != 0)
        return SEALED_TOKEN_FORGED;
    end = get_end(clear);
    if (now_s >= end)
        return SEALED_TOKEN_EXPIRED;
    payload_len = sealed_len - NONCE_BYTES - END_BYTES - MAC_BYTES;
    if (payload_len > out_size)
        return SEALED_TOKEN_SIZE_LOW;
    memcpy(out, clear + END_BYTES, payload_len);
    *len_bytes = payload_len;
    if (expires_s)
        *expires_s = end;
    return 0;
}

int64_t sealed_token_window_end(int64_t now_s, int64_t window_s)
{
    return (now_s / window_s + 2) * window_s;
}
