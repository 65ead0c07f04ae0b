/* One batch at a time: take (a lease on rows that are due) → deliver → delete what arrived, put off what did not. */
#include "outbox.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/request_scope.h"
#include "libcommon/service.h"
#include "live_api.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX    100
#define COUNTED_MAX  1000
#define MYSQL_NOW_MS "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS INTEGER)"

/* BATCH_MAX of them, so that there is one statement to prepare; ids that are not needed are 0. */
#define TEN_IDS "?,?,?,?,?,?,?,?,?,?"
#define ALL_IDS                                                                                                        \
    "(" TEN_IDS "," TEN_IDS "," TEN_IDS "," TEN_IDS "," TEN_IDS "," TEN_IDS "," TEN_IDS "," TEN_IDS "," TEN_IDS        \
    "," TEN_IDS ")"

struct outbox_relay {
    struct live_api *api;
    struct outbox_options options;
    struct event *timer;
    struct outbox_batch *batch; /* under way */
    bool is_busy;               /* a batch is being taken, delivered or settled */
    bool is_wanted;             /* woken meanwhile */
    bool is_delivering;         /* options.deliver is on the stack: the batch must outlive it */
    struct metric *delivered, *dropped, *retried, *waiting, *oldest;
    struct log_limiter limiter;
};

/* Work for a database worker. */
struct relay_job {
    struct outbox_relay *relay;
    struct outbox_batch *batch; /* what was taken, or what is to be settled */
    bool is_counting;
    int64_t waiting, oldest_ms;
    int code;
};

static void take_batch(struct outbox_relay *relay, bool is_counting);

static struct db_param *all_ids(struct db_param ids[BATCH_MAX])
{
    for (size_t i = 0; i < BATCH_MAX; i++)
        ids[i] = db_int(0);
    return ids;
}

int outbox_insert(struct db_connection *connection, const char *kind, const char *subject, const char *payload)
{
    return db_exec(connection,
                   "INSERT INTO outbox (kind, subject, payload, created_at_ms, due_at_ms) VALUES (?, ?, ?, ?, "
                   "" MYSQL_NOW_MS ")",
                   DB_PARAMS(db_str(kind), db_str(subject), db_str(payload), db_int(clock_wall_ms())));
}

static void batch_free(struct outbox_batch *batch)
{
    if (!batch)
        return;
    for (size_t i = 0; i < batch->count; i++) {
        free(batch->entries[i].subject);
        free(batch->entries[i].payload);
    }
    free(batch->entries);
    free(batch);
}

static void rest(struct outbox_relay *relay)
{
    const struct timeval delay = {relay->options.poll_ms / 1000, relay->options.poll_ms % 1000 * 1000};

    relay->is_busy = false;
    if (relay->is_wanted) {
        relay->is_wanted = false;
        take_batch(relay, false);
    } else {
        evtimer_add(relay->timer, &delay);
    }
}

static void report(struct outbox_relay *relay, const char *what, int code)
{
    log_limited(&relay->limiter, LOG_LEVEL_WARN, "outbox.delayed", log_str("kind", relay->options.kind),
                log_str("what", what), log_str("why", db_strerror(code)));
}

/* --- settling --- */

static int64_t retry_delay_ms(const struct outbox_options *options, int attempts)
{
    int64_t delay_ms = options->retry_min_ms;

    for (int i = 1; i < attempts && delay_ms < options->retry_max_ms; i++)
        delay_ms *= 2;
    return delay_ms < options->retry_max_ms ? delay_ms : options->retry_max_ms;
}

static int put_off(struct db_connection *connection, const struct outbox_options *options,
                   const struct outbox_entry *entry)
{
    /* Taken by another meanwhile: that one decides. */
    return db_exec(
        connection, "UPDATE outbox SET due_at_ms = " MYSQL_NOW_MS " + ? WHERE id = ? AND attempts = ?",
        DB_PARAMS(db_int(retry_delay_ms(options, entry->attempts)), db_int(entry->id), db_int(entry->attempts)));
}

static void run_settle(struct db_connection *connection, void *context)
{
    struct relay_job *job = context;
    struct db_param gone[BATCH_MAX];
    size_t count = 0;

    all_ids(gone);
    for (size_t i = 0; i < job->batch->count; i++)
        if (job->batch->entries[i].result != OUTBOX_RETRY)
            gone[count++] = db_int(job->batch->entries[i].id);
    job->code = count ? db_exec(connection, "DELETE FROM outbox WHERE id IN " ALL_IDS, gone, BATCH_MAX) : 0;
    for (size_t i = 0; i < job->batch->count && job->code == 0; i++)
        if (job->batch->entries[i].result == OUTBOX_RETRY)
            job->code = put_off(connection, &job->relay->options, &job->batch->entries[i]);
}

