/* Workers and their queue. The mutex guards the queue, the list of what is done and the states of the workers; it is
 * never held while a job, a connection attempt or a callback runs. Results reach the loop through an eventfd.
 *
 * A worker without a connection takes no jobs. While at least one worker is connected, or still in its first attempt
 * since it lost its connection, jobs wait; when the last attempt of each has failed the database is down: what waits is
 * answered DB_DOWN and so is, at once, whatever is submitted. */
#include "libcommon/db.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/db_connection.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/request_scope.h"
#include "libcommon/tls_client.h"

#include <event2/event.h>
#include <mysql.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#define MAX_WORKERS    64
#define IDLE_PING_MS   1000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000

struct queued_job {
    STAILQ_ENTRY(queued_job) entry;
    db_run_fn run;
    db_done_fn done;
    void *job;
    int code;
    int64_t submitted_us;
    char *request_id; /* NULL: of no request */
};
STAILQ_HEAD(job_list, queued_job);

enum worker_state { WORKER_CONNECTING, WORKER_UP, WORKER_DOWN };

struct worker {
    struct db *db;
    pthread_t thread;
    enum worker_state state; /* under the mutex */
    struct db_connection *connection;
    struct backoff backoff;
};

struct db {
    struct db_server server;
    int64_t timeout_ms;
    size_t max_queued_jobs;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stopping;
    struct job_list queue, done;
    size_t queue_length;
    char why[200]; /* why the last attempt to connect failed */
    int worker_count;
    struct worker *workers;
    int done_fd;
    struct event *done_event;
    struct log_limiter failure_limiter; /* under the mutex */
    struct {
        struct metric *up, *queued, *refused, *seconds;
    } metrics;
};

const char *const db_schemes[] = {"mysql", NULL};

static bool is_down(const struct db *db)
{
    for (int i = 0; i < db->worker_count; i++)
        if (db->workers[i].state != WORKER_DOWN)
            return false;
    return true;
}

static bool is_up(const struct db *db)
{
    for (int i = 0; i < db->worker_count; i++)
        if (db->workers[i].state == WORKER_UP)
            return true;
    return false;
}

/* --- from the workers to the loop --- */

static void post_done(struct db *db, struct queued_job *job, int code)
{
    job->code = code;
    STAILQ_INSERT_TAIL(&db->done, job, entry);
    if (eventfd_write(db->done_fd, 1) != 0)
        abort();
}

static void run_done_callbacks(struct db *db)
{
    struct job_list done = STAILQ_HEAD_INITIALIZER(done);
    struct queued_job *job;

    pthread_mutex_lock(&db->mutex);
    STAILQ_CONCAT(&done, &db->done);
    pthread_mutex_unlock(&db->mutex);
    while ((job = STAILQ_FIRST(&done))) {
        STAILQ_REMOVE_HEAD(&done, entry);
        if (db->metrics.seconds)
            metric_observe(db->metrics.seconds, (double)(clock_monotonic_us() - job->submitted_us) / 1e6);
        const char *outer_scope = request_scope_enter(job->request_id);
        job->done(job->code, job->job);
        request_scope_leave(outer_scope);
        free(job->request_id);
        free(job);
    }
}

static void on_done(evutil_socket_t fd, short events, void *context)
{
    eventfd_t count;

    if (eventfd_read(fd, &count) == 0)
        run_done_callbacks(context);
}

/* --- workers (the mutex is held where the name ends in _locked) --- */

static void set_state_locked(struct worker *worker, enum worker_state state)
{
    struct db *db = worker->db;
    struct queued_job *job;

    worker->state = state;
    if (db->metrics.up)
        metric_set(db->metrics.up, is_up(db));
    if (!is_down(db))
        return;
    while ((job = STAILQ_FIRST(&db->queue))) {
        STAILQ_REMOVE_HEAD(&db->queue, entry);
        db->queue_length--;
        post_done(db, job, DB_DOWN);
    }
    if (db->metrics.queued)
        metric_set(db->metrics.queued, 0);
}

static void wait_locked(struct db *db, int64_t wait_ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += wait_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&db->wake, &db->mutex, &until);
}

