/* The life of an owned broadcast; see broadcast.h. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define TICK_MS        250
#define LOOK_EVERY_MS  2000
#define LOOK_WHEN_OVER 500
/* No hash, no entries: Redis was emptied and nobody has restored the broadcast for so long. */
#define FORGOTTEN_MS 600000

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct broadcast *broadcast = context;

    broadcast->read_again = true;
    broadcast_pump(broadcast);
}

struct broadcast *broadcast_create(struct uploader *uploader, const char *id, struct lease *lease,
                                   struct playlist *memory)
{
    struct broadcast *broadcast = alloc_zero(1, sizeof(*broadcast));
    struct timeval tick = {0, TICK_MS * 1000};

    broadcast->uploader = uploader;
    LIST_INSERT_HEAD(&uploader->broadcasts, broadcast, link);
    snprintf(broadcast->id, sizeof(broadcast->id), "%s", id);
    broadcast->lease = lease;
    broadcast->memory = memory;
    strcpy(broadcast->read_after, "0");
    TAILQ_INIT(&broadcast->queue);
    playlist_init(&broadcast->playlist);
    backoff_init(&broadcast->retry, 100, 2000);
    backoff_init(&broadcast->rows_retry, 200, 5000);
    broadcast->timer = event_new(uploader->loop, -1, EV_PERSIST, on_tick, broadcast);
    event_add(broadcast->timer, &tick);
    log_info("broadcast.claimed", log_str("broadcast", id), log_str("token", lease_token(lease)));
    broadcast_load(broadcast);
    return broadcast;
}

void broadcast_destroy(struct broadcast *broadcast)
{
    LIST_REMOVE(broadcast, link);
    queue_clear(broadcast);
    publish_cancel(broadcast);
    if (broadcast->lease)
        lease_release(broadcast->lease);
    if (broadcast->timer)
        event_free(broadcast->timer);
    if (broadcast->memory) {
        playlist_clear(broadcast->memory);
        free(broadcast->memory);
    }
    playlist_clear(&broadcast->playlist);
    free(broadcast);
}

void broadcast_operation_began(struct broadcast *broadcast)
{
    broadcast->operations++;
}

bool broadcast_operation_ended(struct broadcast *broadcast)
{
    broadcast->operations--;
    if (broadcast->state != BROADCAST_OVER)
        return true;
    if (broadcast->operations == 0)
        broadcast_destroy(broadcast);
    return false;
}

/* The one way out: nothing of it goes on, the claimer may give it to somebody else or take it again. */
void broadcast_release(struct broadcast *broadcast)
{
    struct playlist *memory = broadcast->memory;
    struct uploader *uploader = broadcast->uploader;

    if (broadcast->state == BROADCAST_OVER)
        return;
    if (broadcast->state == BROADCAST_RUNNING && broadcast->playlist.next_sequence > 0) {
        segment_rows_write_behind(broadcast);
        if (memory)
            playlist_clear(memory);
        memory = memory ? memory : alloc_zero(1, sizeof(*memory));
        *memory = broadcast->playlist;
        playlist_init(&broadcast->playlist);
    }
    if (memory && memory->next_sequence == 0) {
        playlist_clear(memory);
        free(memory);
        memory = NULL;
    }
    broadcast->memory = NULL;
    broadcast->state = BROADCAST_OVER;
    queue_clear(broadcast);
    publish_cancel(broadcast);
    event_free(broadcast->timer);
    broadcast->timer = NULL;
    lease_release(broadcast->lease);
    broadcast->lease = NULL;
    claimer_on_released(uploader->claimer, broadcast->id, memory);
    if (broadcast->operations == 0)
        broadcast_destroy(broadcast);
}

void broadcast_on_lease_lost(struct broadcast *broadcast)
{
    log_warn("broadcast.lease_lost", log_str("broadcast", broadcast->id));
    broadcast_release(broadcast);
}

void broadcast_drain(struct broadcast *broadcast)
{
    broadcast->is_draining = true;
    broadcast_pump(broadcast);
}

void broadcast_wake(struct broadcast *broadcast)
{
    broadcast->read_again = true;
    broadcast_pump(broadcast);
}

static void note_ended(struct broadcast *broadcast)
{
    if (broadcast->is_ended)
        return;
    broadcast->is_ended = true;
    broadcast->ended_seen_ms = clock_monotonic_ms();
    log_info("broadcast.ending", log_str("broadcast", broadcast->id));
}

