/* archive: see README.md. */
#include "archive.h"

#include "archive_http.h"
#include "archive_sweeper.h"
#include "archiver.h"
#include "channel_cache.h"
#include "channel_http.h"
#include "exporter.h"
#include "memory_watch.h"

#include "libcommon/db.h"
#include "libcommon/http_server.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/store.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

#define DRAIN_POLL_MS 20

static struct archive archive_state;

/* The subscriptions are there for their ping channel too: others see by it that this process lives
 * (libcommon/lease.h). */
static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
}

static void add_routes(struct archive *archive)
{
    static const struct {
        const char *method, *pattern;
        http_handler_fn handler;
    } routes[] = {
        {"GET", "/api/v1/archives", handle_archive_list},
        {"GET", "/api/v1/archives/{id}", handle_archive_get},
        {"PATCH", "/api/v1/archives/{id}", handle_archive_patch},
        {"DELETE", "/api/v1/archives/{id}", handle_archive_delete},
        {"GET", ARCHIVE_PLAYOUT_PATH "{token}/" ARCHIVE_RECORDING_FILE, handle_archive_playlist},
        {"GET", ARCHIVE_PLAYOUT_PATH "{token}/{rendition}/" ARCHIVE_RECORDING_FILE, handle_archive_rendition},
        {"POST", "/api/v1/channels", handle_channel_post},
        {"GET", "/api/v1/channels", handle_channel_list},
        {"GET", "/api/v1/channels/{id}", handle_channel_get},
        {"DELETE", "/api/v1/channels/{id}", handle_channel_delete},
        {"GET", CHANNEL_PLAYOUT_PATH "{token}/master.m3u8", handle_channel_multivariant},
        {"GET", CHANNEL_PLAYOUT_PATH "{token}/{variant}/index.m3u8", handle_channel_media},
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        http_server_route(archive->http, routes[i].method, routes[i].pattern, routes[i].handler, archive);
}

static int refuse(const char *variable, const char *why)
{
    log_error("configuration.broken", log_str("variable", variable), log_str("why", why));
    return -1;
}

static bool chat_subscribers_are_ready(void *context, char *why, size_t why_size)
{
    const struct archive *archive = context;

    for (size_t i = 0; i < archive->chat_subscriber_count; i++)
        if (!subscriber_ready(archive->chat_subscribers[i], why, why_size))
            return false;
    return true;
}

static int start_links(struct archive *archive)
{
    struct service *service = archive->service;
    struct event_base *loop = service_loop(service);
    struct metrics *metrics = service_metrics(service);
    bool is_split = archive->config.chat_redis_url[0] != '\0';
    char ping[KEY_MAX], url[REDIS_SHARD_URL_SIZE];
    struct redis_link_options redis = {.name = "state", .metrics = metrics, .max_pending_bytes = 64 << 20};
    struct subscriber_options subscriber = {.ping_channel = key_of(ping, CHANNEL_PING, service_instance(service)),
                                            .metrics = metrics,
                                            .on_message = on_message,
                                            .context = archive};

    archive->state = redis_link_create(loop, archive->config.redis_url, &redis);
    archive->subscriber = subscriber_create(loop, archive->config.redis_url, &subscriber);
    if (!archive->state || !archive->subscriber)
        return refuse("HANABI_REDIS_URL", "not the URL of a Redis");
    subscriber_add(archive->subscriber, CHANNEL_BROADCAST);
    service_add_dependency(service, "redis", redis_link_ready, archive->state);
    service_add_dependency(service, "subscription", subscriber_ready, archive->subscriber);
    if (!is_split) {
        redis_shards_borrow(&archive->redis, archive->state);
        return 0;
    }
    redis.name = "chat";
    subscriber.metrics = NULL; /* the series are those of the first */
    if (redis_shards_open(&archive->redis, loop, archive->config.chat_redis_url, &redis) != 0)
        return refuse("HANABI_CHAT_REDIS_URL", "not the URLs of one Redis or several");
    for (const char *urls = archive->config.chat_redis_url; redis_shards_next_url(&urls, url);)
        archive->chat_subscribers[archive->chat_subscriber_count++] = subscriber_create(loop, url, &subscriber);
    service_add_dependency(service, "chat_redis", redis_shards_ready, &archive->redis);
    service_add_dependency(service, "chat_subscription", chat_subscribers_are_ready, archive);
    return 0;
}

static int start_store(struct archive *archive)
{
    const struct archive_config *config = &archive->config;
    const struct store_options options = {.url = config->store_url,
                                          .access_key = config->s3_access_key,
                                          .secret_key = config->s3_secret_key,
                                          .sync_files = config->store_sync,
                                          .max_operations = (int)config->store_operations,
                                          .metrics = service_metrics(archive->service)};
    char why[300];

    archive->store = store_create(service_loop(archive->service), &options, why, sizeof(why));
    if (!archive->store)
        return refuse("HANABI_STORE_URL", why);
    service_add_dependency(archive->service, "store", store_ready, archive->store);
    return 0;
}

static int start_http(struct archive *archive)
{
    const struct http_server_options options = {.metrics = service_metrics(archive->service)};
    const struct config_listen *listen = &archive->config.listen;

    archive->http = http_server_create(service_loop(archive->service), listen, &options);
    if (!archive->http) {
        log_error("http.listen_failed", log_str("host", listen->host), log_int("port", listen->port),
                  log_str("why", strerror(errno)));
        return -1;
    }
    add_routes(archive);
    return 0;
}

static int start(struct service *service, void *state)
{
    struct archive *archive = state;
    const struct db_options db = {.workers = 4, .metrics = service_metrics(service)};

    archive->service = service;
    archive->db = db_create(service_loop(service), archive->config.mysql_url, &db);
    if (!archive->db)
        return refuse("HANABI_MYSQL_URL", "not the URL of a database");
    service_add_dependency(service, "mysql", db_ready, archive->db);
    if (start_links(archive) != 0 || start_store(archive) != 0)
        return -1;
    for (size_t i = 0; i < archive->redis.count; i++)
        archive->movers[i] = mover_create(archive, i);
    archive->memory_watch = memory_watch_create(archive);
    archive->archiver = archiver_create(archive);
    archive->sweeper = archive_sweeper_create(archive);
    archive->channels = channel_cache_create(archive);
    archive->exporter = exporter_create(archive);
    return start_http(archive);
}

static bool movers_are_idle(const struct archive *archive)
{
    for (size_t i = 0; i < archive->redis.count; i++)
        if (!mover_is_idle(archive->movers[i]))
            return false;
    return true;
}

static void drain_movers(struct archive *archive)
{
    for (size_t i = 0; i < REDIS_SHARDS_MAX && archive->movers[i]; i++)
        mover_drain(archive->movers[i]);
}

static void on_drain_poll(evutil_socket_t fd, short events, void *context)
{
    struct archive *archive = context;

    if (movers_are_idle(archive) && archiver_is_idle(archive->archiver) && archive_sweeper_is_idle(archive->sweeper) &&
        exporter_is_idle(archive->exporter) && http_server_is_idle(archive->http))
        service_drained(archive->service);
}

static void drain(struct service *service, void *state)
{
    struct archive *archive = state;
    const struct timeval period = {0, DRAIN_POLL_MS * 1000};

    drain_movers(archive);
    archiver_drain(archive->archiver);
    archive_sweeper_drain(archive->sweeper);
    exporter_drain(archive->exporter);
    http_server_quiesce(archive->http);
    archive->drain_poll = event_new(service_loop(service), -1, EV_PERSIST, on_drain_poll, archive);
    event_add(archive->drain_poll, &period);
}

/* What calls back comes down before what it calls: the database's last callbacks use the links, the links' last ones
 * the mover, its leases and requests. */
static void stop(struct service *service, void *state)
{
    struct archive *archive = state;

    drain_movers(archive);
    if (archive->archiver)
        archiver_drain(archive->archiver);
    if (archive->sweeper)
        archive_sweeper_drain(archive->sweeper);
    exporter_drain(archive->exporter);
    if (archive->store)
        store_destroy(archive->store);
    archive->store = NULL;
    if (archive->db)
        db_destroy(archive->db);
    archive->db = NULL;
    if (archive->subscriber)
        subscriber_destroy(archive->subscriber);
    while (archive->chat_subscriber_count > 0)
        subscriber_destroy(archive->chat_subscribers[--archive->chat_subscriber_count]);
    if (archive->config.chat_redis_url[0])
        redis_shards_close(&archive->redis);
    if (archive->state)
        redis_link_destroy(archive->state);
    if (archive->http)
        http_server_destroy(archive->http);
    for (size_t i = 0; i < REDIS_SHARDS_MAX; i++)
        mover_destroy(archive->movers[i]);
    archiver_destroy(archive->archiver);
    archive_sweeper_destroy(archive->sweeper);
    channel_cache_destroy(archive->channels);
    exporter_destroy(archive->exporter);
    memory_watch_destroy(archive->memory_watch);
    if (archive->drain_poll)
        event_free(archive->drain_poll);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "archive",
        .summary = "moves comment logs from Redis to MySQL, and makes and serves archives",
        .config_rows = archive_config_rows,
        .config = &archive_state.config,
        .state = &archive_state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
