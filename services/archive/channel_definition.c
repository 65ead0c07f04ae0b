#include "channel_definition.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define VERSION    1
#define FLAG_LOOP  1
#define HEAD_BYTES 10
#define MINUTE_S   60
#define HOUR_S     3600

_Static_assert(CHANNEL_PAYLOAD_SIZE <= SEALED_TOKEN_PAYLOAD_MAX, "a channel fits its token");

int channel_definition_add(struct channel_definition *definition, const char *id)
{
    if (!id_is_valid(id) || definition->items_count == PLAYOUT_MAX_ITEMS)
        return -1;
    strcpy(definition->items[definition->items_count++], id);
    return 0;
}

void channel_definition_items_text(const struct channel_definition *definition, char out[CHANNEL_ITEMS_TEXT_SIZE])
{
    size_t used = 0;

    out[0] = '\0';
    for (int i = 0; i < definition->items_count; i++)
        used +=
            (size_t)snprintf(out + used, CHANNEL_ITEMS_TEXT_SIZE - used, "%s%s", i ? "\n" : "", definition->items[i]);
}

int channel_definition_parse_items(struct channel_definition *definition, const char *text)
{
    definition->items_count = 0;
    while (*text) {
        size_t len = strcspn(text, "\n");
        char id[ID_SIZE];

        if (len >= sizeof(id))
            return -1;
        memcpy(id, text, len);
        id[len] = '\0';
        if (channel_definition_add(definition, id) != 0)
            return -1;
        text += len + (text[len] == '\n');
    }
    return definition->items_count > 0 ? 0 : -1;
}

size_t channel_definition_encode(const struct channel_definition *definition, uint8_t out[CHANNEL_PAYLOAD_SIZE])
{
    out[0] = VERSION;
    out[1] = definition->loop ? FLAG_LOOP : 0;
    for (int i = 0; i < 8; i++)
        out[2 + i] = (uint8_t)((uint64_t)definition->start_ms >> (56 - 8 * i));
    channel_definition_items_text(definition, (char *)out + HEAD_BYTES);
    return HEAD_BYTES + strlen((const char *)out + HEAD_BYTES);
}

int channel_definition_decode(struct channel_definition *definition, const uint8_t *payload, size_t len_bytes)
{
    char text[CHANNEL_ITEMS_TEXT_SIZE];
    uint64_t start_ms = 0;

    memset(definition, 0, sizeof(*definition));
    if (len_bytes <= HEAD_BYTES || len_bytes - HEAD_BYTES >= sizeof(text) || payload[0] != VERSION ||
        payload[1] > FLAG_LOOP || memchr(payload + HEAD_BYTES, '\0', len_bytes - HEAD_BYTES))
        return -1;
    for (int i = 0; i < 8; i++)
        start_ms = start_ms << 8 | payload[2 + i];
    definition->start_ms = (int64_t)start_ms;
    definition->loop = payload[1] == FLAG_LOOP;
    memcpy(text, payload + HEAD_BYTES, len_bytes - HEAD_BYTES);
    text[len_bytes - HEAD_BYTES] = '\0';
    if (definition->start_ms < CHANNEL_EARLIEST_START_MS || definition->start_ms > CHANNEL_LATEST_START_MS)
        return -1;
    return channel_definition_parse_items(definition, text);
}

/* The zone at the end: "Z" or "+09:00", in seconds. 0 or -1. */
static int parse_zone(const char *text, int *offset_s)
{
    int hours, minutes, used = 0;

    *offset_s = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return 0;
    if ((text[0] != '+' && text[0] != '-') || strlen(text) != 6 ||
        sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 || used != 5 || hours < 0 || hours > 23 ||
        minutes < 0 || minutes > 59)
        return -1;
    *offset_s = (hours * HOUR_S + minutes * MINUTE_S) * (text[0] == '-' ? -1 : 1);
    return 0;
}

int channel_parse_moment(const char *text, int64_t *ms)
{
    struct tm at = {0}, normal;
    int used = 0, offset_s;
    time_t seconds;

    if (strlen(text) > 40 ||
        sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d%n", &at.tm_year, &at.tm_mon, &at.tm_mday, &at.tm_hour, &at.tm_min,
               &used) != 5 ||
        used != 16)
        return -1;
    text += used;
    if (*text == ':') {
        if (sscanf(text, ":%2d%n", &at.tm_sec, &used) != 1 || used != 3)
            return -1;
        text += used;
        if (*text == '.')
            text += 1 + strspn(text + 1, "0123456789");
    }
    at.tm_year -= 1900;
    at.tm_mon -= 1;
    normal = at;
    seconds = timegm(&normal);
    /* timegm() makes a March of the 30th of February: then it was no date. */
    if (parse_zone(text, &offset_s) != 0 || normal.tm_mday != at.tm_mday || normal.tm_mon != at.tm_mon ||
        normal.tm_hour != at.tm_hour || normal.tm_min != at.tm_min || normal.tm_sec != at.tm_sec)
        return -1;
    *ms = ((int64_t)seconds - offset_s) * 1000;
    return *ms >= CHANNEL_EARLIEST_START_MS && *ms <= CHANNEL_LATEST_START_MS ? 0 : -1;
}