/* Those without rows to the front, for on_gone. */
static size_t gather_gone(struct outbox_batch *batch)
{
    size_t gone = 0;

    for (size_t i = 0; i < batch->count; i++) {
        struct outbox_entry entry = batch->entries[i];

        if (entry.result == OUTBOX_RETRY)
            continue;
        batch->entries[i] = batch->entries[gone];
        batch->entries[gone++] = entry;
    }
    return gone;
}

static void on_settled(int code, void *context)
{
    struct relay_job *job = context;
    struct outbox_relay *relay = job->relay;

    code = code != 0 ? code : job->code;
    if (code != 0) {
        /* What was delivered comes up once more when its lease is over, and its receiver knows the id. */
        report(relay, "settling", code);
    } else {
        size_t gone = gather_gone(job->batch);

        if (gone > 0 && relay->options.on_gone)
            relay->options.on_gone(job->batch->entries, gone, relay->options.context);
        if (job->batch->count == relay->options.batch)
            relay->is_wanted = true;
    }
    batch_free(job->batch);
    free(job);
    rest(relay);
}

static void settle_rows(struct outbox_relay *relay)
{
    struct relay_job *job = alloc_zero(1, sizeof(*job));

    job->relay = relay;
    job->batch = relay->batch;
    relay->batch = NULL;
    if (live_api_submit(relay->api, run_settle, on_settled, job) != 0)
        on_settled(DB_FULL, job);
}

void outbox_entry_settle(struct outbox_batch *batch, size_t index, enum outbox_result result)
{
    struct outbox_relay *relay = batch->relay;

    if (batch->entries[index].result != OUTBOX_PENDING || result == OUTBOX_PENDING)
        return;
    batch->entries[index].result = result;
    metric_add(result == OUTBOX_DELIVERED ? relay->delivered
                                          : (result == OUTBOX_DROPPED ? relay->dropped : relay->retried),
               1);
    if (--batch->unsettled == 0 && !relay->is_delivering)
        settle_rows(relay);
}

void outbox_batch_settle(struct outbox_batch *batch, enum outbox_result result)
{
    struct outbox_relay *relay = batch->relay;
    bool was_delivering = relay->is_delivering;

    relay->is_delivering = true; /* the batch has to last for the loop */
    for (size_t i = 0; i < batch->count; i++)
        outbox_entry_settle(batch, i, result);
    relay->is_delivering = was_delivering;
    if (batch->unsettled == 0 && !was_delivering)
        settle_rows(relay);
}

int64_t outbox_batch_left_ms(const struct outbox_batch *batch)
{
    return batch->taken_ms + batch->relay->options.lease_ms - clock_monotonic_ms();
}

/* --- taking --- */

static void take_rows(struct outbox_batch *batch, const struct db_result *result)
{
    batch->count = db_result_rows(result);
    batch->unsettled = batch->count;
    batch->entries = alloc_zero(batch->count + 1, sizeof(batch->entries[0]));
    for (size_t i = 0; i < batch->count; i++) {
        struct outbox_entry *entry = &batch->entries[i];

        entry->id = db_result_int(result, i, 0);
        entry->subject = alloc_string(db_result_value(result, i, 1));
        entry->payload = alloc_string(db_result_value(result, i, 2));
        entry->payload_len = strlen(entry->payload);
        entry->created_at_ms = db_result_int(result, i, 3);
        entry->attempts = (int)db_result_int(result, i, 4) + 1;
    }
}

static int lease_rows(struct db_connection *connection, const struct outbox_options *options,
                      struct outbox_batch *batch)
{
    struct db_param params[1 + BATCH_MAX];
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT id, subject, payload, created_at_ms, attempts FROM outbox WHERE kind = ? AND due_at_ms "
                        "<= " MYSQL_NOW_MS " ORDER BY due_at_ms, id LIMIT ? FOR UPDATE SKIP LOCKED",
                        DB_PARAMS(db_str(options->kind), db_int((int64_t)options->batch)), options->batch, &result);

    if (code == 0 && db_result_rows(result) > 0) {
        take_rows(batch, result);
        params[0] = db_int(options->lease_ms);
        all_ids(params + 1);
        for (size_t i = 0; i < batch->count; i++)
            params[1 + i] = db_int(batch->entries[i].id);
        code =
            db_exec(connection,
                    "UPDATE outbox SET due_at_ms = " MYSQL_NOW_MS " + ?, attempts = attempts + 1 WHERE id IN " ALL_IDS,
                    params, 1 + BATCH_MAX);
    }
    db_result_free(result);
    return code;
}

static int count_rows(struct db_connection *connection, struct relay_job *job)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT COUNT(*), MIN(created_at_ms) FROM (SELECT created_at_ms FROM outbox WHERE kind = ? "
                        "LIMIT ?) AS some_rows",
                        DB_PARAMS(db_str(job->relay->options.kind), db_int(COUNTED_MAX)), 1, &result);

    if (code == 0) {
        job->waiting = db_result_int(result, 0, 0);
        job->oldest_ms = db_result_int(result, 0, 1);
    }
    db_result_free(result);
    return code;
}

