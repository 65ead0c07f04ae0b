/* live-api: see README.md. */
#include "live_api.h"

#include "announcer.h"
#include "key_relay.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "live_list.h"
#include "notice_waiters.h"
#include "outbox.h"
#include "proto/keys.h"
#include "reseeder.h"
#include "search.h"
#include "state_saver.h"
#include "webhook.h"

#include <errno.h>
#include <event2/event.h>
#include <sodium.h>
#include <string.h>

#define DRAIN_POLL_MS     20
#define OTHER_CONNECTIONS 10000

static struct live_api api_state;

static void on_redis_up(void *context)
{
    struct live_api *api = context;

    /* Both exist once start() is through: the link connects from the loop. */
    reseeder_wake(api->reseeder);
    state_saver_wake(api->saver);
    outbox_relay_wake(api->announcer);
    outbox_relay_wake(api->keys);
}

static void on_chat_redis_up(void *context)
{
    struct live_api *api = context;

    outbox_relay_wake(api->gifts);
}

static void on_resubscribed(bool first, void *context)
{
    struct live_api *api = context;

    if (!first) {
        reseeder_wake(api->reseeder);
        notice_waiters_missed(api->notice_waiters);
    }
    state_saver_wake(api->saver);
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct live_api *api = context;

    if (strcmp(channel, CHANNEL_ANNOUNCE) == 0)
        notice_waiters_announce(api->notice_waiters, message, len_bytes);
    else
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
        {"PATCH", "/api/v1/broadcasts/{id}", handle_broadcast_patch},
        {"POST", "/api/v1/broadcasts/{id}/end", handle_broadcast_end},
        {"POST", "/api/v1/broadcasts/{id}/stream_key", handle_stream_key_post},
        {"GET", "/api/v1/broadcasts/{id}/supporters", handle_supporters},
        {"GET", "/api/v1/items", handle_item_list},
        {"GET", "/api/v1/wallet", handle_wallet_get},
        {"POST", "/api/v1/wallet/topups", handle_wallet_topup},
        {"GET", "/api/v1/wallet/ledger", handle_ledger_list},
        {"GET", "/api/v1/ledger/audit", handle_ledger_audit},
        {"POST", "/api/v1/purchases", handle_purchase_post},
        {"GET", "/api/v1/purchases", handle_purchase_list},
        {"POST", "/api/v1/payments/webhook", handle_payment_webhook},
        {"GET", "/api/v1/follows", handle_follow_list},
        {"GET", "/api/v1/follows/{user_id}", handle_follow_get},
        {"PUT", "/api/v1/follows/{user_id}", handle_follow_put},
        {"DELETE", "/api/v1/follows/{user_id}", handle_follow_delete},
        {"GET", "/api/v1/notifications", handle_notifications_get},
        {"POST", "/api/v1/notifications/read", handle_notifications_read},
        {"POST", "/api/v1/webhooks", handle_webhook_post},
        {"GET", "/api/v1/webhooks", handle_webhook_list},
        {"DELETE", "/api/v1/webhooks/{id}", handle_webhook_delete},
        {"GET", "/api/v1/webhooks/{id}/deliveries", handle_webhook_deliveries},
        {"GET", "/api/v1/search", handle_search},
        {"GET", "/api/v1/oembed", handle_oembed},
        {"GET", "/api/v1/previews/{page}/{id}", handle_preview},
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
    struct redis_link_options chat_redis = {
        .name = "chat", .metrics = service_metrics(service), .on_up = on_chat_redis_up, .context = api};
    const char *chat_urls = api->config.chat_redis_url[0] ? api->config.chat_redis_url : api->config.redis_url;
    struct subscriber_options subscriber = {.ping_channel = key_of(ping, CHANNEL_PING, service_instance(service)),
                                            .metrics = service_metrics(service),
                                            .on_resubscribed = on_resubscribed,
                                            .on_message = on_message,
                                            .context = api};
    struct db_options db = {.workers = 4, .metrics = service_metrics(service)};
    /* Waiting requests must not keep the others out. */
    struct http_server_options http = {.metrics = service_metrics(service),
                                       .max_connections = OTHER_CONNECTIONS + (unsigned)api->config.notice_waiters_max};
    const char *seal = api->config.key_seal_secret;

    api->service = service;
    crypto_generichash(api->seal_key, sizeof(api->seal_key), (const unsigned char *)seal, strlen(seal), NULL, 0);
    api->db = db_create(loop, api->config.mysql_url, &db);
    api->redis = redis_link_create(loop, api->config.redis_url, &redis);
    redis_shards_open(&api->chat_redis, loop, chat_urls, &chat_redis); /* or there is none */
    api->subscriber = subscriber_create(loop, api->config.redis_url, &subscriber);
    if (!api->db || !api->redis || api->chat_redis.count == 0 || !api->subscriber) {
        log_error("service.bad_url", log_str("what", api->db ? "HANABI_REDIS_URL" : "HANABI_MYSQL_URL"));
        return -1;
    }
    api->saver = state_saver_create(api);
    api->reseeder = reseeder_create(api);
    api->announcer = announcer_create(api);
    api->keys = key_relay_create(api);
    api->live_list = live_list_create(api);
    api->gifts = gift_relay_create(api);
    api->notice_waiters =
        notice_waiters_create(api, (size_t)api->config.notice_waiters_max, (size_t)api->config.notice_waiters_per_user);
    api->search_indexer = search_indexer_create(api);
    api->webhook_sender = webhook_sender_create(api);
    subscriber_add(api->subscriber, CHANNEL_BROADCAST);
    subscriber_add(api->subscriber, CHANNEL_ANNOUNCE);
    api->http = http_server_create(loop, &api->config.listen, &http);
    if (!api->http) {
        log_error("http.listen_failed", log_str("host", api->config.listen.host),
                  log_int("port", api->config.listen.port), log_str("why", strerror(errno)));
        return -1;
    }
    add_routes(api);
    service_add_dependency(service, "redis", redis_link_ready, api->redis);
    service_add_dependency(service, "chat_redis", redis_shards_ready, &api->chat_redis);
    service_add_dependency(service, "subscription", subscriber_ready, api->subscriber);
    service_add_dependency(service, "mysql", db_ready, api->db);
    return 0;
}

