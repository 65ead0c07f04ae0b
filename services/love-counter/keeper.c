/* One process per broadcast with hearts: lease -> every second: the total, if it has changed, to the chat -> flush
 * (keeper_flush.c). A process that dies leaves everything in Redis; whoever gets the lease next goes on. */
#include "keeper.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/lease.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_MS 500
#define TICK_MS       1000
#define FLUSH_MS      1000
#define MAX_KEPT      5000

void kept_arm(struct event *timer, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(timer, &delay);
}

static void kept_free(struct kept *kept)
{
    LIST_REMOVE(kept, link);
    kept->keeper->count--;
    event_free(kept->tick);
    event_free(kept->flush);
    lease_release(kept->lease);
    free(kept);
}

void kept_end(struct kept *kept)
{
    kept->ending = true;
    event_del(kept->tick);
    event_del(kept->flush);
    if (kept->steps == 0)
        kept_free(kept);
}

bool kept_step_back(struct kept *kept)
{
    kept->steps--;
    if (!kept->ending)
        return true;
    if (kept->steps == 0)
        kept_free(kept);
    return false;
}

/* --- telling --- */

static void publish(struct kept *kept, int64_t total, const char *at_ms)
{
    char channel[KEY_MAX], message[120];

    snprintf(message, sizeof(message), "[{\"type\":\"love\",\"total\":%lld,\"at_ms\":%s}]", (long long)total, at_ms);
    redis_link_command(redis_shards_link(&kept->keeper->counter->chat_redis, kept->id), NULL, NULL, 3,
                       (const char *[]){"PUBLISH", key_of(channel, CHANNEL_CHAT_ALL, kept->id), message}, NULL);
    metric_add(kept->keeper->told, 1);
}

static bool is_tick(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 4 && reply->element[0]->type == REDIS_REPLY_INTEGER &&
           reply->element[1]->type == REDIS_REPLY_STRING && reply->element[2]->type == REDIS_REPLY_STRING &&
           reply->element[3]->type == REDIS_REPLY_STRING;
}

static void on_ticked(int code, const redisReply *reply, void *context)
{
    struct kept *kept = context;
    bool is_gone = code == 0 && !is_tick(reply); /* "gone" or "fenced" */

    if (!kept_step_back(kept))
        return;
    if (is_gone) {
        kept_end(kept);
        return;
    }
    if (code == 0) {
        enum broadcast_state state = broadcast_state_from_name(reply->element[3]->str);

        kept->told = atoll(reply->element[1]->str);
        /* Nothing comes after these two; a hash that is missing may be restored. */
        kept->is_over = state == BROADCAST_ENDED || state == BROADCAST_ARCHIVED;
        if (reply->element[0]->integer == 1)
            publish(kept, kept->told, reply->element[2]->str);
    }
    kept_arm(kept->tick, TICK_MS);
}

static void on_tick(evutil_socket_t fd, short events, void *context)
{
    struct kept *kept = context;
    char ticks[24];

    snprintf(ticks, sizeof(ticks), "%d", LOVE_TICKS_KEPT);
    kept->steps++;
    redis_link_script(kept->keeper->counter->redis, &script_love_tick, on_ticked, kept, 3,
                      (const char *[]){kept->id, lease_token(kept->lease), ticks}, NULL);
}

static void on_flush(evutil_socket_t fd, short events, void *context)
{
    struct kept *kept = context;

    if (kept->is_seeded)
        kept_flush(kept);
    else
        kept_seed(kept);
}

/* --- beginning --- */

static void on_lost(struct lease *lease, void *context)
{
    kept_end(context);
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct kept *kept = context;

    kept->lease = lease;
    if (!lease)
        kept->ending = true;
    if (!kept_step_back(kept))
        return;
    kept_seed(kept);
}

void kept_begin(struct kept *kept)
{
    kept->is_seeded = true;
    kept_arm(kept->tick, 0);
    kept_arm(kept->flush, FLUSH_MS);
}