static void run_take(struct db_connection *connection, void *context)
{
    struct relay_job *job = context;

    job->code = job->is_counting ? count_rows(connection, job) : 0;
    if (job->code == 0)
        job->code = db_begin_read_committed(connection);
    if (job->code == 0)
        job->code = lease_rows(connection, &job->relay->options, job->batch);
    if (job->code == 0)
        job->code = db_commit(connection);
    if (job->code != 0)
        db_rollback(connection);
}

static void deliver(struct outbox_relay *relay, struct outbox_batch *batch)
{
    relay->batch = batch;
    relay->is_delivering = true;
    relay->options.deliver(batch, relay->options.context);
    relay->is_delivering = false;
    if (batch->unsettled == 0)
        settle_rows(relay);
}

static void on_taken(int code, void *context)
{
    struct relay_job *job = context;
    struct outbox_relay *relay = job->relay;
    struct outbox_batch *batch = job->batch;

    code = code != 0 ? code : job->code;
    if (code == 0 && job->is_counting) {
        metric_set(relay->waiting, (double)job->waiting);
        metric_set(relay->oldest, job->waiting ? (double)(clock_wall_ms() - job->oldest_ms) / 1000 : 0);
    }
    free(job);
    if (code == 0 && batch->count > 0) {
        deliver(relay, batch);
        return;
    }
    if (code != 0 && code != DB_CONFLICT)
        report(relay, "taking", code);
    batch_free(batch);
    rest(relay);
}

static void take_batch(struct outbox_relay *relay, bool is_counting)
{
    struct relay_job *job = alloc_zero(1, sizeof(*job));

    relay->is_busy = true;
    evtimer_del(relay->timer);
    job->relay = relay;
    job->is_counting = is_counting;
    job->batch = alloc_zero(1, sizeof(*job->batch));
    job->batch->relay = relay;
    job->batch->taken_ms = clock_monotonic_ms();
    const char *outer_scope = request_scope_enter(NULL); /* not that of whoever wanted it first */
    if (live_api_submit(relay->api, run_take, on_taken, job) != 0) {
        relay->is_wanted = false; /* or it would be tried again at once */
        on_taken(DB_FULL, job);
    }
    request_scope_leave(outer_scope);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct outbox_relay *relay = context;

    if (!relay->is_busy)
        take_batch(relay, true);
}

void outbox_relay_wake(struct outbox_relay *relay)
{
    if (relay->is_busy)
        relay->is_wanted = true;
    else
        take_batch(relay, false);
}

/* --- life --- */

static struct metric *counter(struct outbox_relay *relay, const char *result)
{
    char labels[80];

    snprintf(labels, sizeof(labels), "kind=\"%s\",result=\"%s\"", relay->options.kind, result);
    return metrics_counter(service_metrics(relay->api->service), "hanabi_outbox_entries_total",
                           "attempts to deliver an entry of the outbox", labels);
}

static void make_metrics(struct outbox_relay *relay)
{
    struct metrics *metrics = service_metrics(relay->api->service);
    char labels[48];

    snprintf(labels, sizeof(labels), "kind=\"%s\"", relay->options.kind);
    relay->delivered = counter(relay, "delivered");
    relay->retried = counter(relay, "retried");
    relay->dropped = counter(relay, "dropped");
    relay->waiting =
        metrics_gauge(metrics, "hanabi_outbox_waiting", "entries not delivered yet, counted up to 1000", labels);
    relay->oldest =
        metrics_gauge(metrics, "hanabi_outbox_oldest_seconds", "age of the oldest entry not delivered yet", labels);
}

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value ? value : otherwise;
}

struct outbox_relay *outbox_relay_create(struct live_api *api, const struct outbox_options *options)
{
    struct outbox_relay *relay = alloc_zero(1, sizeof(*relay));

    relay->api = api;
    relay->options = *options;
    relay->options.batch = (size_t)or_default((int64_t)options->batch, 50);
    if (relay->options.batch > BATCH_MAX)
        relay->options.batch = BATCH_MAX;
    relay->options.lease_ms = or_default(options->lease_ms, 10000);
    relay->options.poll_ms = or_default(options->poll_ms, 500);
    relay->options.retry_min_ms = or_default(options->retry_min_ms, 200);
    relay->options.retry_max_ms = or_default(options->retry_max_ms, 5000);
    relay->limiter = LOG_LIMITER(5000);
    relay->timer = evtimer_new(service_loop(api->service), on_timer, relay);
    if (!relay->timer)
        abort();
    make_metrics(relay);
    rest(relay);
    return relay;
}

bool outbox_relay_is_idle(const struct outbox_relay *relay)
{
    return !relay->is_busy;
}

void outbox_relay_destroy(struct outbox_relay *relay)
{
    if (!relay)
        return;
    batch_free(relay->batch);
    event_free(relay->timer);
    free(relay);
}
