/* See publisher.h. A publisher that is closed while an answer of the registry is under way stays in memory, unlisted,
 * until that has come. */
#include "services/ingest/publisher.h"

#include "services/ingest/ingest.h"
#include "services/ingest/media_guard.h"
#include "services/ingest/session_registry.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "proto/keys.h"

#include <stdio.h>
#include <string.h>

#define TOUCH_EVERY_MS 500

struct publisher {
    LIST_ENTRY(publisher) entry;
    struct ingest *ingest;
    struct publisher_handlers handlers;
    void *context;
    struct session_opening *opening; /* first time, or again after a loss of Redis */
    struct session session;
    struct ring_writer *writer; /* NULL until open */
    struct media_guard guard;
    bool has_news; /* media since the last touch */
    bool is_touching;
    bool is_closed;
    int64_t touched_ms;
};

static void on_opened(enum close_reason reason, const struct session *session, void *context)
{
    struct publisher *publisher = context;

    publisher->opening = NULL;
    if (reason != CLOSE_NONE) {
        publisher->handlers.on_over(reason, publisher->context);
        return;
    }
    publisher->session = *session;
    publisher->touched_ms = clock_monotonic_ms();
    publisher->writer = ring_writer_create(&publisher->ingest->pool, session->id, session->number);
    metric_add(publisher->ingest->metrics.publishers, 1);
    publisher->handlers.on_open(publisher->context);
}

struct publisher *publisher_create(struct ingest *ingest, const char *stream_key,
                                   const struct publisher_handlers *handlers, void *context)
{
    struct publisher *publisher = alloc_zero(1, sizeof(*publisher));
    const struct media_guard_limits limits = {.max_bitrate_kbps = ingest->config->max_bitrate_kbps,
                                              .max_picture_samples = ingest->config->max_picture_samples,
                                              .keyframe_ms = ingest->config->keyframe_ms};

    publisher->ingest = ingest;
    publisher->handlers = *handlers;
    publisher->context = context;
    media_guard_init(&publisher->guard, &limits);
    publisher->opening = session_open(ingest->registry, stream_key, on_opened, publisher);
    LIST_INSERT_HEAD(&ingest->publishers, publisher, entry);
    return publisher;
}

static void release(struct publisher *publisher)
{
    if (publisher->is_closed && !publisher->is_touching)
        free(publisher);
}

void publisher_close(struct publisher *publisher, enum close_reason reason)
{
    struct ingest *ingest = publisher->ingest;

    session_open_cancel(publisher->opening);
    publisher->opening = NULL;
    if (publisher->writer) {
        const char *why = close_reason_text(reason)->name;
        ring_writer_end(publisher->writer, why);
        ring_writer_destroy(publisher->writer);
        publisher->writer = NULL;
        session_close(ingest->registry, &publisher->session, why);
        metric_add(ingest->metrics.publishers, -1);
    }
    LIST_REMOVE(publisher, entry);
    publisher->is_closed = true;
    release(publisher);
}

enum close_reason publisher_add(struct publisher *publisher, const struct flv_tag *tag)
{
    int64_t now_ms = clock_monotonic_ms();
    enum close_reason reason = media_guard_check(&publisher->guard, tag, now_ms);

    if (reason != CLOSE_NONE)
        return reason;
    publisher->has_news |= tag->is_media;
    ring_writer_add(publisher->writer, tag, now_ms);
    return CLOSE_NONE;
}

/* --- still ours? --- */

/* Redis came back empty and has the broadcast again: same line, next session. */
static void on_restored(enum close_reason reason, const struct session *session, void *context)
{
    struct publisher *publisher = context;

    publisher->opening = NULL;
    if (reason == CLOSE_UNAVAILABLE)
        return; /* the next touch will ask again */
    if (reason != CLOSE_NONE) {
        publisher->handlers.on_over(reason == CLOSE_KEY_IN_USE ? CLOSE_REPLACED : reason, publisher->context);
        return;
    }
    bool was_live = publisher->session.was_live || session->was_live;
    publisher->session = *session;
    publisher->session.was_live = was_live;
    ring_writer_renumber(publisher->writer, session->number);
    log_info("session.restored", log_str("broadcast", session->id), log_int("session", session->number));
}