static void begin(struct keeper *keeper, const char *id)
{
    struct service *service = keeper->counter->service;
    struct kept *kept = alloc_zero(1, sizeof(*kept));
    char key[KEY_MAX], alive[KEY_MAX];
    const struct lease_options options = {.key = key_of(key, KEY_LEASE_LOVE, id),
                                          .fence_key = KEY_FENCE,
                                          .holder = service_instance(service),
                                          .alive_channel = key_of(alive, CHANNEL_PING, service_instance(service)),
                                          .on_lost = on_lost,
                                          .context = kept};

    kept->keeper = keeper;
    kept->told = -1;
    snprintf(kept->id, sizeof(kept->id), "%s", id);
    kept->tick = evtimer_new(service_loop(service), on_tick, kept);
    kept->flush = evtimer_new(service_loop(service), on_flush, kept);
    if (!kept->tick || !kept->flush)
        abort();
    LIST_INSERT_HEAD(&keeper->kept, kept, link);
    keeper->count++;
    kept->steps = 1;
    lease_try_acquire(service_loop(service), keeper->counter->redis, &options, on_acquired, kept);
}

static bool is_kept(const struct keeper *keeper, const char *id)
{
    const struct kept *kept;

    LIST_FOREACH(kept, &keeper->kept, link)
    {
        if (strcmp(kept->id, id) == 0)
            return true;
    }
    return false;
}

static void tell_age(struct keeper *keeper)
{
    const struct kept *kept;
    int64_t now_ms = clock_monotonic_ms(), oldest_ms = now_ms;

    LIST_FOREACH(kept, &keeper->kept, link)
    {
        if (kept->unflushed_since_ms > 0 && kept->unflushed_since_ms < oldest_ms)
            oldest_ms = kept->unflushed_since_ms;
    }
    metric_set(keeper->age, (double)(now_ms - oldest_ms) / 1000);
    metric_set(keeper->broadcasts, (double)keeper->count);
}

static void on_active(int code, const redisReply *reply, void *context)
{
    struct keeper *keeper = context;

    if (keeper->draining)
        return;
    kept_arm(keeper->look, LOOK_EVERY_MS);
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < reply->elements && keeper->count < MAX_KEPT; i++)
        if (id_is_valid(reply->element[i]->str) && !is_kept(keeper, reply->element[i]->str))
            begin(keeper, reply->element[i]->str);
}

/* Only after the mark is seen does a broadcast without `seeding` have all its hearts here. */
static void on_mark(int code, const redisReply *reply, void *context)
{
    struct keeper *keeper = context;

    if (keeper->draining)
        return;
    tell_age(keeper);
    if (code == 0 && reply->type == REDIS_REPLY_NIL)
        keeper_restore(keeper);
    else if (code != 0)
        kept_arm(keeper->look, LOOK_EVERY_MS);
    else
        redis_link_command(keeper->counter->redis, on_active, keeper, 4,
                           (const char *[]){"ZRANGE", KEY_LOVE_ACTIVE, "0", "9999"}, NULL);
}

static void on_look(evutil_socket_t fd, short events, void *context)
{
    struct keeper *keeper = context;

    redis_link_command(keeper->counter->redis, on_mark, keeper, 2, (const char *[]){"GET", KEY_LOVE_RESTORED}, NULL);
}

struct keeper *keeper_create(struct love_counter *counter)
{
    struct keeper *keeper = alloc_zero(1, sizeof(*keeper));
    struct metrics *metrics = service_metrics(counter->service);

    keeper->counter = counter;
    keeper->limiter = LOG_LIMITER(5000);
    LIST_INIT(&keeper->kept);
    keeper->broadcasts =
        metrics_gauge(metrics, "hanabi_love_broadcasts", "broadcasts whose hearts this process keeps", NULL);
    keeper->told = metrics_counter(metrics, "hanabi_love_told_total", "totals told to the chat", NULL);
    keeper->flushed = metrics_counter(metrics, "hanabi_love_flushed_users_total", "users' taps written to MySQL", NULL);
    keeper->failures = metrics_counter(metrics, "hanabi_love_failures_total", "steps that are tried again", NULL);
    keeper->age = metrics_gauge(metrics, "hanabi_love_unflushed_seconds",
                                "age of the oldest taps that MySQL does not have", NULL);
    keeper->look = evtimer_new(service_loop(counter->service), on_look, keeper);
    if (!keeper->look)
        abort();
    kept_arm(keeper->look, 10);
    return keeper;
}

void keeper_drain(struct keeper *keeper)
{
    struct kept *kept, *next;

    keeper->draining = true;
    event_del(keeper->look);
    for (kept = LIST_FIRST(&keeper->kept); kept; kept = next) {
        next = LIST_NEXT(kept, link);
        kept_end(kept);
    }
}

bool keeper_is_idle(const struct keeper *keeper)
{
    return keeper->count == 0 && !keeper->restoring;
}

void keeper_destroy(struct keeper *keeper)
{
    if (!keeper)
        return;
    event_free(keeper->look);
    free(keeper);
}
