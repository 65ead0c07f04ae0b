/* The seam between a protocol and everything behind it: whoever has a stream key and media frames with times is a
 * publisher; RTMP is one way to bring them, SRT or WHIP would be others. Loop thread only.
 *
 *     publisher = publisher_create(ingest, key, &handlers, context);   -> handlers.on_open, once allowed
 *     publisher_add(publisher, &tag); … publisher_tick(publisher) every MEDIA_RING_GROUP_MS or sooner
 *     publisher_close(publisher, CLOSE_LOST);
 *
 * Behind it: media_guard (what may be sent), ring_writer (the ring), session_registry (whose broadcast it is). */
#pragma once

#include "services/ingest/close_reason.h"

#include "proto/flv.h"

#include <stddef.h>
#include <stdint.h>

struct ingest;
struct publisher;

struct publisher_handlers {
    /* May send media now. */
    void (*on_open)(void *context);
    /* Refused, or its broadcast ended, or another took it over: publisher_close() it with this reason. */
    void (*on_over)(enum close_reason reason, void *context);
};

/* No handler runs before it returns. */
struct publisher *publisher_create(struct ingest *ingest, const char *stream_key,
                                   const struct publisher_handlers *handlers, void *context);
/* A frame, sequence header or metadata. Anything but CLOSE_NONE: close it with that reason. */
enum close_reason publisher_add(struct publisher *publisher, const struct flv_tag *tag);
/* Writes the group that was gathered, and tells the registry now and then that media arrives. */
void publisher_tick(struct publisher *publisher, int64_t now_ms);
/* Ends the session (the ring's end entry, suspended at once) and frees. Also from inside a handler. No handler runs any
 * more. */
void publisher_close(struct publisher *publisher, enum close_reason reason);

/* "" until it is open. */
const char *publisher_id(const struct publisher *publisher);
int64_t publisher_session(const struct publisher *publisher);
size_t publisher_buffered_bytes(const struct publisher *publisher);
/* CHANNEL_BROADCAST and CHANNEL_STREAM, from main.c. May close publishers. */
void publishers_on_message(struct ingest *ingest, const char *channel, const char *message, size_t len_bytes);