void broadcast_on_ended(struct broadcast *broadcast)
{
    note_ended(broadcast);
    broadcast->looked_ms = 0;
    broadcast_pump(broadcast);
}

/* ---- what Redis says of the broadcast ---- */

static void on_streaming(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;

    if (!broadcast_operation_ended(broadcast))
        return;
    broadcast->is_looking = false;
    if (code != 0)
        return;
    broadcast->is_streaming = reply->type != REDIS_REPLY_NIL;
    /* What the transcoder has pushed before it left the list is in the queue by now: the closing waits for a read that
     * begins after this moment. */
    broadcast->was_empty = false;
    broadcast->read_again = true;
    broadcast_pump(broadcast);
}

static void on_state(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;
    enum broadcast_state state;

    if (!broadcast_operation_ended(broadcast))
        return;
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        broadcast->is_looking = false;
        return;
    }
    state = broadcast_state_from_name(reply->element[0]->str);
    if (state == BROADCAST_UNKNOWN) {
        if (!broadcast->unknown_since_ms)
            broadcast->unknown_since_ms = clock_monotonic_ms();
        if (clock_monotonic_ms() - broadcast->unknown_since_ms > FORGOTTEN_MS && broadcast->queue_count == 0)
            note_ended(broadcast);
    } else {
        broadcast->unknown_since_ms = 0;
    }
    if (state == BROADCAST_ENDED || state == BROADCAST_ARCHIVED) {
        broadcast->ended_at_ms = reply->element[1]->str ? strtoll(reply->element[1]->str, NULL, 10) : 0;
        note_ended(broadcast);
    }
    broadcast_operation_began(broadcast);
    redis_link_commandf(broadcast->uploader->state, on_streaming, broadcast, "ZSCORE " KEY_STREAMS " %s",
                        broadcast->id);
}

static void look(struct broadcast *broadcast)
{
    int64_t now = clock_monotonic_ms();

    if (broadcast->is_looking ||
        (broadcast->looked_ms && now - broadcast->looked_ms < (broadcast->is_ended ? LOOK_WHEN_OVER : LOOK_EVERY_MS)) ||
        !redis_link_is_up(broadcast->uploader->state))
        return;
    broadcast->is_looking = true;
    broadcast->looked_ms = now;
    broadcast_operation_began(broadcast);
    redis_link_commandf(broadcast->uploader->state, on_state, broadcast, "HMGET " KEY_BROADCAST "%s state ended_at_ms",
                        broadcast->id);
}

/* No final entry comes: the transcoder is gone, or was never there. */
static bool close_is_due(const struct broadcast *broadcast)
{
    int64_t waited_ms;

    if (!broadcast->is_ended || broadcast->queue_count > 0 || !broadcast->was_empty || broadcast->is_looking ||
        !broadcast->looked_ms)
        return false;
    waited_ms = clock_monotonic_ms() - broadcast->ended_seen_ms;
    if (broadcast->ended_at_ms && clock_wall_ms() - broadcast->ended_at_ms > waited_ms)
        waited_ms = clock_wall_ms() - broadcast->ended_at_ms;
    return !broadcast->is_streaming || waited_ms >= broadcast->uploader->config->final_wait_ms;
}

void broadcast_pump(struct broadcast *broadcast)
{
    if (broadcast->state == BROADCAST_OVER)
        return;
    if (broadcast->is_draining && (broadcast->stage == PUBLISH_IDLE || broadcast->failed)) {
        broadcast_release(broadcast);
        return;
    }
    look(broadcast);
    queue_read(broadcast);
    queue_fetch(broadcast);
    /* While the state cannot be had (the store is away), the bytes are brought to safety all the same. */
    if (broadcast->state != BROADCAST_RUNNING)
        return;
    segment_rows_write(broadcast);
    if (broadcast->stage == PUBLISH_IDLE && !broadcast->is_closing && close_is_due(broadcast))
        broadcast->is_closing = true;
    publish_next(broadcast);
}

int64_t broadcast_queue_age_ms(const struct broadcast *broadcast)
{
    const struct job *first = TAILQ_FIRST(&broadcast->queue);

    return first ? clock_monotonic_ms() - first->queued_ms : 0;
}
