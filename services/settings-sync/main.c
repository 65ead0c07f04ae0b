/* settings-sync: see README.md. */
#include "settings_sync.h"

#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/rate_table.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"

#include <errno.h>
#include <string.h>

static struct settings_sync sync_state;

static void add_routes(struct settings_sync *sync)
{
    static const struct {
        const char *method, *pattern;
        http_handler_fn handler;
    } routes[] = {
        {"GET", "/api/v1/settings", handle_settings_get},
        {"PUT", "/api/v1/settings/decoration", handle_decoration_put},
        {"DELETE", "/api/v1/settings/decoration", handle_decoration_delete},
        {"PUT", "/api/v1/settings/blocks/{user_id}", handle_block_put},
        {"DELETE", "/api/v1/settings/blocks/{user_id}", handle_block_delete},
        {"PUT", "/api/v1/settings/words", handle_words_put},
        {"DELETE", "/api/v1/settings/words", handle_words_delete},
        {"PUT", "/api/v1/settings/broadcasts/{id}/mutes/{user_id}", handle_mute_put},
        {"DELETE", "/api/v1/settings/broadcasts/{id}/mutes/{user_id}", handle_mute_delete},
        {"PUT", "/api/v1/settings/broadcasts/{id}/bans/{user_id}", handle_ban_put},
        {"DELETE", "/api/v1/settings/broadcasts/{id}/bans/{user_id}", handle_ban_delete},
        {"PUT", "/api/v1/settings/broadcasts/{id}/slow_mode", handle_slow_mode_put},
        {"DELETE", "/api/v1/settings/broadcasts/{id}/slow_mode", handle_slow_mode_delete},
        {"POST", "/api/v1/settings/notices", handle_notice_post},
        {"GET", "/api/v1/settings/notices", handle_notices_get},
    };

    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        http_server_route(sync->http, routes[i].method, routes[i].pattern, routes[i].handler, sync);
}

static int start(struct service *service, void *state)
{
    struct settings_sync *sync = state;
    struct redis_link_options redis = {.name = "state", .metrics = service_metrics(service)};
    struct db_options db = {.workers = 4, .metrics = service_metrics(service)};
    struct http_server_options http = {.metrics = service_metrics(service)};

    sync->service = service;
    sync->rates = rate_table_create(SETTINGS_RATES_KEPT, sync->config.rate_burst, sync->config.rate_per_10s);
    sync->limited = metrics_counter(service_metrics(service), "hanabi_settings_rate_limited_total",
                                    "changes refused because their user had made too many", NULL);
    sync->rates_forgotten = metrics_gauge(
        service_metrics(service), "hanabi_settings_rates_forgotten",
        "users whose rate was forgotten too early: more change settings at the same time than are known", NULL);
    sync->redis = redis_link_create(service_loop(service), sync->config.redis_url, &redis);
    sync->db = db_create(service_loop(service), sync->config.mysql_url, &db);
    if (!sync->redis || !sync->db) {
        log_error("service.bad_url", log_str("what", sync->redis ? "HANABI_MYSQL_URL" : "HANABI_REDIS_URL"));
        return -1;
    }
    sync->http = http_server_create(service_loop(service), &sync->config.listen, &http);
    if (!sync->http) {
        log_error("http.listen_failed", log_str("host", sync->config.listen.host),
                  log_int("port", sync->config.listen.port), log_str("why", strerror(errno)));
        return -1;
    }
    add_routes(sync);
    service_add_dependency(service, "redis", redis_link_ready, sync->redis);
    service_add_dependency(service, "mysql", db_ready, sync->db);
    return 0;
}

static void drain(struct service *service, void *state)
{
    struct settings_sync *sync = state;

    http_server_quiesce(sync->http);
    service_drained(service);
}

/* The database first: its jobs answer requests, and publish. */
static void stop(struct service *service, void *state)
{
    struct settings_sync *sync = state;

    db_destroy(sync->db);
    http_server_destroy(sync->http);
    if (sync->redis)
        redis_link_destroy(sync->redis);
    rate_table_destroy(sync->rates);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "settings-sync",
        .summary = "writes settings and tells every chat process at once",
        .config_rows = settings_sync_config_rows,
        .config = &sync_state.config,
        .state = &sync_state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
