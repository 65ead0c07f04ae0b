/* segment-uploader: finished segments to the store, then the playlists that name them; see README.md. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"

#include <jansson.h>
#include <stdio.h>

static struct uploader_config config;
static struct uploader uploader = {.config = &config};

static const double seconds_bounds[] = {0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 6, 10, 30, 120};
#define BOUNDS seconds_bounds, sizeof(seconds_bounds) / sizeof(seconds_bounds[0])

static void make_metrics(struct metrics *registry)
{
    struct uploader_metrics *m = &uploader.metrics;

    m->broadcasts = metrics_gauge(registry, "hanabi_uploader_broadcasts", "broadcasts whose lease we hold", NULL);
    m->queue_age = metrics_gauge(registry, "hanabi_uploader_queue_age_seconds", "oldest entry not yet published", NULL);
    m->queued_segments = metrics_gauge(registry, "hanabi_uploader_queued_segments", "entries not yet published", NULL);
    m->memory_bytes = metrics_gauge(registry, "hanabi_uploader_memory_bytes", "media of segments in memory", NULL);
    m->segments = metrics_counter(registry, "hanabi_uploader_segments_total", "segments published", NULL);
    m->segments_late = metrics_counter(registry, "hanabi_uploader_segments_late_total",
                                       "segments published more than 8 s behind the camera", NULL);
    m->segments_lost = metrics_counter(registry, "hanabi_uploader_segments_lost_total",
                                       "entries whose bytes were nowhere to be found", NULL);
    m->segments_repeated = metrics_counter(registry, "hanabi_uploader_segments_repeated_total",
                                           "entries that had been published before", NULL);
    m->playlists = metrics_counter(registry, "hanabi_uploader_playlists_total", "playlists written", NULL);
    m->retries = metrics_counter(registry, "hanabi_uploader_retries_total", "steps tried again", NULL);
    m->rows = metrics_counter(registry, "hanabi_uploader_rows_total", "segments' rows confirmed by MySQL", NULL);
    m->rows_failed = metrics_counter(registry, "hanabi_uploader_rows_failed_total", "batches of rows refused", NULL);
    m->rows_lost = metrics_counter(registry, "hanabi_uploader_rows_lost_total", "rows given up", NULL);
    m->upload_seconds = metrics_histogram(registry, "hanabi_uploader_upload_seconds",
                                          "from the first put of a segment to its acknowledgement", NULL, BOUNDS);
    m->publish_seconds =
        metrics_histogram(registry, "hanabi_uploader_publish_seconds",
                          "from an entry's arrival here to its playlist being fetchable", NULL, BOUNDS);
    m->camera_seconds = metrics_histogram(registry, "hanabi_uploader_camera_to_store_seconds",
                                          "from a segment's last media at ingest to its playlist", NULL, BOUNDS);
}

static void on_queued(const char *message, size_t len_bytes)
{
    json_t *root = json_loadb(message, len_bytes, 0, NULL);
    const char *id = json_string_value(json_object_get(root, "id"));

    if (id_is_valid(id))
        claimer_wake(uploader.claimer, id);
    json_decref(root);
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct broadcast_state_event event;

    if (!uploader.claimer)
        return;
    if (strcmp(channel, CHANNEL_SEGMENT_QUEUED) == 0)
        on_queued(message, len_bytes);
    else if (strcmp(channel, CHANNEL_BROADCAST) == 0 && broadcast_state_event_parse(message, len_bytes, &event) == 0 &&
             event.state == BROADCAST_ENDED) {
        const char *outer_scope = request_scope_enter(event.request_id);

        claimer_on_ended(uploader.claimer, event.id);
        request_scope_leave(outer_scope);
    }
}

static void on_resubscribed(bool first, void *context)
{
    if (uploader.claimer)
        claimer_wake_all(uploader.claimer);
}

static void on_link_up(void *context)
{
    if (uploader.claimer)
        claimer_wake_all(uploader.claimer);
}

static void on_state_up(void *context)
{
    on_link_up(context);
    if (uploader.keeper)
        keeper_on_redis_up(uploader.keeper);
}

static int start_links(struct service *service)
{
    struct metrics *metrics = service_metrics(service);
    struct redis_link_options options = {.name = "state", .metrics = metrics, .on_up = on_state_up};

    uploader.state = redis_link_create(uploader.loop, config.redis_url, &options);
    uploader.media = uploader.state;
    service_add_dependency(service, "redis", redis_link_ready, uploader.state);
    if (config.media_redis_url[0]) {
        options = (struct redis_link_options){.name = "media", .metrics = metrics, .on_up = on_link_up};
        uploader.media = redis_link_create(uploader.loop, config.media_redis_url, &options);
        service_add_dependency(service, "media_redis", redis_link_ready, uploader.media);
    }
    snprintf(uploader.alive_channel, sizeof(uploader.alive_channel), "%s%s", CHANNEL_PING, service_instance(service));
    uploader.subscriber = subscriber_create(uploader.loop, config.redis_url,
                                            &(struct subscriber_options){.ping_channel = uploader.alive_channel,
                                                                         .metrics = metrics,
                                                                         .on_resubscribed = on_resubscribed,
                                                                         .on_message = on_message});
    subscriber_add(uploader.subscriber, CHANNEL_SEGMENT_QUEUED);
    subscriber_add(uploader.subscriber, CHANNEL_BROADCAST);
    service_add_dependency(service, "subscriber", subscriber_ready, uploader.subscriber);
    uploader.db = db_create(uploader.loop, config.mysql_url, &(struct db_options){.metrics = metrics});
    service_add_dependency(service, "mysql", db_ready, uploader.db);
    return uploader.state && uploader.media && uploader.subscriber && uploader.db ? 0 : -1;
}

static int fail(const char *variable, const char *why)
{
    log_error("configuration.broken", log_str("variable", variable), log_str("why", why));
    return -1;
}

static int start(struct service *service, void *state)
{
    struct metrics *metrics = service_metrics(service);
    char why[300];

    uploader.service = service;
    uploader.loop = service_loop(service);
    if (uploader_config_check(&config, why, sizeof(why)) != 0)
        return fail("", why);
    make_metrics(metrics);
    uploader.store = store_create(uploader.loop,
                                  &(struct store_options){.url = config.store_url,
                                                          .access_key = config.s3_access_key,
                                                          .secret_key = config.s3_secret_key,
                                                          .sync_files = config.store_sync,
                                                          .max_operations = (int)config.store_operations,
                                                          .metrics = metrics},
                                  why, sizeof(why));
    if (!uploader.store)
        return fail("HANABI_STORE_URL", why);
    service_add_dependency(service, "store", store_ready, uploader.store);
    uploader.spool =
        spool_create(uploader.loop, config.spool_dir, config.spool_max_mb << 20, metrics, why, sizeof(why));
    if (!uploader.spool)
        return fail("HANABI_SPOOL_DIR", why);
    uploader.purge = purge_create(uploader.loop, config.purge_urls, metrics, why, sizeof(why));
    if (!uploader.purge)
        return fail("HANABI_PURGE_URLS", why);
    if (start_links(service) != 0)
        return -1;
    uploader.claimer = claimer_create(&uploader);
    uploader.keeper = keeper_create(&uploader);
    return 0;
}

static void drain(struct service *service, void *state)
{
    claimer_drain(uploader.claimer);
}

static void stop(struct service *service, void *state)
{
    struct redis_link *media = uploader.media != uploader.state ? uploader.media : NULL;

    keeper_destroy(uploader.keeper);
    /* Their callbacks still know the broadcasts: these go last. Leases are given back over the state link before. */
    if (uploader.claimer)
        claimer_release_all(uploader.claimer);
    store_destroy(uploader.store);
    spool_destroy(uploader.spool);
    purge_destroy(uploader.purge);
    if (uploader.db)
        db_destroy(uploader.db);
    if (uploader.subscriber)
        subscriber_destroy(uploader.subscriber);
    if (media)
        redis_link_destroy(media);
    if (uploader.state)
        redis_link_destroy(uploader.state);
    while (!LIST_EMPTY(&uploader.broadcasts))
        broadcast_destroy(LIST_FIRST(&uploader.broadcasts));
    claimer_destroy(uploader.claimer);
}

static const struct service_definition definition = {
    .name = "segment-uploader",
    .summary =
        "puts finished segments and then the playlists that name them to the store, and keeps the broadcasts' clock",
    .config_rows = uploader_config_rows,
    .config = &config,
    .state = &uploader,
    .start = start,
    .drain = drain,
    .stop = stop,
};

int main(int argc, char **argv)
{
    return service_main(&definition, argc, argv);
}
