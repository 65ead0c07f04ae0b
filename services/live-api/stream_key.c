/* Stream keys: random, stored as a hash (for ingest) and sealed (for the owner), never in the clear. */
#include "live_api.h"

#include "libcommon/random_id.h"

#include <openssl/sha.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

void stream_key_make(char key[STREAM_KEY_SIZE])
{
    char hex[33];

    random_hex(hex, 16);
    snprintf(key, STREAM_KEY_SIZE, "hk_%s", hex);
}

void stream_key_hash(const char *key, char hash[STREAM_KEY_HASH_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)key, strlen(key), digest);
    sodium_bin2hex(hash, STREAM_KEY_HASH_SIZE, digest, sizeof(digest));
}

size_t stream_key_seal(const struct live_api *api, const char *key, uint8_t sealed[STREAM_KEY_SEALED_MAX])
{
    randombytes_buf(sealed, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(sealed + crypto_secretbox_NONCEBYTES, (const unsigned char *)key, strlen(key), sealed,
                          api->seal_key);
    return crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + strlen(key);
}

int stream_key_open(const struct live_api *api, const uint8_t *sealed, size_t len, char key[STREAM_KEY_SIZE])
{
    size_t overhead = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;

    if (len <= overhead || len - overhead >= STREAM_KEY_SIZE)
        return -1;
    key[len - overhead] = '\0';
    return crypto_secretbox_open_easy((unsigned char *)key, sealed + crypto_secretbox_NONCEBYTES,
                                      len - crypto_secretbox_NONCEBYTES, sealed, api->seal_key);
}
