#include "export_ranges.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_SIZE (ID_SIZE + 2 * CHAT_EVENT_ID_SIZE + 2)

char *export_ranges_format(const struct export_range *ranges, size_t count)
{
    char *text = malloc(count * LINE_SIZE + 1), *at = text;

    if (!text)
        abort();
    *at = '\0';
    for (size_t i = 0; i < count; i++) {
        char from[CHAT_EVENT_ID_SIZE], to[CHAT_EVENT_ID_SIZE];

        at += sprintf(at, "%s %s %s\n", ranges[i].broadcast, chat_event_id_format(ranges[i].from, from),
                      chat_event_id_format(ranges[i].to, to));
    }
    return text;
}

static int parse_line(const char *line, struct export_range *range)
{
    char from[CHAT_EVENT_ID_SIZE], to[CHAT_EVENT_ID_SIZE], rest;

    if (sscanf(line, "%64s %41s %41s%c", range->broadcast, from, to, &rest) != 3 ||
        (strcmp(range->broadcast, EXPORT_ALL) != 0 && !id_is_valid(range->broadcast)))
        return -1;
    if (chat_event_id_parse(from, &range->from) != 0 || chat_event_id_parse(to, &range->to) != 0)
        return -1;
    return chat_event_id_compare(range->from, range->to) <= 0 ? 0 : -1;
}

int export_ranges_parse(const char *text, struct export_range *ranges, size_t *count)
{
    char line[LINE_SIZE];

    for (*count = 0; *text; ++*count) {
        size_t len = strcspn(text, "\n");

        if (text[len] != '\n' || len >= sizeof(line) || *count == EXPORT_MAX_RANGES)
            return -1;
        memcpy(line, text, len);
        line[len] = '\0';
        if (parse_line(line, &ranges[*count]) != 0)
            return -1;
        text += len + 1;
    }
    return 0;
}
