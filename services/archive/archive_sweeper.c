#include "archive_sweeper.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/lease.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/service.h"
#include "libcommon/store.h"
#include "proto/keys.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_MS 1000
#define DAY_MS        86400000LL

/* One archive at a time: a deletion may take its time, and must not take the store's. */
struct archive_sweeper {
    struct archive *archive;
    struct event *timer;
    struct lease *lease;
    struct archive_removal removal;
    size_t turn; /* which of those that wait is next: one that another process has must not stop the rest */
    bool is_busy, is_draining, is_lost, has_failed;
    size_t pending; /* deletions of objects under way */
    int code;
    struct metric *deleted, *objects, *failures;
    struct log_limiter limiter;
};

static void next_objects(struct archive_sweeper *sweeper);

static void rest(struct archive_sweeper *sweeper)
{
    static const struct timeval delay = {LOOK_EVERY_MS / 1000, LOOK_EVERY_MS % 1000 * 1000};

    archive_removal_clear(&sweeper->removal);
    if (sweeper->lease)
        lease_release(sweeper->lease);
    sweeper->lease = NULL;
    sweeper->is_busy = false;
    if (!sweeper->is_draining)
        evtimer_add(sweeper->timer, &delay);
}

/* It is looked at again in a moment, and goes on where it stopped. */
static void fail(struct archive_sweeper *sweeper, const char *why)
{
    metric_add(sweeper->failures, 1);
    log_limited(&sweeper->limiter, LOG_LEVEL_WARN, "sweep.failed", log_str("broadcast", sweeper->removal.id),
                log_str("why", why));
    rest(sweeper);
}

static bool must_stop(const struct archive_sweeper *sweeper)
{
    return sweeper->is_draining || sweeper->is_lost || !sweeper->archive->store;
}

/* --- objects, then their rows --- */

static void run_rows(struct db_connection *connection, void *context)
{
    struct archive_sweeper *sweeper = context;

    sweeper->code = archive_removal_rows(connection, &sweeper->removal);
}

static void on_rows(int code, void *context)
{
    struct archive_sweeper *sweeper = context;
    bool is_last = sweeper->removal.is_last;

    code = code != 0 ? code : sweeper->code;
    if (code != 0) {
        fail(sweeper, db_strerror(code));
        return;
    }
    archive_removal_clear(&sweeper->removal);
    if (is_last) {
        metric_add(sweeper->deleted, 1);
        log_info("archive.deleted", log_str("broadcast", sweeper->removal.id));
        rest(sweeper);
    } else {
        next_objects(sweeper);
    }
}

static void on_deleted(int code, const char *why, void *context)
{
    struct archive_sweeper *sweeper = context;

    if (code != 0 && code != STORE_MISSING) {
        sweeper->has_failed = true;
        log_limited(&sweeper->limiter, LOG_LEVEL_WARN, "object.not_deleted", log_str("why", why));
    } else {
        metric_add(sweeper->objects, 1);
    }
    if (--sweeper->pending > 0)
        return;
    if (sweeper->has_failed)
        fail(sweeper, "the store did not delete an object");
    else if (must_stop(sweeper))
        rest(sweeper);
    else if (archive_submit(sweeper->archive, run_rows, on_rows, sweeper) != 0)
        fail(sweeper, db_strerror(DB_FULL));
}

static void run_next(struct db_connection *connection, void *context)
{
    struct archive_sweeper *sweeper = context;

    sweeper->code = archive_removal_next(connection, &sweeper->removal);
}

static void on_next(int code, void *context)
{
    struct archive_sweeper *sweeper = context;

    code = code != 0 ? code : sweeper->code;
    if (code != 0) {
        fail(sweeper, db_strerror(code));
        return;
    }
    if (must_stop(sweeper)) {
        rest(sweeper);
        return;
    }
    sweeper->has_failed = false;
    sweeper->pending = sweeper->removal.count;
    for (size_t i = 0, count = sweeper->removal.count; i < count; i++)
        store_delete(sweeper->archive->store, sweeper->removal.paths[i], on_deleted, sweeper);
    if (sweeper->removal.count == 0 && archive_submit(sweeper->archive, run_rows, on_rows, sweeper) != 0)
        fail(sweeper, db_strerror(DB_FULL));
}

static void next_objects(struct archive_sweeper *sweeper)
{
    if (must_stop(sweeper))
        rest(sweeper);
    else if (archive_submit(sweeper->archive, run_next, on_next, sweeper) != 0)
        fail(sweeper, db_strerror(DB_FULL));
}

/* --- whose turn it is --- */

static void on_lost(struct lease *lease, void *context)
{
    struct archive_sweeper *sweeper = context;

    sweeper->is_lost = true;
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct archive_sweeper *sweeper = context;

    sweeper->lease = lease;
    sweeper->is_lost = false;
    if (lease)
        next_objects(sweeper);
    else
        rest(sweeper);
}

