/* Hands finished segments over, in order and each once: the parts to the media Redis, then entry and checkpoint in one
 * step (script_segment_push) to the state Redis. Retries while Redis is away. Loop thread only. */
#pragma once

#include "services/transcoder/engine.h"

struct event_base;
struct redis_link;
struct segment_pusher;

#define SEGMENT_PUSHER_MAX_QUEUE 8 /* segments; above it no media should be read */

struct segment_pusher_options {
    struct event_base *loop;
    struct redis_link *state, *media;
    const char *broadcast, *token;
    /* `checkpoint`: what was written with it, as text; NULL at the end marker. Valid during the call. */
    void (*on_pushed)(int64_t number, int64_t latency_ms, const char *checkpoint, void *context);
    void (*on_fenced)(void *context); /* another has the lease: stop at once */
    void *context;
};

struct segment_pusher *segment_pusher_create(const struct segment_pusher_options *options);
void segment_pusher_destroy(struct segment_pusher *pusher);
/* Takes the segment's bytes. */
void segment_pusher_push(struct segment_pusher *pusher, const struct engine_segment *segment);
/* The end marker, behind everything pushed before. */
void segment_pusher_push_final(struct segment_pusher *pusher, int64_t session, int64_t number);
int segment_pusher_queued(const struct segment_pusher *pusher);
