/* ingest: takes RTMP broadcasts in and hands their media to the transcoders through the ring. */
#include "services/ingest/address_table.h"
#include "services/ingest/connection.h"
#include "services/ingest/ingest.h"
#include "services/ingest/listener.h"
#include "services/ingest/publisher.h"
#include "services/ingest/session_registry.h"
#include "services/ingest/tls.h"
#include "services/ingest/wheel.h"

#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

#include <errno.h>
#include <event2/event.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define DRAIN_LOOK_MS    20
#define HEAP_SLACK_BYTES (16 << 20)
#define HEAP_MMAP_BYTES  (1 << 20)
#define REPLY_PAUSE_MS   10 /* thousands of groups a second: their answers in a few wake-ups */

static struct ingest_config config;
static struct ingest ingest;
static struct event *drain_look;
static int64_t drain_since_ms;
static bool drain_told;

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    publishers_on_message(context, channel, message, len_bytes);
}

/* A connection is a file descriptor: take what the system allows. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("file_limit.kept", log_str("why", strerror(errno)));
}

/* Groups come and go many times a second: memory that is given back to the system each time has to be cleared again. */
static void keep_heap(void)
{
    mallopt(M_TRIM_THRESHOLD, HEAP_SLACK_BYTES);
    mallopt(M_MMAP_THRESHOLD, HEAP_MMAP_BYTES);
}

static void make_metrics(struct metrics *metrics)
{
    static const double latency[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2};
    struct ingest_metrics *m = &ingest.metrics;
    struct ring_writer_pool *pool = &ingest.pool;

    m->connections = metrics_gauge(metrics, "hanabi_ingest_connections", "RTMP connections", NULL);
    m->publishers = metrics_gauge(metrics, "hanabi_ingest_publishers", "sessions that publish", NULL);
    m->received_bytes = metrics_counter(metrics, "hanabi_ingest_received_bytes_total", "bytes from publishers", NULL);
    for (int reason = CLOSE_NONE + 1; reason < CLOSE_REASONS; reason++) {
        char label[64];
        snprintf(label, sizeof(label), "reason=\"%s\"", close_reason_text((enum close_reason)reason)->name);
        m->refused[reason] = metrics_counter(metrics, "hanabi_ingest_refused_total",
                                             "connections that ended before they published", label);
        m->closes[reason] = metrics_counter(metrics, "hanabi_ingest_closes_total",
                                            "connections that ended after they published", label);
    }
    pool->metrics.bytes_total = metrics_counter(metrics, "hanabi_ingest_ring_bytes_total", "bytes in the rings", NULL);
    pool->metrics.groups = metrics_counter(metrics, "hanabi_ingest_groups_total", "groups in the rings", NULL);
    pool->metrics.dropped_groups =
        metrics_counter(metrics, "hanabi_ingest_dropped_groups_total",
                        "groups that the media Redis did not take; each opens a gap to the next key frame", NULL);
    pool->metrics.unanswered_bytes =
        metrics_gauge(metrics, "hanabi_ingest_unanswered_bytes", "media handed to Redis and not answered", NULL);
    pool->metrics.latency_seconds = metrics_histogram(metrics, "hanabi_ingest_ring_seconds", "from XADD to its answer",
                                                      NULL, latency, sizeof(latency) / sizeof(latency[0]));
}

void ingest_count(struct ingest *self, enum close_reason reason, bool has_published)
{
    metric_add(has_published ? self->metrics.closes[reason] : self->metrics.refused[reason], 1);
}

static void connect_stores(struct service *service)
{
    struct metrics *metrics = service_metrics(service);
    const size_t max_bytes = (size_t)config.buffer_mb << 20;
    /* The pool's bound comes first: groups are dropped by choice, not by a link that is full. */
    struct redis_link_options link = {.name = "state",
                                      .metrics = metrics,
                                      .reply_pause_ms = REPLY_PAUSE_MS,
                                      .max_pending_bytes = max_bytes + (32u << 20)};
    const struct subscriber_options subscriber = {
        .ping_channel = ingest.ping_channel, .metrics = metrics, .on_message = on_message, .context = &ingest};

    ingest.state = redis_link_create(ingest.loop, config.redis_url, &link);
    link.name = "media";
    ingest.media =
        config.media_redis_url[0] ? redis_link_create(ingest.loop, config.media_redis_url, &link) : ingest.state;
    snprintf(ingest.ping_channel, sizeof(ingest.ping_channel), "%s%s", CHANNEL_PING, service_instance(service));
    ingest.subscriber = subscriber_create(ingest.loop, config.redis_url, &subscriber);
    subscriber_add(ingest.subscriber, CHANNEL_BROADCAST);
    subscriber_add(ingest.subscriber, CHANNEL_STREAM);
    ingest.db = db_create(ingest.loop, config.mysql_url, &(struct db_options){.metrics = metrics});
    ingest.registry = session_registry_create(ingest.loop, ingest.state, ingest.db, service_instance(service));
    ingest.pool.media = ingest.media;
    ingest.pool.max_bytes = max_bytes;
    ingest.pool.max_bytes_per_writer = (size_t)config.buffer_kb_per_publisher * 1024;
    service_add_dependency(service, "redis", redis_link_ready, ingest.state);
    if (ingest.media != ingest.state)
        service_add_dependency(service, "media_redis", redis_link_ready, ingest.media);
    service_add_dependency(service, "subscriber", subscriber_ready, ingest.subscriber);
    service_add_dependency(service, "mysql", db_ready, ingest.db);
}

