/* What a batch of exported events covers: of each broadcast the entries behind one id, up to and including another.
 * Kept as text in the table `exports`. Pure. */
#pragma once

#include "proto/broadcast.h"
#include "proto/chat.h"

#define EXPORT_MAX_RANGES 1000
#define EXPORT_ALL        "*" /* in place of a broadcast: a stream with the events of all */

struct export_range {
    char broadcast[ID_SIZE];
    struct chat_event_id from, to;
};

/* To be freed with free(). */
char *export_ranges_format(const struct export_range *ranges, size_t count);
/* 0, or -1: not such a text, or too many. `ranges` has room for EXPORT_MAX_RANGES. */
int export_ranges_parse(const char *text, struct export_range *ranges, size_t *count);
