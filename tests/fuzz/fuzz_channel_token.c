/* A playout URL's token and what is sealed in it, on any bytes; a moment of time as a creator writes it. */
#include "libcommon/sealed_token.h"
#include "services/archive/channel_definition.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_token(const struct sealed_token_key *key, const char *text)
{
    uint8_t payload[CHANNEL_PAYLOAD_SIZE];
    int64_t expires_s;
    size_t len;

    /* Nobody makes one without the key. */
    if (sealed_token_open(key, text, 0, payload, sizeof(payload), &len, &expires_s) == 0)
        abort();
}

/* What is taken is what we would have written, and comes back through a token. */
static void decode(const struct sealed_token_key *key, const uint8_t *data, size_t size)
{
    struct channel_definition definition, again;
    uint8_t payload[CHANNEL_PAYLOAD_SIZE], opened[CHANNEL_PAYLOAD_SIZE];
    char token[SEALED_TOKEN_SIZE(CHANNEL_PAYLOAD_SIZE)];
    size_t len, opened_len;

    if (channel_definition_decode(&definition, data, size) != 0)
        return;
    if (definition.items_count < 1 || definition.items_count > PLAYOUT_MAX_ITEMS)
        abort();
    len = channel_definition_encode(&definition, payload);
    if (channel_definition_decode(&again, payload, len) != 0 || memcmp(&definition, &again, sizeof(again)) != 0)
        abort();
    if (sealed_token_seal(key, payload, len, 1000, token, sizeof(token)) != 0 ||
        sealed_token_open(key, token, 999, opened, sizeof(opened), &opened_len, NULL) != 0 || opened_len != len ||
        memcmp(opened, payload, len) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sealed_token_key key;
    char *text = malloc(size + 1);
    int64_t ms;

    if (!text)
        abort();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    sealed_token_key_init(&key, "secret", "channel");
    open_token(&key, text);
    decode(&key, data, size);
    if (channel_parse_moment(text, &ms) == 0 && (ms < CHANNEL_EARLIEST_START_MS || ms > CHANNEL_LATEST_START_MS))
        abort();
    free(text);
    return 0;
}
