/* archive: see README.md. */
#include "archive.h"

#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

static struct archive archive_state;

/* The subscription is there for its ping channel: others see by it that this process lives (libcommon/lease.h). */
static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
}

static int start(struct service *service, void *state)
{
    struct archive *archive = state;
    struct event_base *loop = service_loop(service);
    const char *url = archive->config.chat_redis_url[0] ? archive->config.chat_redis_url : archive->config.redis_url;
    char ping[KEY_MAX];
    struct redis_link_options redis = {
        .name = "chat", .metrics = service_metrics(service), .max_pending_bytes = 64 << 20};
    struct subscriber_options subscriber = {.ping_channel = key_of(ping, CHANNEL_PING, service_instance(service)),
                                            .metrics = service_metrics(service),
                                            .on_message = on_message};
    struct db_options db = {.workers = 4, .metrics = service_metrics(service)};

    archive->service = service;
    archive->redis = redis_link_create(loop, url, &redis);
    archive->subscriber = subscriber_create(loop, url, &subscriber);
    archive->db = db_create(loop, archive->config.mysql_url, &db);
    if (!archive->redis || !archive->subscriber || !archive->db) {
        log_error("service.bad_url", log_str("what", archive->redis ? "HANABI_MYSQL_URL" : "HANABI_REDIS_URL"));
        return -1;
    }
    archive->mover = mover_create(archive);
    service_add_dependency(service, "redis", redis_link_ready, archive->redis);
    service_add_dependency(service, "subscription", subscriber_ready, archive->subscriber);
    service_add_dependency(service, "mysql", db_ready, archive->db);
    return 0;
}

static void drain(struct service *service, void *state)
{
    struct archive *archive = state;

    mover_drain(archive->mover);
}

/* The database's last callbacks use the link, the link's last callbacks the mover and its leases. */
static void stop(struct service *service, void *state)
{
    struct archive *archive = state;

    if (archive->mover)
        mover_drain(archive->mover);
    if (archive->db)
        db_destroy(archive->db);
    if (archive->subscriber)
        subscriber_destroy(archive->subscriber);
    if (archive->redis)
        redis_link_destroy(archive->redis);
    mover_destroy(archive->mover);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "archive",
        .summary = "moves comment logs from Redis to MySQL",
        .config_rows = archive_config_rows,
        .config = &archive_state.config,
        .state = &archive_state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
