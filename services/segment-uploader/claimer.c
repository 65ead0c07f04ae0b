/* Which broadcasts are ours. KEY_UPLOADS lists those that have something to upload (or to close); each is worked on by
 * who holds its lease. Polled, with CHANNEL_SEGMENT_QUEUED as the wake-up for new ones.
 *
 * Of a broadcast that was ours the playlist is remembered for a while: if Redis comes back empty, it goes on from
 * there. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/service.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <search.h>
#include <stdio.h>

#define POLL_MS    250
#define MAX_LISTED "20000"
/* How long a hung uploader holds its broadcasts up; also bounds how slow a store may take a playlist. */
#define LEASE_TTL_MS 4000
/* A killed uploader's lease needs two looks, see lease.h. With many broadcasts they are asked for less often. */
#define HELD_RETRY_MS 150
#define WAKE_RETRY_MS 100
#define MEMORY_MS     600000
/* Endings that nobody heard of: looked for once after each (re)connection. */
#define ENDED_LOOK_BACK_MS 600000

struct known {
    char id[ID_SIZE]; /* first: the key of the tree */
    TAILQ_ENTRY(known) link;
    struct claimer *claimer;
    struct broadcast *broadcast; /* ours */
    bool is_acquiring, is_listed;
    int64_t next_try_ms, last_seen_ms;
    struct playlist *memory;
    int64_t memory_ms;
};

struct claimer {
    struct uploader *uploader;
    struct event *timer;
    void *tree; /* tsearch() of struct known */
    TAILQ_HEAD(, known) list;
    int owned;
    unsigned listed;
    bool is_listing, is_draining;
};

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static struct known *find(struct claimer *claimer, const char *id)
{
    struct known **found = tfind(id, &claimer->tree, compare);

    return found ? *found : NULL;
}

static struct known *find_or_add(struct claimer *claimer, const char *id)
{
    struct known *known = find(claimer, id);

    if (known)
        return known;
    known = alloc_zero(1, sizeof(*known));
    snprintf(known->id, sizeof(known->id), "%s", id);
    known->claimer = claimer;
    if (!tsearch(known, &claimer->tree, compare))
        abort();
    TAILQ_INSERT_TAIL(&claimer->list, known, link);
    return known;
}

static void forget_memory(struct known *known)
{
    if (known->memory)
        playlist_clear(known->memory);
    free(known->memory);
    known->memory = NULL;
}

static void remove_known(struct claimer *claimer, struct known *known)
{
    tdelete(known, &claimer->tree, compare);
    TAILQ_REMOVE(&claimer->list, known, link);
    forget_memory(known);
    free(known);
}

/* ---- leases ---- */

static void on_lease_lost(struct lease *lease, void *context)
{
    struct known *known = context;

    if (known->broadcast)
        broadcast_on_lease_lost(known->broadcast);
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct known *known = context;
    struct claimer *claimer = known->claimer;
    struct playlist *memory = known->memory;

    known->is_acquiring = false;
    if (!lease) {
        known->next_try_ms = clock_monotonic_ms() + HELD_RETRY_MS + random_below(HELD_RETRY_MS + claimer->listed / 2);
        return;
    }
    if (claimer->is_draining) {
        lease_release(lease);
        return;
    }
    known->memory = NULL;
    claimer->owned++;
    metric_set(claimer->uploader->metrics.broadcasts, claimer->owned);
    /* Its first steps may release it again, which needs the pointer: see claimer_on_released. */
    known->broadcast = broadcast_create(claimer->uploader, known->id, lease, memory);
}