static int listen_on(struct listener **listener, const struct config_listen *listen, struct tls *tls)
{
    *listener = listener_create(&ingest, listen, tls);
    if (!*listener) {
        log_error("listen.failed", log_str("host", listen->host), log_int("port", listen->port),
                  log_str("why", strerror(errno)));
        return -1;
    }
    log_info("listening", log_str("protocol", tls ? "rtmps" : "rtmp"), log_str("host", listen->host),
             log_int("port", listen->port));
    return 0;
}

static int start(struct service *service, void *state)
{
    char error[500];

    if (ingest_config_check(&config, &ingest.rtmps, error, sizeof(error)) != 0) {
        log_error("config.refused", log_str("why", error));
        return -1;
    }
    raise_file_limit();
    keep_heap();
    ingest.service = service;
    ingest.loop = service_loop(service);
    ingest.config = &config;
    LIST_INIT(&ingest.publishers);
    make_metrics(service_metrics(service));
    ingest.addresses = address_table_create((unsigned)config.max_connections);
    ingest.wheel = wheel_create(ingest.loop);
    connect_stores(service);
    if (config.rtmps[0]) {
        ingest.tls = tls_create(ingest.loop, config.tls_cert, config.tls_key, error, sizeof(error));
        if (!ingest.tls) {
            log_error("certificate.refused", log_str("why", error));
            return -1;
        }
        if (listen_on(&ingest.rtmps_listener, &ingest.rtmps, ingest.tls) != 0)
            return -1;
    }
    return listen_on(&ingest.rtmp_listener, &config.rtmp, NULL);
}

static void stop_listening(void)
{
    listener_destroy(ingest.rtmp_listener);
    listener_destroy(ingest.rtmps_listener);
    ingest.rtmp_listener = ingest.rtmps_listener = NULL;
}

/* Drained: every publisher has read its status and gone, and both Redis have answered. */
static void on_drain_look(evutil_socket_t fd, short events, void *context)
{
    if (!drain_told && clock_monotonic_ms() - drain_since_ms >= config.drain_wait_s * 1000) {
        drain_told = true;
        connections_close_all(&ingest, CLOSE_DRAINING, false);
    }
    if (wheel_items(ingest.wheel) > 0 || redis_link_pending_bytes(ingest.state) > 0 ||
        redis_link_pending_bytes(ingest.media) > 0)
        return;
    event_del(drain_look);
    service_drained(ingest.service);
}

static void drain(struct service *service, void *state)
{
    static const struct timeval interval = {0, DRAIN_LOOK_MS * 1000};

    stop_listening();
    drain_since_ms = clock_monotonic_ms();
    drain_look = event_new(ingest.loop, -1, EV_PERSIST, on_drain_look, NULL);
    if (!drain_look)
        abort();
    event_add(drain_look, &interval);
    on_drain_look(-1, 0, NULL);
}

static void stop(struct service *service, void *state)
{
    stop_listening();
    if (drain_look)
        event_free(drain_look);
    if (ingest.wheel)
        connections_close_all(&ingest, CLOSE_DRAINING, true);
    if (ingest.db)
        db_destroy(ingest.db);
    if (ingest.subscriber)
        subscriber_destroy(ingest.subscriber);
    if (ingest.media != ingest.state)
        redis_link_destroy(ingest.media);
    redis_link_destroy(ingest.state);
    session_registry_destroy(ingest.registry);
    tls_destroy(ingest.tls);
    wheel_destroy(ingest.wheel);
    address_table_destroy(ingest.addresses);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "ingest",
        .summary = "takes RTMP broadcasts in and hands their media on",
        .config_rows = ingest_config_rows,
        .config = &config,
        .state = &ingest,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
