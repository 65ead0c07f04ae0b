/* All that a channel's playlists depend on besides the second and its recordings: what is sealed into its URL. Pure;
 * any thread. */
#pragma once

#include "libcommon/sealed_token.h"
#include "playout.h"

#define CHANNEL_ITEMS_TEXT_SIZE   (PLAYOUT_MAX_ITEMS * ID_SIZE + 1)
#define CHANNEL_PAYLOAD_SIZE      (10 + CHANNEL_ITEMS_TEXT_SIZE)
#define CHANNEL_TOKEN_SIZE        SEALED_TOKEN_SIZE(CHANNEL_PAYLOAD_SIZE)
#define CHANNEL_EARLIEST_START_MS 946684800000LL  /* 2000 */
#define CHANNEL_LATEST_START_MS   4102444800000LL /* 2100 */

struct channel_definition {
    int64_t start_ms;
    bool loop;
    int items_count;
    char items[PLAYOUT_MAX_ITEMS][ID_SIZE];
};

/* 0, or -1: no valid id, or too many. */
int channel_definition_add(struct channel_definition *definition, const char *id);
/* Its items, a line each; as the row keeps them. */
void channel_definition_items_text(const struct channel_definition *definition, char out[CHANNEL_ITEMS_TEXT_SIZE]);
/* 0, or -1: not such a text. */
int channel_definition_parse_items(struct channel_definition *definition, const char *text);
/* The bytes to be sealed, their number returned; and back: 0, or -1: no such bytes. */
size_t channel_definition_encode(const struct channel_definition *definition, uint8_t out[CHANNEL_PAYLOAD_SIZE]);
int channel_definition_decode(struct channel_definition *definition, const uint8_t *payload, size_t len_bytes);
/* "2026-11-28T21:00:00+09:00" (RFC 3339; seconds may be missing, fractions are dropped) as milliseconds since 1970.
 * 0, or -1: not a moment within CHANNEL_EARLIEST_START_MS and CHANNEL_LATEST_START_MS. */
int channel_parse_moment(const char *text, int64_t *ms);
