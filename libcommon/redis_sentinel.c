/* Each sentinel gets a short connection and two commands: the address (which already names the promoted replica during
 * a failover) and the whole entry, for its configuration epoch. The answer is given when all have answered, or a moment
 * after the first who did, so that one sentinel that hangs does not cost the whole timeout. */
#include "libcommon/redis_sentinel.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/redis_connection.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <strings.h>

#define GRACE_MS 150

struct sentinel {
    struct redis_sentinel_query *query;
    struct redis_connection *connection; /* NULL: it has answered or failed */
    bool has_address;
    struct redis_address address;
};

struct redis_sentinel_query {
    const struct redis_url *url;
    redis_sentinel_fn callback;
    void *context;
    struct event *deadline;
    int64_t deadline_ms;
    bool is_grace; /* somebody has answered: the others get GRACE_MS more */
    struct sentinel sentinels[REDIS_URL_MAX_SENTINELS];
    size_t waiting;
    bool has_master;
    struct redis_address master;
    long long epoch;
    char why[256];
};

void redis_sentinel_cancel(struct redis_sentinel_query *query)
{
    if (!query)
        return;
    for (size_t i = 0; i < query->url->address_count; i++)
        redis_connection_free(query->sentinels[i].connection);
    event_free(query->deadline);
    free(query);
}

static void finish(struct redis_sentinel_query *query)
{
    redis_sentinel_fn callback = query->callback;
    void *context = query->context;
    struct redis_address master = query->master;
    bool has_master = query->has_master;
    char why[sizeof(query->why)];

    memcpy(why, query->why, sizeof(why));
    redis_sentinel_cancel(query);
    callback(has_master ? &master : NULL, why, context);
}

static void on_deadline(evutil_socket_t fd, short events, void *context)
{
    finish(context);
}

/* The query may be gone after this. */
static void sentinel_done(struct sentinel *sentinel)
{
    struct redis_sentinel_query *query = sentinel->query;

    redis_connection_free(sentinel->connection);
    sentinel->connection = NULL;
    if (--query->waiting == 0) {
        finish(query);
    } else if (query->has_master && !query->is_grace) {
        int64_t left_ms = query->deadline_ms - clock_monotonic_ms();
        int64_t wait_ms = left_ms > GRACE_MS ? GRACE_MS : left_ms > 0 ? left_ms : 0;

        const struct timeval wait = {0, wait_ms * 1000};

        query->is_grace = true;
        evtimer_add(query->deadline, &wait);
    }
}

static void on_open(void *context)
{
    struct sentinel *sentinel = context;
    const char *master = sentinel->query->url->master;

    redis_connection_send(sentinel->connection, 3, (const char *[]){"SENTINEL", "GET-MASTER-ADDR-BY-NAME", master},
                          NULL);
    redis_connection_send(sentinel->connection, 3, (const char *[]){"SENTINEL", "MASTER", master}, NULL);
}

static bool read_address(const redisReply *reply, struct redis_address *address)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !reply->element[0]->str || !reply->element[1]->str)
        return false;
    snprintf(address->host, sizeof(address->host), "%s", reply->element[0]->str);
    address->port = atoi(reply->element[1]->str);
    return address->port > 0 && address->port < 65536;
}

static long long read_epoch(const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY)
        return 0;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const char *field = reply->element[i]->str, *value = reply->element[i + 1]->str;

        if (field && value && strcasecmp(field, "config-epoch") == 0)
            return atoll(value);
    }
    return 0;
}

static void on_reply(const struct redisReply *reply, void *context)
{
    struct sentinel *sentinel = context;
    struct redis_sentinel_query *query = sentinel->query;

    if (!sentinel->has_address) {
        if (read_address(reply, &sentinel->address)) {
            sentinel->has_address = true;
            return;
        }
        snprintf(query->why, sizeof(query->why), "sentinel: %.80s",
                 reply->type == REDIS_REPLY_ERROR ? reply->str : "does not know this master");
        sentinel_done(sentinel);
        return;
    }
    long long epoch = read_epoch(reply);
    if (!query->has_master || epoch > query->epoch) {
        query->has_master = true;
        query->epoch = epoch;
        query->master = sentinel->address;
    }
    sentinel_done(sentinel);
}

static void on_closed(const char *why, void *context)
{
    struct sentinel *sentinel = context;

    snprintf(sentinel->query->why, sizeof(sentinel->query->why), "sentinel: %.200s", why);
    sentinel_done(sentinel);
}

struct redis_sentinel_query *redis_sentinel_ask(struct event_base *loop, const struct redis_url *url,
                                                int64_t timeout_ms, redis_sentinel_fn callback, void *context)
{
    static const struct redis_connection_handlers handlers = {on_open, on_reply, on_closed};
    struct redis_sentinel_query *query = alloc_zero(1, sizeof(*query));
    const struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};

    query->url = url;
    query->callback = callback;
    query->context = context;
    query->waiting = url->address_count;
    snprintf(query->why, sizeof(query->why), "no sentinel answered in time");
    query->deadline = evtimer_new(loop, on_deadline, query);
    if (!query->deadline)
        abort();
    evtimer_add(query->deadline, &timeout);
    query->deadline_ms = clock_monotonic_ms() + timeout_ms;
    for (size_t i = 0; i < url->address_count; i++) {
        struct sentinel *sentinel = &query->sentinels[i];

        sentinel->query = query;
        sentinel->connection = redis_connection_open(loop, &url->addresses[i], &url->tls, &handlers, sentinel);
    }
    return query;
}
