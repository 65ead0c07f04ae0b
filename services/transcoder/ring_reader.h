/* Reads a broadcast's media ring: blocking XREAD on a connection of its own, as fast as its owner takes entries. Loop
 * thread only. */
#pragma once

#include "services/transcoder/media_entry.h"

#include <stdbool.h>

struct event_base;
struct redisReply;
struct ring_reader;

struct ring_reader_options {
    struct event_base *loop;
    const char *url;
    const char *broadcast;
    bool (*wants_entry)(void *context);
    void (*on_entry)(struct media_entry *entry, void *context); /* takes it */
    void *context;
};

/* Connects; reads nothing before ring_reader_start(). NULL: the url is broken. */
struct ring_reader *ring_reader_create(const struct ring_reader_options *options);
void ring_reader_destroy(struct ring_reader *reader);
/* From the entry with this id on (`inclusive`) or behind it; "0": from the oldest. Again: drops what it has. */
void ring_reader_start(struct ring_reader *reader, const char *id, bool inclusive);
/* The owner may want entries again. */
void ring_reader_kick(struct ring_reader *reader);
/* How long the oldest entry that was read and not taken has been in the ring; 0 when there is none. `now_ms`: on the
 * media Redis' clock. */
int64_t ring_reader_lag_ms(const struct ring_reader *reader, int64_t now_ms);
/* Everything there is has been taken. */
bool ring_reader_is_drained(const struct ring_reader *reader);
/* NULL: not an entry. */
struct media_entry *ring_reader_parse(const struct redisReply *reply);
