/* The secret that signs a webhook's deliveries has to be read again, so it lies sealed, like a stream key. */
#include "webhook.h"

#include <sodium.h>
#include <string.h>

size_t webhook_secret_seal(const struct live_api *api, const char *secret, uint8_t sealed[WEBHOOK_SEALED_MAX])
{
    randombytes_buf(sealed, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(sealed + crypto_secretbox_NONCEBYTES, (const unsigned char *)secret, strlen(secret), sealed,
                          api->seal_key);
    return crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES + strlen(secret);
}

int webhook_secret_open(const struct live_api *api, const uint8_t *sealed, size_t len, char secret[WEBHOOK_SECRET_SIZE])
{
    size_t overhead = crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES;

    if (len <= overhead || len - overhead >= WEBHOOK_SECRET_SIZE)
        return -1;
    secret[len - overhead] = '\0';
    return crypto_secretbox_open_easy((unsigned char *)secret, sealed + crypto_secretbox_NONCEBYTES,
                                      len - crypto_secretbox_NONCEBYTES, sealed, api->seal_key);
}
