/* The common side of the stores: choice by URL, metrics, and what /readyz says. */
#include "libcommon/store.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"

#include <event2/event.h>
#include <stdio.h>

#define PROBE_PATH           "hanabi-probe"
#define PROBE_EVERY_MS       2000
#define PROBE_WHEN_IDLE_MS   4000
#define PROBE_STILL_GOING_MS 5000

struct store {
    const struct store_ops *ops;
    void *self;
    struct event *timer;
    struct blob *probe;
    int64_t probe_sent_ms; /* 0: none under way */
    int64_t heard_ms;      /* when an operation last came back */
    bool is_up;
    char why[200];
    struct metric *puts_ok, *puts_failed, *put_bytes, *put_seconds;
};

struct put_call {
    struct store *store;
    store_done_fn done;
    void *context;
    int64_t started_us;
    size_t len;
};

static const double seconds_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

/* Missing objects and late writes say that the store works. */
static void note_result(struct store *store, int code, const char *why)
{
    bool is_up = code != STORE_AWAY && code != STORE_REFUSED, is_first = store->heard_ms == 0;

    store->heard_ms = clock_monotonic_ms();
    if (is_up != store->is_up || is_first) {
        if (is_up)
            log_info("store.up");
        else
            log_error(code == STORE_REFUSED ? "store.refused" : "store.away", log_str("why", why));
    }
    store->is_up = is_up;
    if (!is_up)
        snprintf(store->why, sizeof(store->why), "%s", why);
}

static void on_put(int code, const char *why, void *context)
{
    struct put_call *call = context;
    struct store *store = call->store;

    note_result(store, code, why);
    metric_add(code == 0 ? store->puts_ok : store->puts_failed, 1);
    if (code == 0)
        metric_add(store->put_bytes, (double)call->len);
    metric_observe(store->put_seconds, (double)(clock_monotonic_us() - call->started_us) / 1e6);
    call->done(code, why, call->context);
    free(call);
}

void store_put(struct store *store, const struct store_put *put, store_done_fn done, void *context)
{
    struct put_call *call = alloc_zero(1, sizeof(*call));

    call->store = store;
    call->done = done;
    call->context = context;
    call->started_us = clock_monotonic_us();
    call->len = put->blob->len;
    store->ops->put(store->self, put, on_put, call);
}

void store_get(struct store *store, const char *path, size_t max_bytes, store_get_fn done, void *context)
{
    store->ops->get(store->self, path, max_bytes, done, context);
}

void store_delete(struct store *store, const char *path, store_done_fn done, void *context)
{
    store->ops->delete (store->self, path, done, context);
}

static void on_probe(int code, const char *why, void *context)
{
    struct store *store = context;

    store->probe_sent_ms = 0;
    note_result(store, code, why);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
    struct store *store = context;
    int64_t now = clock_monotonic_ms();

    if (store->probe_sent_ms || (store->is_up && now - store->heard_ms < PROBE_WHEN_IDLE_MS))
        return;
    store->probe_sent_ms = now;
    store->ops->put(
        store->self,
        &(struct store_put){
            .path = PROBE_PATH, .blob = store->probe, .content_type = "text/plain", .cache_control = "no-store"},
        on_probe, store);
}

struct store *store_create(struct event_base *loop, const struct store_options *options, char *error, size_t error_size)
{
    struct store *store = alloc_zero(1, sizeof(*store));
    struct timeval every = {PROBE_EVERY_MS / 1000, PROBE_EVERY_MS % 1000 * 1000};
    struct metrics *metrics = options->metrics;

    if (strncmp(options->url, "s3://", 5) == 0)
        store->self = store_s3_create(loop, options, &store->ops, error, error_size);
    else
        store->self = store_file_create(loop, options, &store->ops, error, error_size);
    if (!store->self) {
        free(store);
        return NULL;
    }
    store->puts_ok = metrics_counter(metrics, "hanabi_store_puts_total", "objects put", "result=\"ok\"");
    store->puts_failed = metrics_counter(metrics, "hanabi_store_puts_total", "objects put", "result=\"failed\"");
    store->put_bytes = metrics_counter(metrics, "hanabi_store_put_bytes_total", "bytes of objects put", NULL);
    store->put_seconds = metrics_histogram(metrics, "hanabi_store_put_seconds", "time of one put", NULL, seconds_bounds,
                                           sizeof(seconds_bounds) / sizeof(seconds_bounds[0]));
    store->probe = blob_of_text("Hanabi writes this to know that it can\n");
    snprintf(store->why, sizeof(store->why), "not tried yet");
    store->timer = event_new(loop, -1, EV_PERSIST, on_timer, store);
    event_add(store->timer, &every);
    on_timer(-1, 0, store);
    return store;
}

void store_destroy(struct store *store)
{
    if (!store)
        return;
    event_free(store->timer);
    store->ops->destroy(store->self);
    blob_unref(store->probe);
    free(store);
}

bool store_ready(void *context, char *why, size_t why_size)
{
    struct store *store = context;
    const char *stuck = store->ops->stuck ? store->ops->stuck(store->self) : NULL;

    if (!stuck && store->probe_sent_ms && clock_monotonic_ms() - store->probe_sent_ms > PROBE_STILL_GOING_MS)
        stuck = "no answer for more than 5 s";
    if (store->is_up && !stuck)
        return true;
    snprintf(why, why_size, "%s", stuck ? stuck : store->why);
    return false;
}