static void connect_locked(struct worker *worker)
{
    struct db *db = worker->db;
    char why[sizeof(db->why)] = "";

    pthread_mutex_unlock(&db->mutex);
    int failed = db_connection_open(worker->connection, why, sizeof(why));
    pthread_mutex_lock(&db->mutex);
    if (!failed) {
        backoff_reset(&worker->backoff);
        set_state_locked(worker, WORKER_UP);
        return;
    }
    snprintf(db->why, sizeof(db->why), "%s", why);
    log_limited(&db->failure_limiter, LOG_LEVEL_WARN, "db.connect_failed", log_str("why", why));
    set_state_locked(worker, WORKER_DOWN);
    int64_t retry_at_ms = clock_monotonic_ms() + backoff_next_ms(&worker->backoff);
    int64_t left_ms;
    while (!db->stopping && (left_ms = retry_at_ms - clock_monotonic_ms()) > 0)
        wait_locked(db, left_ms);
}

static void run_job_locked(struct worker *worker)
{
    struct db *db = worker->db;

    /* Better found out before the job than in its first statement. */
    if (!db_connection_is_good(worker->connection)) {
        set_state_locked(worker, WORKER_CONNECTING);
        return;
    }
    struct queued_job *job = STAILQ_FIRST(&db->queue);
    STAILQ_REMOVE_HEAD(&db->queue, entry);
    db->queue_length--;
    if (db->metrics.queued)
        metric_set(db->metrics.queued, (double)db->queue_length);
    pthread_mutex_unlock(&db->mutex);
    const char *outer_scope = request_scope_enter(job->request_id);
    job->run(worker->connection, job->job);
    db_connection_end_job(worker->connection);
    request_scope_leave(outer_scope);
    bool is_good = db_connection_is_good(worker->connection);
    pthread_mutex_lock(&db->mutex);
    post_done(db, job, 0);
    if (!is_good)
        set_state_locked(worker, WORKER_CONNECTING);
}

static void idle_locked(struct worker *worker)
{
    struct db *db = worker->db;
    int64_t ping_at_ms = clock_monotonic_ms() + IDLE_PING_MS;
    int64_t left_ms;

    while (!db->stopping && STAILQ_EMPTY(&db->queue) && (left_ms = ping_at_ms - clock_monotonic_ms()) > 0)
        wait_locked(db, left_ms);
    if (db->stopping || !STAILQ_EMPTY(&db->queue))
        return;
    pthread_mutex_unlock(&db->mutex);
    int failed = db_connection_ping(worker->connection);
    pthread_mutex_lock(&db->mutex);
    if (failed)
        set_state_locked(worker, WORKER_CONNECTING);
}

/* Stopping, a worker goes on while there are jobs, unless its own connection is down: those that still have one do the
 * rest. */
static void *work(void *context)
{
    struct worker *worker = context;
    struct db *db = worker->db;

    mysql_thread_init();
    pthread_mutex_lock(&db->mutex);
    while (!db->stopping || (!STAILQ_EMPTY(&db->queue) && worker->state != WORKER_DOWN)) {
        if (worker->state != WORKER_UP)
            connect_locked(worker);
        else if (!STAILQ_EMPTY(&db->queue))
            run_job_locked(worker);
        else
            idle_locked(worker);
    }
    pthread_mutex_unlock(&db->mutex);
    db_connection_destroy(worker->connection);
    mysql_thread_end();
    return NULL;
}

/* --- the loop's side --- */

static void init_library(void)
{
    /* Not thread-safe by itself; never ended, since other modules of the process may use the library. */
    if (mysql_library_init(0, NULL, NULL) != 0)
        abort();
}

static void make_metrics(struct db *db, struct metrics *registry)
{
    static const double bounds[] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3};

    if (!registry)
        return;
    db->metrics.up = metrics_gauge(registry, "hanabi_db_up", "1 while connected to MariaDB", NULL);
    db->metrics.queued = metrics_gauge(registry, "hanabi_db_queued_jobs", "jobs waiting for a worker", NULL);
    db->metrics.refused = metrics_counter(registry, "hanabi_db_refused_jobs_total", "jobs not taken: queue full", NULL);
    db->metrics.seconds = metrics_histogram(registry, "hanabi_db_job_seconds", "from submit to done", NULL, bounds,
                                            sizeof(bounds) / sizeof(bounds[0]));
}

