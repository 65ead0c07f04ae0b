/* What comes to live-api from outside besides JSON bodies: the headers of a payment's webhook, the URL of an oEmbed
 * question, an announcement on its channel. */
#include "proto/keys.h"
#include "services/live-api/notice_waiters.h"
#include "services/live-api/oembed_url.h"
#include "services/live-api/payment_signature.h"

#include <stdlib.h>
#include <string.h>

#define ORIGIN "http://a.example"
#define SECRET "secret"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines: timestamp, signature, body. */
static void check_payment(char *text, size_t size)
{
    char expected[PAYMENT_SIGNATURE_SIZE], *signature = strchr(text, '\n'), *body = NULL;

    if (signature) {
        *signature++ = '\0';
        body = strchr(signature, '\n');
    }
    if (body)
        *body++ = '\0';
    size_t len = body ? size - (size_t)(body - text) : 0;
    int code = payment_signature_check(SECRET, text, signature, body ? body : "", len, 1700000000);

    if (code == PAYMENT_SIGNATURE_FORGED)
        return;
    payment_signature_make(SECRET, text, body ? body : "", len, expected);
    if (!signature || strcmp(signature, expected) != 0)
        abort();
    long long away_s = llabs(1700000000 - strtoll(text, NULL, 10));
    if ((code == 0) != (away_s <= PAYMENT_SIGNATURE_AGE_S))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), id[ID_SIZE];

    if (!text)
        abort();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (oembed_url_take_id(text, ORIGIN, id) && (!id_is_valid(id) || strncmp(text, ORIGIN, strlen(ORIGIN)) != 0))
        abort();
    if (notice_announcement_take_id(text, size, id) && !id_is_valid(id))
        abort();
    check_payment(text, size);
    free(text);
    return 0;
}
