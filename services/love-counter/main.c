/* love-counter: see README.md. */
#include "love_counter.h"

#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "libcommon/token_memory.h"
#include "proto/keys.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

#define DRAIN_POLL_MS 20

static struct love_counter counter_state;

/* The subscription is there for its ping channel: others see by it that this process lives (libcommon/lease.h). */
static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
}

static void add_routes(struct love_counter *counter)
{
    http_server_route(counter->http, "POST", "/api/v1/broadcasts/{id}/loves", handle_loves_post, counter);
    http_server_route(counter->http, "GET", "/api/v1/broadcasts/{id}/loves", handle_loves_get, counter);
    http_server_route(counter->http, "GET", "/api/v1/broadcasts/{id}/loves/ranking", handle_ranking_get, counter);
}

static bool connect_stores(struct love_counter *counter)
{
    struct service *service = counter->service;
    struct event_base *loop = service_loop(service);
    const char *chat_urls = counter->config.chat_redis_url;
    char ping[KEY_MAX];
    struct redis_link_options redis = {.name = "state", .metrics = service_metrics(service)};
    struct redis_link_options chat = {.name = "chat", .metrics = service_metrics(service)};
    struct subscriber_options subscriber = {.ping_channel = key_of(ping, CHANNEL_PING, service_instance(service)),
                                            .metrics = service_metrics(service),
                                            .on_message = on_message};
    struct db_options db = {.workers = 4, .metrics = service_metrics(service)};

    counter->redis = redis_link_create(loop, counter->config.redis_url, &redis);
    counter->subscriber = subscriber_create(loop, counter->config.redis_url, &subscriber);
    counter->db = db_create(loop, counter->config.mysql_url, &db);
    if (!chat_urls[0])
        redis_shards_borrow(&counter->chat_redis, counter->redis);
    else if (redis_shards_open(&counter->chat_redis, loop, chat_urls, &chat) == 0)
        service_add_dependency(service, "chat_redis", redis_shards_ready, &counter->chat_redis);
    if (counter->redis && counter->chat_redis.count > 0 && counter->subscriber && counter->db)
        return true;
    log_error("service.bad_url", log_str("what", !counter->db                     ? "HANABI_MYSQL_URL"
                                                 : counter->chat_redis.count == 0 ? "HANABI_CHAT_REDIS_URL"
                                                                                  : "HANABI_REDIS_URL"));
    return false;
}

static int start(struct service *service, void *state)
{
    struct love_counter *counter = state;
    struct http_server_options http = {
        .max_body_bytes = 4096, .connection_bytes = 8192, .metrics = service_metrics(service)};

    counter->service = service;
    if (!connect_stores(counter))
        return -1;
    counter->writer = batch_writer_create(counter);
    counter->keeper = keeper_create(counter);
    counter->answers = answer_cache_create();
    counter->tokens = token_memory_create(counter->config.jwt_secret, LOVE_TOKENS_KEPT);
    counter->http = http_server_create(service_loop(service), &counter->config.listen, &http);
    if (!counter->http) {
        log_error("http.listen_failed", log_str("host", counter->config.listen.host),
                  log_int("port", counter->config.listen.port), log_str("why", strerror(errno)));
        return -1;
    }
    add_routes(counter);
    service_add_dependency(service, "redis", redis_link_ready, counter->redis);
    service_add_dependency(service, "subscription", subscriber_ready, counter->subscriber);
    service_add_dependency(service, "mysql", db_ready, counter->db);
    return 0;
}

static void on_drain_poll(evutil_socket_t fd, short events, void *context)
{
    struct love_counter *counter = context;

    if (http_server_is_idle(counter->http) && keeper_is_idle(counter->keeper))
        service_drained(counter->service);
}

static void drain(struct service *service, void *state)
{
    struct love_counter *counter = state;
    const struct timeval period = {0, DRAIN_POLL_MS * 1000};

    http_server_quiesce(counter->http);
    keeper_drain(counter->keeper);
    counter->drain_poll = event_new(service_loop(service), -1, EV_PERSIST, on_drain_poll, counter);
    event_add(counter->drain_poll, &period);
}

/* What calls back comes down before what it calls: the database's jobs use Redis and answer requests, as do Redis'
 * answers. */
static void stop(struct service *service, void *state)
{
    struct love_counter *counter = state;

    if (counter->keeper)
        keeper_drain(counter->keeper);
    if (counter->db)
        db_destroy(counter->db);
    counter->db = NULL;
    if (counter->subscriber)
        subscriber_destroy(counter->subscriber);
    if (counter->config.chat_redis_url[0])
        redis_shards_close(&counter->chat_redis);
    if (counter->redis)
        redis_link_destroy(counter->redis);
    batch_writer_destroy(counter->writer);
    http_server_destroy(counter->http);
    keeper_destroy(counter->keeper);
    answer_cache_destroy(counter->answers);
    token_memory_destroy(counter->tokens);
    if (counter->drain_poll)
        event_free(counter->drain_poll);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "love-counter",
        .summary = "counts hearts: batches of taps, totals and rankings",
        .config_rows = love_counter_config_rows,
        .config = &counter_state.config,
        .state = &counter_state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
