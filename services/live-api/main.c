/* live-api: see README.md. */
#include "live_api.h"

#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"
#include "reseed.h"
#include "state_saver.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static struct live_api api_state;

static void on_redis_up(void *context)
{
    struct live_api *api = context;

    if (api->db)
        reseed_start(api);
    if (api->saver)
        state_saver_wake(api->saver);
}

static void on_resubscribed(bool first, void *context)
{
    struct live_api *api = context;

    if (!first)
        reseed_start(api);
    state_saver_wake(api->saver);
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct live_api *api = context;

    state_saver_wake(api->saver);
}

static void add_routes(struct live_api *api)
{
    static const struct {
        const char *method, *pattern;
        http_handler_fn handler;
    } routes[] = {
        {"POST", "/api/v1/sessions", handle_session_post},
        {"POST", "/api/v1/broadcasts", handle_broadcast_post},
        {"GET", "/api/v1/broadcasts", handle_broadcast_list},
        {"GET", "/api/v1/broadcasts/{id}", handle_broadcast_get},
        {"POST", "/api/v1/broadcasts/{id}/end", handle_broadcast_end},
        {"POST", "/api/v1/broadcasts/{id}/stream_key", handle_stream_key_post},
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        http_server_route(api->http, routes[i].method, routes[i].pattern, routes[i].handler, api);
}

static int start(struct service *service, void *state)
{
    struct live_api *api = state;
    struct event_base *loop = service_loop(service);
    char ping[KEY_MAX];
    struct redis_link_options redis = {
        .name = "state", .metrics = service_metrics(service), .on_up = on_redis_up, .context = api};
    struct subscriber_options subscriber = {.ping_channel = key_of(ping, CHANNEL_PING, service_instance(service)),
                                            .metrics = service_metrics(service),
                                            .on_resubscribed = on_resubscribed,
                                            .on_message = on_message,
                                            .context = api};
    struct db_options db = {.workers = 4, .metrics = service_metrics(service)};
    struct http_server_options http = {.metrics = service_metrics(service)};
    const char *seal = api->config.key_seal_secret;

    api->service = service;
    crypto_generichash(api->seal_key, sizeof(api->seal_key), (const unsigned char *)seal, strlen(seal), NULL, 0);
    api->db = db_create(loop, api->config.mysql_url, &db);
    api->redis = redis_link_create(loop, api->config.redis_url, &redis);
    api->subscriber = subscriber_create(loop, api->config.redis_url, &subscriber);
    if (!api->db || !api->redis || !api->subscriber) {
        log_error("service.bad_url", log_str("what", api->db ? "HANABI_REDIS_URL" : "HANABI_MYSQL_URL"));
        return -1;
    }
    api->saver = state_saver_create(api);
    subscriber_add(api->subscriber, CHANNEL_BROADCAST);
    api->http = http_server_create(loop, &api->config.listen, &http);
    if (!api->http) {
        log_error("http.listen_failed", log_str("host", api->config.listen.host),
                  log_int("port", api->config.listen.port), log_str("why", strerror(errno)));
        return -1;
    }
    add_routes(api);
    service_add_dependency(service, "redis", redis_link_ready, api->redis);
    service_add_dependency(service, "subscription", subscriber_ready, api->subscriber);
    service_add_dependency(service, "mysql", db_ready, api->db);
    return 0;
}

static void drain(struct service *service, void *state)
{
    struct live_api *api = state;

    http_server_quiesce(api->http);
    service_drained(service);
}

/* What calls back comes down before what it calls: the database's jobs answer requests and use Redis. */
static void stop(struct service *service, void *state)
{
    struct live_api *api = state;

    if (api->subscriber)
        subscriber_destroy(api->subscriber);
    if (api->db)
        db_destroy(api->db);
    if (api->redis)
        redis_link_destroy(api->redis);
    http_server_destroy(api->http);
    state_saver_destroy(api->saver);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "live-api",
        .summary = "the HTTP API of broadcasts: sessions, stream keys, playback URLs",
        .config_rows = live_api_config_rows,
        .config = &api_state.config,
        .state = &api_state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
