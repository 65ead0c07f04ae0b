/* burst-status: tells every player what state a broadcast is in and when to ask again, from memory alone. */
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "services/burst-status/state_feed.h"
#include "services/burst-status/status_server.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

struct burst_status_config {
    struct config_listen listen;
    const char *redis_url;
    int64_t max_connections, max_broadcasts;
    struct retry_policy_options retry;
};

struct burst_status {
    struct burst_status_config config;
    struct service *service;
    struct status_table *table;
    struct state_feed *feed;
    struct status_server *server;
    struct retry_policy policy;
};

#define FIELD(name) offsetof(struct burst_status_config, name)
static const struct config_row rows[] = {
    {"HANABI_STATUS_LISTEN", CONFIG_LISTEN, "127.0.0.1:8082", "where players ask; several processes may share it",
     .offset = FIELD(listen)},
    {"HANABI_REDIS_URL", CONFIG_URL, NULL, "state Redis", REDIS_LINK_URL, .offset = FIELD(redis_url)},
    {"HANABI_STATUS_MAX_CONNECTIONS", CONFIG_INT, "100000", "beyond these the longest idle one is closed", .min = 1,
     .max = 1000000, .offset = FIELD(max_connections)},
    {"HANABI_STATUS_MAX_BROADCASTS", CONFIG_INT, "200000", "kept in memory (about 300 bytes each)", .min = 100,
     .max = 10000000, .offset = FIELD(max_broadcasts)},
    {"HANABI_STATUS_RETRY_MIN_MS", CONFIG_INT, "2000", "while suspended: ask again after this long at the earliest",
     .min = 100, .max = 60000, .offset = FIELD(retry.min_ms)},
    {"HANABI_STATUS_RETRY_MAX_MS", CONFIG_INT, "6000", "… and at the latest; grows with the load", .min = 200,
     .max = 60000, .offset = FIELD(retry.max_ms)},
    {"HANABI_STATUS_RETURN_MS", CONFIG_INT, "2000", "players come back spread over this long; grows with the load",
     .min = 0, .max = 60000, .offset = FIELD(retry.return_ms)},
    {"HANABI_STATUS_REQUESTS_PER_S", CONFIG_INT, "25000", "load above which the two grow", .min = 100, .max = 10000000,
     .offset = FIELD(retry.requests_per_s_max)},
    CONFIG_END,
};

static bool knows_all(void *context)
{
    const struct burst_status *state = context;

    return state_feed_knows_all(state->feed);
}

static void on_drained(void *context)
{
    struct burst_status *state = context;

    service_drained(state->service);
}

static int start(struct service *service, void *context)
{
    struct burst_status *state = context;
    const struct burst_status_config *config = &state->config;
    struct metrics *metrics = service_metrics(service);
    uint64_t seeds[2];

    state->service = service;
    if (config->retry.max_ms <= config->retry.min_ms) {
        log_error("config.refused", log_str("reason", "HANABI_STATUS_RETRY_MAX_MS is not above _RETRY_MIN_MS"));
        return -1;
    }
    randombytes_buf(seeds, sizeof(seeds));
    retry_policy_init(&state->policy, &config->retry, seeds[0], clock_monotonic_ms());
    state->table = status_table_create((size_t)config->max_broadcasts, seeds[1]);
    state->feed =
        state_feed_create(service_loop(service), config->redis_url, service_instance(service), state->table, metrics);
    service_add_dependency(service, "redis", state_feed_ready, state->feed);

    const struct status_server_options options = {.table = state->table,
                                                  .policy = &state->policy,
                                                  .max_connections = (size_t)config->max_connections,
                                                  .metrics = metrics,
                                                  .knows_all = knows_all,
                                                  .on_drained = on_drained,
                                                  .context = state};
    state->server = status_server_create(service_loop(service), &config->listen, &options);
    if (!state->server) {
        log_error("listen.failed", log_str("address", config->listen.host), log_int("port", config->listen.port),
                  log_str("reason", strerror(errno)));
        return -1;
    }
    log_info("status.listening", log_str("address", config->listen.host),
             log_int("port", status_server_port(state->server)));
    return 0;
}

static void drain(struct service *service, void *context)
{
    struct burst_status *state = context;

    status_server_drain(state->server);
}

static void stop(struct service *service, void *context)
{
    struct burst_status *state = context;

    if (state->server)
        status_server_destroy(state->server);
    state_feed_destroy(state->feed);
    status_table_destroy(state->table);
}

int main(int argc, char **argv)
{
    static struct burst_status state;
    const struct service_definition definition = {
        .name = "burst-status",
        .summary = "tells every player a broadcast's state and when to ask again, from memory alone",
        .config_rows = rows,
        .config = &state.config,
        .state = &state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