static void acquire(struct archive_sweeper *sweeper)
{
    struct archive *archive = sweeper->archive;
    char key[KEY_MAX], alive[KEY_MAX];
    const char *holder = service_instance(archive->service);
    const struct lease_options options = {.key = key_of(key, KEY_LEASE_ARCHIVING, sweeper->removal.id),
                                          .fence_key = KEY_FENCE,
                                          .holder = holder,
                                          .alive_channel = key_of(alive, CHANNEL_PING, holder),
                                          .on_lost = on_lost,
                                          .context = sweeper};

    lease_try_acquire(service_loop(archive->service), archive->state, &options, on_acquired, sweeper);
}

/* What is to be exported and is not yet, does not go. */
#define NOT_EXPORTED                                                                                                   \
    "EXISTS (SELECT 1 FROM export_cursors e WHERE e.broadcast_id = archives.broadcast_id AND e.is_pending = 1)"

/* Rows of events of one archive whose files have stood for long. */
static int prune(struct db_connection *connection, int64_t before_ms, bool is_exporting)
{
    struct db_result *result = NULL;
    bool is_over = false;
    int code = db_query(connection,
                        "SELECT broadcast_id FROM archives WHERE state = 'archived' AND pruned = 0 AND "
                        "archived_at_ms < ? AND NOT (? AND " NOT_EXPORTED ") ORDER BY archived_at_ms LIMIT 1",
                        DB_PARAMS(db_int(before_ms), db_int(is_exporting)), 1, &result);

    if (code == 0 && db_result_rows(result) == 1) {
        code = archive_removal_events(connection, db_result_value(result, 0, 0), &is_over);
        if (code == 0 && is_over)
            code = db_exec(connection, "UPDATE archives SET pruned = 1 WHERE broadcast_id = ?",
                           DB_PARAMS(db_str(db_result_value(result, 0, 0))));
    }
    db_result_free(result);
    return code;
}

static int find_deleted(struct db_connection *connection, struct archive_sweeper *sweeper)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT broadcast_id FROM archives WHERE state = 'deleting' AND NOT (? AND " NOT_EXPORTED
                        ") ORDER BY broadcast_id LIMIT 50",
                        DB_PARAMS(db_int(sweeper->archive->config.is_exporting)), 50, &result);
    size_t rows = code == 0 ? db_result_rows(result) : 0;

    sweeper->removal.id[0] = '\0';
    if (rows > 0)
        snprintf(sweeper->removal.id, sizeof(sweeper->removal.id), "%s",
                 db_result_value(result, sweeper->turn++ % rows, 0));
    db_result_free(result);
    return code;
}

static void run_look(struct db_connection *connection, void *context)
{
    struct archive_sweeper *sweeper = context;
    const struct archive_config *config = &sweeper->archive->config;
    int64_t now_ms = clock_wall_ms();

    sweeper->code = 0;
    if (config->max_age_days > 0)
        sweeper->code = db_exec(connection,
                                "UPDATE archives SET state = 'deleting' WHERE state = 'archived' AND "
                                "archived_at_ms < ? ORDER BY archived_at_ms LIMIT 100",
                                DB_PARAMS(db_int(now_ms - config->max_age_days * DAY_MS)));
    if (sweeper->code == 0 && config->prune_days > 0)
        sweeper->code = prune(connection, now_ms - config->prune_days * DAY_MS, config->is_exporting);
    if (sweeper->code == 0)
        sweeper->code = find_deleted(connection, sweeper);
}

static void on_looked(int code, void *context)
{
    struct archive_sweeper *sweeper = context;

    code = code != 0 ? code : sweeper->code;
    if (code != 0)
        fail(sweeper, db_strerror(code));
    else if (must_stop(sweeper) || !sweeper->removal.id[0])
        rest(sweeper);
    else
        acquire(sweeper);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct archive_sweeper *sweeper = context;

    sweeper->is_busy = true;
    if (archive_submit(sweeper->archive, run_look, on_looked, sweeper) != 0)
        rest(sweeper);
}

/* --- life --- */

struct archive_sweeper *archive_sweeper_create(struct archive *archive)
{
    struct archive_sweeper *sweeper = alloc_zero(1, sizeof(*sweeper));
    struct metrics *metrics = service_metrics(archive->service);

    sweeper->archive = archive;
    sweeper->limiter = LOG_LIMITER(2000);
    sweeper->deleted = metrics_counter(metrics, "hanabi_archive_deleted_total", "archives deleted", NULL);
    sweeper->objects = metrics_counter(metrics, "hanabi_archive_objects_deleted_total", "their objects", NULL);
    sweeper->failures =
        metrics_counter(metrics, "hanabi_archive_sweeps_failed_total", "deletions that are tried again", NULL);
    sweeper->timer = evtimer_new(service_loop(archive->service), on_timer, sweeper);
    if (!sweeper->timer)
        abort();
    rest(sweeper);
    return sweeper;
}

void archive_sweeper_drain(struct archive_sweeper *sweeper)
{
    sweeper->is_draining = true;
    evtimer_del(sweeper->timer);
}

bool archive_sweeper_is_idle(const struct archive_sweeper *sweeper)
{
    return !sweeper->is_busy;
}

void archive_sweeper_destroy(struct archive_sweeper *sweeper)
{
    if (!sweeper)
        return;
    archive_removal_clear(&sweeper->removal);
    event_free(sweeper->timer);
    free(sweeper);
}
