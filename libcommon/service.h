/* The common runner: what all services' main() share. It reads the configuration, sets up the log, the event loop,
 * signals, metrics and the admin port (/healthz /readyz /metrics), calls the service, drains on SIGTERM.
 *
 *     static const struct service_definition definition = {
 *         .name = "burst-status", .summary = "answers /status for every player",
 *         .config_rows = rows, .config = &config, .start = start, .drain = drain, .stop = stop, .state = &state};
 *     int main(int argc, char **argv) { return service_main(&definition, argc, argv); }
 *
 * One libevent loop thread per process. All callbacks run on it. Exit status: 0 after a drain, 1 when start failed,
 * 2 for a broken configuration. `--help` prints the summary and the table; `--health` asks the running instance
 * (service_health.h). */
#pragma once

#include "libcommon/config.h"

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct metrics;
struct service;

struct service_definition {
    const char *name;
    const char *summary;
    const struct config_row *config_rows; /* the service's own; the runner adds HANABI_ADMIN_LISTEN, HANABI_INSTANCE,
                                             HANABI_LOG_LEVEL and HANABI_DRAIN_MS */
    void *config;                         /* filled from config_rows before start */
    void *state;                          /* handed to the callbacks */
    /* Builds everything. 0, or -1 after having logged why; then stop is still called. */
    int (*start)(struct service *service, void *state);
    /* SIGTERM or SIGINT came: take no new work, finish what is under way, then call service_drained(). May be NULL.
     * After HANABI_DRAIN_MS (default 10,000) the process stops anyway. A second signal stops at once. */
    void (*drain)(struct service *service, void *state);
    /* Frees everything; the loop does not run any more, but still exists. */
    void (*stop)(struct service *service, void *state);
};

int service_main(const struct service_definition *definition, int argc, char **argv);

struct event_base *service_loop(struct service *service);
struct metrics *service_metrics(struct service *service);
/* Unique per running process: HANABI_INSTANCE, else "<hostname>-<pid>-<random>". */
const char *service_instance(struct service *service);
bool service_is_draining(struct service *service);
/* The drain is complete: leave the loop. */
void service_drained(struct service *service);

/* Names something that /readyz reports. `ready` answers from memory, at once; when false it writes one sentence to
 * `why`. /readyz: 200 {"ready":true} or 503 {"ready":false,"missing":{"redis":"connection refused"}}. */
typedef bool (*service_ready_fn)(void *context, char *why, size_t why_size);
void service_add_dependency(struct service *service, const char *name, service_ready_fn ready, void *context);
