/* A publisher's media into its ring (proto/media_ring.h): tags are gathered into groups, each one XADD. Knows FLV, not
 * RTMP. Loop thread only.
 *
 * Nothing is kept for a media Redis that is slow or away: over its own or the common bound, or when Redis loses a
 * group, groups are dropped whole until the next key frame, whose entry says so (`g`). Every entry with a key frame
 * repeats the sequence headers, so a ring that Redis lost begins anew by itself. */
#pragma once

#include "proto/flv.h"

#include <stdint.h>

struct metric;
struct redis_link;

/* Common to all writers of the process. */
struct ring_writer_pool {
    struct redis_link *media;
    size_t max_bytes_per_writer, max_bytes; /* handed to Redis and not answered */
    size_t bytes;
    struct {
        struct metric *bytes_total, *groups, *dropped_groups, *unanswered_bytes, *latency_seconds;
    } metrics;
};

struct ring_writer;

struct ring_writer *ring_writer_create(struct ring_writer_pool *pool, const char *broadcast, int64_t session);
/* Drops what was not flushed. Answers still to come are waited for in the background. */
void ring_writer_destroy(struct ring_writer *writer);

/* A frame, a sequence header or metadata. `now_ms`: monotonic. */
void ring_writer_add(struct ring_writer *writer, const struct flv_tag *tag, int64_t now_ms);
/* Ends the group that was gathered. The owner calls it every MEDIA_RING_GROUP_MS or sooner. */
void ring_writer_flush(struct ring_writer *writer);
/* The broadcast goes on under another session number: from the next key frame on. */
void ring_writer_renumber(struct ring_writer *writer, int64_t session);
/* Flushes and writes the end entry. */
void ring_writer_end(struct ring_writer *writer, const char *reason);
/* Memory held: the group and what Redis has not answered. */
size_t ring_writer_buffered_bytes(const struct ring_writer *writer);