static void on_touched(enum session_touched result, const struct session_key *renewed, void *context)
{
    struct publisher *publisher = context;

    publisher->is_touching = false;
    if (publisher->is_closed) {
        release(publisher);
        return;
    }
    if (renewed) {
        struct session *session = &publisher->session;
        snprintf(session->key_hash, sizeof(session->key_hash), "%s", renewed->hash);
        snprintf(session->key_version, sizeof(session->key_version), "%s", renewed->version);
    }
    if (result == SESSION_REPLACED)
        publisher->handlers.on_over(CLOSE_REPLACED, publisher->context);
    else if (result == SESSION_ENDED)
        publisher->handlers.on_over(CLOSE_BROADCAST_ENDED, publisher->context);
    else if (result == SESSION_UNKNOWN && !publisher->opening)
        publisher->opening = session_restore(publisher->ingest->registry, &publisher->session, on_restored, publisher);
}

void publisher_tick(struct publisher *publisher, int64_t now_ms)
{
    if (!publisher->writer)
        return;
    ring_writer_flush(publisher->writer);
    if (!publisher->has_news || publisher->is_touching || publisher->opening ||
        now_ms - publisher->touched_ms < TOUCH_EVERY_MS)
        return;
    publisher->has_news = false;
    publisher->touched_ms = now_ms;
    publisher->is_touching = true;
    session_touch(publisher->ingest->registry, &publisher->session, on_touched, publisher);
}

/* --- what others say --- */

/* During a takeover a broadcast may have two publishers here; `session` 0: any of them. */
static struct publisher *find(struct ingest *ingest, const char *id, int64_t session)
{
    struct publisher *publisher;

    LIST_FOREACH(publisher, &ingest->publishers, entry)
    {
        if (publisher->writer && strcmp(publisher->session.id, id) == 0 &&
            (session == 0 || publisher->session.number == session))
            return publisher;
    }
    return NULL;
}

static void on_state(struct ingest *ingest, const struct broadcast_state_event *event)
{
    struct publisher *publisher = find(ingest, event->id, 0);

    if (publisher && event->state == BROADCAST_LIVE)
        publisher->session.was_live = true;
    if (event->state != BROADCAST_ENDED && event->state != BROADCAST_ARCHIVED)
        return;
    for (; publisher; publisher = find(ingest, event->id, 0))
        publisher->handlers.on_over(CLOSE_BROADCAST_ENDED, publisher->context);
}

static void on_stream(struct ingest *ingest, const struct stream_event *event)
{
    struct publisher *publisher = event->type == STREAM_REPLACED ? find(ingest, event->id, event->session) : NULL;

    if (publisher && !publisher->opening)
        publisher->handlers.on_over(CLOSE_REPLACED, publisher->context);
}

void publishers_on_message(struct ingest *ingest, const char *channel, const char *message, size_t len_bytes)
{
    struct broadcast_state_event state;
    struct stream_event stream;

    if (strcmp(channel, CHANNEL_BROADCAST) == 0 && broadcast_state_event_parse(message, len_bytes, &state) == 0) {
        const char *outer_scope = request_scope_enter(state.request_id);

        on_state(ingest, &state);
        request_scope_leave(outer_scope);
    } else if (strcmp(channel, CHANNEL_STREAM) == 0 && stream_event_parse(message, len_bytes, &stream) == 0) {
        on_stream(ingest, &stream);
    }
}

const char *publisher_id(const struct publisher *publisher)
{
    return publisher->session.id;
}

int64_t publisher_session(const struct publisher *publisher)
{
    return publisher->session.number;
}

size_t publisher_buffered_bytes(const struct publisher *publisher)
{
    return publisher->writer ? ring_writer_buffered_bytes(publisher->writer) : 0;
}
