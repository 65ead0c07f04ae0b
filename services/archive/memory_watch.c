/* See memory_watch.h. */
#include "memory_watch.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_S 5
#define NEARLY_FULL  0.9

struct watched {
    struct redis_link *redis;
    char name[32];
    struct metric *ratio;
    struct log_limiter limiter;
};

struct memory_watch {
    struct event *timer;
    size_t count;
    struct watched watched[1 + REDIS_SHARDS_MAX]; /* the state Redis, and the chat's where they are others */
};

/* A line of INFO: "field:number"; 0 when it is not there. */
static double number_of(const char *info, const char *field)
{
    const char *at = strstr(info, field);

    return at ? strtod(at + strlen(field), NULL) : 0;
}

static void on_info(int code, const redisReply *reply, void *context)
{
    struct watched *watched = context;
    double used, limit;

    if (code != 0 || reply->type != REDIS_REPLY_STRING)
        return;
    used = number_of(reply->str, "\nused_memory:");
    limit = number_of(reply->str, "\nmaxmemory:");
    metric_set(watched->ratio, limit > 0 ? used / limit : 0);
    if (limit > 0 && used / limit > NEARLY_FULL)
        log_limited(&watched->limiter, LOG_LEVEL_WARN, "redis.nearly_full", log_str("redis", watched->name),
                    log_int("used_bytes", (long long)used), log_int("limit_bytes", (long long)limit));
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct memory_watch *watch = context;

    for (size_t i = 0; i < watch->count; i++)
        redis_link_command(watch->watched[i].redis, on_info, &watch->watched[i], 2, (const char *[]){"INFO", "memory"},
                           NULL);
}

static void add(struct memory_watch *watch, struct archive *archive, struct redis_link *redis, const char *name)
{
    struct watched *watched = &watch->watched[watch->count++];
    char labels[48];

    watched->redis = redis;
    watched->limiter = LOG_LIMITER(60000);
    snprintf(watched->name, sizeof(watched->name), "%s", name);
    snprintf(labels, sizeof(labels), "redis=\"%s\"", watched->name);
    watched->ratio = metrics_gauge(service_metrics(archive->service), "hanabi_archive_redis_memory_ratio",
                                   "memory that a Redis uses, as a share of its maxmemory; 0: it has no limit", labels);
}

struct memory_watch *memory_watch_create(struct archive *archive)
{
    struct memory_watch *watch = alloc_zero(1, sizeof(*watch));
    const struct timeval period = {LOOK_EVERY_S, 0};

    add(watch, archive, archive->state, "state");
    for (size_t i = 0; i < archive->redis.count; i++) {
        char name[32];

        snprintf(name, sizeof(name), "chat %zu", i);
        if (archive->redis.links[i] != archive->state)
            add(watch, archive, archive->redis.links[i], name);
    }
    watch->timer = event_new(service_loop(archive->service), -1, EV_PERSIST, on_timer, watch);
    if (!watch->timer)
        abort();
    event_add(watch->timer, &period);
    return watch;
}

void memory_watch_destroy(struct memory_watch *watch)
{
    if (!watch)
        return;
    event_free(watch->timer);
    free(watch);
}