static void on_drain_poll(evutil_socket_t fd, short events, void *context)
{
    struct live_api *api = context;

    if (http_server_is_idle(api->http) && outbox_relay_is_idle(api->gifts))
        service_drained(api->service);
}

static void drain(struct service *service, void *state)
{
    struct live_api *api = state;

    const struct timeval period = {0, DRAIN_POLL_MS * 1000};

    http_server_quiesce(api->http);
    notice_waiters_drain(api->notice_waiters);
    api->drain_poll = event_new(service_loop(service), -1, EV_PERSIST, on_drain_poll, api);
    event_add(api->drain_poll, &period);
}

/* What calls back comes down before what it calls: the database's jobs answer requests and use Redis. */
static void stop(struct service *service, void *state)
{
    struct live_api *api = state;

    if (api->subscriber)
        subscriber_destroy(api->subscriber);
    if (api->db)
        db_destroy(api->db);
    api->db = NULL;
    if (api->redis)
        redis_link_destroy(api->redis);
    redis_shards_close(&api->chat_redis);
    notice_waiters_destroy(api->notice_waiters);
    http_server_destroy(api->http);
    state_saver_destroy(api->saver);
    reseeder_destroy(api->reseeder);
    outbox_relay_destroy(api->announcer);
    outbox_relay_destroy(api->keys);
    live_list_destroy(api->live_list);
    search_indexer_destroy(api->search_indexer);
    webhook_sender_destroy(api->webhook_sender);
    outbox_relay_destroy(api->gifts);
    if (api->drain_poll)
        event_free(api->drain_poll);
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