static void try_acquire(struct claimer *claimer, struct known *known)
{
    struct uploader *uploader = claimer->uploader;
    char key[KEY_MAX];

    if (known->broadcast || known->is_acquiring || claimer->is_draining ||
        claimer->owned >= uploader->config->capacity || clock_monotonic_ms() < known->next_try_ms ||
        !redis_link_is_up(uploader->state))
        return;
    known->is_acquiring = true;
    known->next_try_ms = clock_monotonic_ms() + WAKE_RETRY_MS;
    key_of(key, KEY_LEASE_UPLOADER, known->id);
    lease_try_acquire(uploader->loop, uploader->state,
                      &(struct lease_options){.key = key,
                                              .fence_key = KEY_FENCE,
                                              .holder = service_instance(uploader->service),
                                              .alive_channel = uploader->alive_channel,
                                              .ttl_ms = LEASE_TTL_MS,
                                              .on_lost = on_lease_lost,
                                              .context = known},
                      on_acquired, known);
}

static void on_flushed(int code, const struct redisReply *reply, void *context)
{
    struct claimer *claimer = context;

    service_drained(claimer->uploader->service);
}

/* The leases have been given back on the same connection: once this is answered, Redis knows. */
static void finish_drain(struct claimer *claimer)
{
    redis_link_commandf(claimer->uploader->state, on_flushed, claimer, "PING");
}

void claimer_on_released(struct claimer *claimer, const char *id, struct playlist *playlist)
{
    struct known *known = find(claimer, id);

    known->broadcast = NULL;
    known->memory = playlist;
    known->memory_ms = clock_monotonic_ms();
    known->next_try_ms = known->memory_ms + WAKE_RETRY_MS;
    claimer->owned--;
    metric_set(claimer->uploader->metrics.broadcasts, claimer->owned);
    if (claimer->is_draining && claimer->owned == 0)
        finish_drain(claimer);
}

/* ---- what there is to do ---- */

static void on_list(int code, const struct redisReply *reply, void *context)
{
    struct claimer *claimer = context;
    struct known *known;

    claimer->is_listing = false;
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY)
        return;
    TAILQ_FOREACH(known, &claimer->list, link)
    {
        known->is_listed = false;
    }
    claimer->listed = (unsigned)reply->elements;
    for (size_t i = 0; i < reply->elements; i++) {
        if (!id_is_valid(reply->element[i]->str))
            continue;
        known = find_or_add(claimer, reply->element[i]->str);
        known->is_listed = true;
        known->last_seen_ms = clock_monotonic_ms();
        try_acquire(claimer, known);
    }
}

static void list_uploads(struct claimer *claimer)
{
    if (claimer->is_listing || claimer->is_draining || !redis_link_is_up(claimer->uploader->state))
        return;
    claimer->is_listing = true;
    redis_link_commandf(claimer->uploader->state, on_list, claimer, "ZRANGE " KEY_UPLOADS " 0 " MAX_LISTED);
}

static void update_gauges(struct claimer *claimer)
{
    struct uploader *uploader = claimer->uploader;
    const struct known *known;
    int64_t oldest_ms = 0;
    int queued = 0;

    TAILQ_FOREACH(known, &claimer->list, link)
    {
        int64_t age_ms = known->broadcast ? broadcast_queue_age_ms(known->broadcast) : 0;

        if (age_ms > oldest_ms)
            oldest_ms = age_ms;
        if (known->broadcast)
            queued += known->broadcast->queue_count;
    }
    metric_set(uploader->metrics.queue_age, (double)oldest_ms / 1e3);
    metric_set(uploader->metrics.queued_segments, queued);
}

