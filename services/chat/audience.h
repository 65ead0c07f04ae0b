/* The viewers of one room on one worker, and the frames they are sent. Worker thread only.
 *
 * A ring of frames that all share: text is composed once however many watch, and each connection has a cursor. In a
 * quiet room an event goes out at once; in a busy one events are gathered for frame_ms. A viewer whose cursor falls out
 * of the ring loses the old comments, nobody else notices. */
#pragma once

#include "connection.h"

#include <stddef.h>
#include <stdint.h>

struct chat;
struct worker;

struct frame {
    size_t len;
    size_t events;
    unsigned char bytes[]; /* LWS_PRE in front of the text */
};

struct audience {
    uint64_t id;
    struct worker *worker;
    struct audience *dirty_next; /* in the worker's list of those with events to flush */
    bool is_dirty;
    struct connection *first;
    size_t count;
    size_t behind; /* of them that have not taken the newest frame */
    struct frame **ring;
    uint64_t next_frame; /* number of the next one; the ring holds those from first_frame on */
    uint64_t first_frame;
    size_t ring_bytes;
    struct {
        struct event_batch *batch;
        size_t index;
    } * pending;
    size_t pending_count, pending_capacity;
    int64_t flushed_ms;
    int64_t paced_ms; /* until when the frames up to now are enough: at most two frame times ahead */
};

struct audience *audience_create(struct worker *worker, uint64_t id);
void audience_destroy(struct audience *audience); /* nobody is in it any more */
void audience_add(struct audience *audience, struct connection *connection);
void audience_remove(struct audience *audience, struct connection *connection);
/* When to flush it, or to ask again: one frame in frame_ms, and one on top of that after a pause, so that in a quiet
 * room nobody waits because the number of viewers, or another comment, has just gone out. Later while most have not
 * taken the last one: another would only be one more to write, so what comes is gathered a little longer. */
int64_t audience_due_ms(const struct audience *audience, int64_t now_ms);
/* Events for all, to be flushed when the audience is due: in a quiet room, at once (worker_flush). */
void audience_post(struct audience *audience, struct event_batch *batch, int64_t now_ms);
/* Returns how many bytes each viewer is sent. */
size_t audience_flush(struct audience *audience, int64_t now_ms);
/* What the connection is to be sent next, or NULL; moves a cursor that fell out of the ring. */
struct frame *audience_next(struct audience *audience, struct connection *connection);
bool audience_has_next(const struct audience *audience, const struct connection *connection);
