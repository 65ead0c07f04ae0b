/* Stream keys: random, stored as a hash (for ingest) and sealed (for the owner, sealed_secret.c), never in the clear.
 */
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