static void forget_old(struct claimer *claimer)
{
    int64_t now = clock_monotonic_ms();
    struct known *known, *next;

    for (known = TAILQ_FIRST(&claimer->list); known; known = next) {
        next = TAILQ_NEXT(known, link);
        if (known->broadcast || known->is_acquiring || known->is_listed)
            continue;
        if (known->memory && now - known->memory_ms > MEMORY_MS)
            forget_memory(known);
        if (!known->memory && now - known->last_seen_ms > 10 * POLL_MS)
            remove_known(claimer, known);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct claimer *claimer = context;

    list_uploads(claimer);
    update_gauges(claimer);
    forget_old(claimer);
}

void claimer_wake(struct claimer *claimer, const char *id)
{
    struct known *known = find_or_add(claimer, id);

    known->last_seen_ms = clock_monotonic_ms();
    if (known->broadcast)
        broadcast_wake(known->broadcast);
    else
        try_acquire(claimer, known);
}

/* ---- endings ---- */

/* The playlist of an ended broadcast must be closed even if Redis lost the list, or nothing was ever uploaded: whoever
 * claims it finds out. */
static void queue_closing(struct claimer *claimer, const char *id)
{
    redis_link_commandf(claimer->uploader->state, NULL, NULL, "ZADD " KEY_UPLOADS " NX %lld %s",
                        (long long)clock_wall_ms(), id);
}

void claimer_on_ended(struct claimer *claimer, const char *id)
{
    struct known *known = find(claimer, id);

    if (known && known->broadcast)
        broadcast_on_ended(known->broadcast);
    else
        queue_closing(claimer, id);
}

struct ended_check {
    struct claimer *claimer;
    char id[ID_SIZE];
};

static void on_checked(int code, const struct redisReply *reply, void *context)
{
    struct ended_check *check = context;

    if (code == 0 && reply->type == REDIS_REPLY_STRING && broadcast_state_from_name(reply->str) == BROADCAST_ENDED)
        claimer_on_ended(check->claimer, check->id);
    free(check);
}

static void on_recent(int code, const struct redisReply *reply, void *context)
{
    struct claimer *claimer = context;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < reply->elements; i++) {
        struct ended_check *check;

        if (!id_is_valid(reply->element[i]->str))
            continue;
        check = alloc_zero(1, sizeof(*check));
        check->claimer = claimer;
        snprintf(check->id, sizeof(check->id), "%s", reply->element[i]->str);
        redis_link_commandf(claimer->uploader->state, on_checked, check, "HGET " KEY_BROADCAST "%s state", check->id);
    }
}

void claimer_wake_all(struct claimer *claimer)
{
    struct known *known, *next;

    list_uploads(claimer);
    redis_link_commandf(claimer->uploader->state, on_recent, claimer, "ZRANGEBYSCORE " KEY_BROADCASTS " %lld +inf",
                        (long long)(clock_wall_ms() - ENDED_LOOK_BACK_MS));
    for (known = TAILQ_FIRST(&claimer->list); known; known = next) {
        next = TAILQ_NEXT(known, link);
        if (known->broadcast)
            broadcast_wake(known->broadcast);
    }
}

/* ---- life ---- */

struct claimer *claimer_create(struct uploader *uploader)
{
    struct claimer *claimer = alloc_zero(1, sizeof(*claimer));
    struct timeval every = {0, POLL_MS * 1000};

    claimer->uploader = uploader;
    TAILQ_INIT(&claimer->list);
    claimer->timer = event_new(uploader->loop, -1, EV_PERSIST, on_tick, claimer);
    event_add(claimer->timer, &every);
    return claimer;
}

void claimer_drain(struct claimer *claimer)
{
    struct known *known, *next;

    claimer->is_draining = true;
    if (claimer->owned == 0) {
        finish_drain(claimer);
        return;
    }
    for (known = TAILQ_FIRST(&claimer->list); known; known = next) {
        next = TAILQ_NEXT(known, link);
        if (known->broadcast)
            broadcast_drain(known->broadcast);
    }
}

void claimer_release_all(struct claimer *claimer)
{
    struct known *known, *next;

    claimer->is_draining = true;
    event_del(claimer->timer);
    for (known = TAILQ_FIRST(&claimer->list); known; known = next) {
        next = TAILQ_NEXT(known, link);
        if (known->broadcast)
            broadcast_release(known->broadcast);
    }
}

void claimer_destroy(struct claimer *claimer)
{
    struct known *known;

    if (!claimer)
        return;
    event_free(claimer->timer);
    while ((known = TAILQ_FIRST(&claimer->list)))
        remove_known(claimer, known);
    free(claimer);
}
