#include "audience.h"
#include "chat.h"
#include "worker.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"

#include <libwebsockets.h>

/* No frame may be so long that a slow line takes seconds for it. */
#define FRAME_MAX_BYTES 65536
/* So many times frame_ms a frame waits for those who are behind, and no longer: some never read. */
#define BEHIND_FRAMES  3
#define BEHIND_LOOK_MS 10

static void account(struct audience *audience, long long bytes)
{
    atomic_fetch_add_explicit(&audience->worker->chat->queued_bytes, bytes, memory_order_relaxed);
}

struct audience *audience_create(struct worker *worker, uint64_t id)
{
    struct audience *audience = alloc_zero(1, sizeof(*audience));

    audience->id = id;
    audience->worker = worker;
    audience->ring = alloc_zero((size_t)worker->chat->config.ring_frames, sizeof(audience->ring[0]));
    return audience;
}

static struct frame **ring_slot(struct audience *audience, uint64_t number)
{
    return &audience->ring[number % (uint64_t)audience->worker->chat->config.ring_frames];
}

static void drop_oldest(struct audience *audience)
{
    struct frame **slot = ring_slot(audience, audience->first_frame++);

    account(audience, -(long long)(*slot)->len);
    audience->ring_bytes -= (*slot)->len;
    free(*slot);
    *slot = NULL;
}

void audience_destroy(struct audience *audience)
{
    while (audience->first_frame < audience->next_frame)
        drop_oldest(audience);
    for (size_t i = 0; i < audience->pending_count; i++)
        event_batch_unref(audience->pending[i].batch);
    free(audience->pending);
    free(audience->ring);
    free(audience);
}

void audience_add(struct audience *audience, struct connection *connection)
{
    connection->audience = audience;
    connection->cursor = audience->next_frame;
    connection->audience_previous = NULL;
    connection->audience_next = audience->first;
    if (audience->first)
        audience->first->audience_previous = connection;
    audience->first = connection;
    audience->count++;
}

void audience_remove(struct audience *audience, struct connection *connection)
{
    if (connection->audience_previous)
        connection->audience_previous->audience_next = connection->audience_next;
    else
        audience->first = connection->audience_next;
    if (connection->audience_next)
        connection->audience_next->audience_previous = connection->audience_previous;
    if (connection->cursor < audience->next_frame)
        audience->behind--;
    connection->audience = NULL;
    audience->count--;
}

/* --- from events to frames --- */

static void push_frame(struct audience *audience, size_t first, size_t count, size_t text_bytes, int64_t wall_ms)
{
    static const char head[] = "{\"events\":[";
    const struct chat_config *config = &audience->worker->chat->config;
    struct frame *frame = alloc_zero(1, sizeof(*frame) + LWS_PRE + sizeof(head) + text_bytes + count + 2);
    unsigned char *at = frame->bytes + LWS_PRE;

    at = mempcpy(at, head, sizeof(head) - 1);
    for (size_t i = first; i < first + count; i++) {
        const struct event_text *event = &audience->pending[i].batch->events[audience->pending[i].index];

        if (i > first)
            *at++ = ',';
        at = mempcpy(at, event->text, event->len);
        if (event->at_ms)
            metric_observe(audience->worker->chat->metrics.delivery_seconds,
                           wall_ms > event->at_ms ? (double)(wall_ms - event->at_ms) / 1000 : 0);
    }
    *at++ = ']';
    *at++ = '}';
    frame->len = (size_t)(at - frame->bytes) - LWS_PRE;
    frame->events = count;
    while (audience->first_frame < audience->next_frame &&
           (audience->next_frame - audience->first_frame >= (uint64_t)config->ring_frames ||
            audience->ring_bytes + frame->len > (size_t)config->ring_kb * 1024))
        drop_oldest(audience);
    *ring_slot(audience, audience->next_frame++) = frame;
    audience->ring_bytes += frame->len;
    account(audience, (long long)frame->len);
}

static void pace(struct audience *audience, int64_t now_ms)
{
    int64_t frame_ms = audience->worker->chat->config.frame_ms;
    int64_t from_ms = audience->paced_ms > now_ms ? audience->paced_ms : now_ms;

    audience->paced_ms = from_ms + frame_ms < now_ms + 2 * frame_ms ? from_ms + frame_ms : now_ms + 2 * frame_ms;
}

size_t audience_flush(struct audience *audience, int64_t now_ms)
{
    size_t max_events = (size_t)audience->worker->chat->config.frame_events;
    size_t first = 0, all_bytes = 0;
    int64_t wall_ms = clock_wall_ms();

    if (audience->pending_count == 0)
        return 0;
    while (first < audience->pending_count) {
        size_t count = 0, bytes = 0;

        while (first + count < audience->pending_count && count < max_events) {
            size_t len = audience->pending[first + count].batch->events[audience->pending[first + count].index].len;

            if (count > 0 && bytes + len > FRAME_MAX_BYTES)
                break;
            bytes += len;
            count++;
        }
        push_frame(audience, first, count, bytes, wall_ms);
        first += count;
        all_bytes += bytes;
    }
    for (size_t i = 0; i < audience->pending_count; i++)
        event_batch_unref(audience->pending[i].batch);
    audience->pending_count = 0;
    audience->flushed_ms = now_ms;
    pace(audience, now_ms);
    audience->behind = audience->count;
    for (struct connection *connection = audience->first; connection; connection = connection->audience_next)
        if (!connection->is_held)
            connection_write_now(connection, now_ms);
    return all_bytes;
}

int64_t audience_due_ms(const struct audience *audience, int64_t now_ms)
{
    int64_t frame_ms = audience->worker->chat->config.frame_ms;
    int64_t first_ms = audience->paced_ms - frame_ms, last_ms = audience->flushed_ms + BEHIND_FRAMES * frame_ms;

    if (first_ms < audience->worker->rest_until_ms)
        first_ms = audience->worker->rest_until_ms;
    if (now_ms < first_ms || audience->behind <= audience->count / 2)
        return first_ms;
    return now_ms + BEHIND_LOOK_MS < last_ms ? now_ms + BEHIND_LOOK_MS : last_ms;
}

void audience_post(struct audience *audience, struct event_batch *batch, int64_t now_ms)
{
    const struct chat_config *config = &audience->worker->chat->config;
    size_t most = (size_t)(config->ring_frames * config->frame_events);

    for (size_t i = 0; i < batch->count; i++) {
        if (audience->pending_count >= most)
            audience_flush(audience, now_ms);
        if (audience->pending_count == audience->pending_capacity) {
            audience->pending_capacity = audience->pending_capacity ? audience->pending_capacity * 2 : 16;
            audience->pending =
                reallocarray(audience->pending, audience->pending_capacity, sizeof(audience->pending[0]));
            if (!audience->pending)
                abort();
        }
        audience->pending[audience->pending_count].batch = event_batch_ref(batch);
        audience->pending[audience->pending_count++].index = i;
    }
    worker_mark_dirty(audience);
}

/* --- from frames to a connection --- */

bool audience_has_next(const struct audience *audience, const struct connection *connection)
{
    return connection->cursor < audience->next_frame;
}

struct frame *audience_next(struct audience *audience, struct connection *connection)
{
    if (!audience_has_next(audience, connection))
        return NULL;
    if (connection->cursor < audience->first_frame) {
        metric_add(audience->worker->chat->metrics.skipped, (double)(audience->first_frame - connection->cursor));
        connection->cursor = audience->first_frame;
    }
    if (connection->cursor + 1 == audience->next_frame)
        audience->behind--;
    return *ring_slot(audience, connection->cursor++);
}
