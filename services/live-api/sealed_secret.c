/* Secrets that have to be read again (stream keys by their owners, what signs a webhook's deliveries) lie sealed. */
#include "live_api.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define OVERHEAD (crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES)

size_t secret_seal(const struct live_api *api, const char *secret, uint8_t sealed[SECRET_SEALED_MAX])
{
    size_t len = strlen(secret);

    assert(OVERHEAD + len <= SECRET_SEALED_MAX);
    randombytes_buf(sealed, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(sealed + crypto_secretbox_NONCEBYTES, (const unsigned char *)secret, len, sealed,
                          api->seal_key);
    return OVERHEAD + len;
}

int secret_open(const struct live_api *api, const uint8_t *sealed, size_t len, char *secret, size_t secret_size)
{
    if (len <= OVERHEAD || len - OVERHEAD >= secret_size)
        return -1;
    secret[len - OVERHEAD] = '\0';
    return crypto_secretbox_open_easy((unsigned char *)secret, sealed + crypto_secretbox_NONCEBYTES,
                                      len - crypto_secretbox_NONCEBYTES, sealed, api->seal_key);
}
