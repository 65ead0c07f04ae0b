/* All broadcasts' states, in this process's memory. Loop thread only.
 *
 * Versions only rise: an older one changes nothing, from whichever source it comes, so that events and snapshots may
 * overtake each other. What is over goes after a day, what never began after eight; beyond `max_entries` the longest
 * over goes first, and when nothing is over, what is new is not taken in. */
#pragma once

#include "proto/broadcast.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define STATUS_BODY_MAX   176
#define STATUS_RETRY_SIZE 6 /* characters of the number at the end of a body, in front of its brace */

struct status_entry {
    SLIST_ENTRY(status_entry) same_bucket;
    TAILQ_ENTRY(status_entry) by_age; /* in table->scheduled or table->over; live and suspended are in neither */
    int64_t version;
    int64_t since_ms; /* monotonic: since when in this state */
    enum broadcast_state state;
    uint8_t id_len;
    uint8_t body_len;
    /* {"id":"…","state":"…","version":n,"retry_after_ms":      } with room for the number: rendered once per change,
     * sent a million times */
    char body[STATUS_BODY_MAX];
};

struct status_table;

struct status_table *status_table_create(size_t max_entries, uint64_t seed);
void status_table_destroy(struct status_table *table);

enum status_update { STATUS_UPDATED, STATUS_STALE, STATUS_FULL };
enum status_update status_table_update(struct status_table *table, const char *id, enum broadcast_state state,
                                       int64_t version, int64_t since_ms);
/* NULL when unknown. Valid until the next update or expiry. */
const struct status_entry *status_table_find(const struct status_table *table, const char *id, size_t id_len);
/* Drops what has been over, or waiting, for too long. */
void status_table_expire(struct status_table *table, int64_t now_ms);
size_t status_table_count(const struct status_table *table);
size_t status_table_count_state(const struct status_table *table, enum broadcast_state state);