static void init_wake(struct db *db)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&db->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct db *db_create(struct event_base *loop, const char *url, const struct db_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct db *db = alloc_zero(1, sizeof(*db));

    if (db_server_parse(url, &db->server, NULL, 0) != 0) {
        free(db);
        return NULL;
    }
    pthread_once(&once, init_library);
    db->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 3000;
    db->max_queued_jobs = options->max_queued_jobs > 0 ? options->max_queued_jobs : 1000;
    db->worker_count = options->workers <= 0 ? 2 : options->workers < MAX_WORKERS ? options->workers : MAX_WORKERS;
    db->failure_limiter = LOG_LIMITER(5000);
    snprintf(db->why, sizeof(db->why), "connecting");
    STAILQ_INIT(&db->queue);
    STAILQ_INIT(&db->done);
    pthread_mutex_init(&db->mutex, NULL);
    init_wake(db);
    make_metrics(db, options->metrics);
    db->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    db->done_event = db->done_fd < 0 ? NULL : event_new(loop, db->done_fd, EV_READ | EV_PERSIST, on_done, db);
    if (!db->done_event)
        abort();
    event_add(db->done_event, NULL);

    db->workers = alloc_zero((size_t)db->worker_count, sizeof(*db->workers));
    for (int i = 0; i < db->worker_count; i++) {
        struct worker *worker = &db->workers[i];

        worker->db = db;
        worker->state = WORKER_CONNECTING;
        worker->connection = db_connection_create(&db->server, db->timeout_ms);
        backoff_init(&worker->backoff, BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    }
    for (int i = 0; i < db->worker_count; i++)
        if (pthread_create(&db->workers[i].thread, NULL, work, &db->workers[i]) != 0)
            abort();
    return db;
}

void db_destroy(struct db *db)
{
    if (!db)
        return;
    pthread_mutex_lock(&db->mutex);
    db->stopping = true;
    pthread_cond_broadcast(&db->wake);
    pthread_mutex_unlock(&db->mutex);
    for (int i = 0; i < db->worker_count; i++)
        pthread_join(db->workers[i].thread, NULL);
    run_done_callbacks(db);
    event_free(db->done_event);
    close(db->done_fd);
    pthread_cond_destroy(&db->wake);
    pthread_mutex_destroy(&db->mutex);
    free(db->workers);
    free(db);
}

int db_check_url(const char *url, char *error, size_t error_size)
{
    struct db_server server;

    if (db_server_parse(url, &server, error, error_size) != 0)
        return -1;
    return server.ca[0] ? tls_client_check_ca(server.ca, error, error_size) : 0;
}

bool db_ready(void *context, char *why, size_t why_size)
{
    struct db *db = context;

    pthread_mutex_lock(&db->mutex);
    bool ready = is_up(db);
    if (!ready)
        snprintf(why, why_size, "%s", db->why);
    pthread_mutex_unlock(&db->mutex);
    return ready;
}

int db_submit(struct db *db, db_run_fn run, db_done_fn done, void *job)
{
    struct queued_job *queued = NULL;
    int code = 0;

    pthread_mutex_lock(&db->mutex);
    if (db->stopping || db->queue_length >= db->max_queued_jobs) {
        code = DB_FULL;
    } else {
        queued = alloc_zero(1, sizeof(*queued));
        queued->run = run;
        queued->done = done;
        queued->job = job;
        queued->submitted_us = clock_monotonic_us();
        queued->request_id = request_scope_copy();
        if (is_down(db)) {
            post_done(db, queued, DB_DOWN);
        } else {
            STAILQ_INSERT_TAIL(&db->queue, queued, entry);
            db->queue_length++;
            if (db->metrics.queued)
                metric_set(db->metrics.queued, (double)db->queue_length);
            pthread_cond_signal(&db->wake);
        }
    }
    pthread_mutex_unlock(&db->mutex);
    if (code == DB_FULL && db->metrics.refused)
        metric_add(db->metrics.refused, 1);
    return code;
}
