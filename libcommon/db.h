/* MariaDB off the loop: jobs run on worker threads, each with a connection of its own; results come back on the loop.
 *
 * A job is plain sequential code with the connection in hand, so that a transaction reads like one. Errors of the line
 * (server gone, deadline) make the connection new for the next job; a job is never repeated by this module: callers
 * repeat what is idempotent. Automatic reconnect is off, since it loses session state silently.
 *
 *     struct end_job { struct job_base…; char id[33]; int code; };
 *     static void run(struct db_connection *c, void *job) { job->code = db_exec(c, "UPDATE … WHERE id=?", DB_STR(id));
 * } static void done(int code, void *job) { … on the loop; frees job … } db_submit(db, run, done, job);
 *
 * URL: mysql://user:password@host:port[,host:port…]/database[?ca=/ca.pem],
 * mysql://user@localhost/database?socket=/path. Of several hosts (a primary and its replicas) the one that takes writes
 * is used; when it is gone or has become read-only, the others are asked, until one has been promoted. `ca`: TLS is
 * required, and the server's certificate must be signed by it and name the host. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct db_connection;
struct event_base;
struct metrics;

enum db_error {
    DB_DOWN = -1,      /* no connection could be made */
    DB_LOST = -2,      /* the line broke or the deadline passed: the statement may have been carried out */
    DB_FAILED = -3,    /* the server refused the statement: a fault of ours; logged by db_exec/db_query with its text */
    DB_DUPLICATE = -4, /* unique key (1062) */
    DB_CONFLICT = -5,  /* deadlock or lock wait (1213, 1205): roll back and try again */
    DB_FULL = -6,      /* the queue of jobs is full; the job was not taken */
};
const char *db_strerror(int code);

struct db_options {
    int workers;             /* 0: 2 */
    int64_t timeout_ms;      /* connect, read and write. 0: 3,000 */
    size_t max_queued_jobs;  /* 0: 1,000 */
    struct metrics *metrics; /* may be NULL */
};

struct db *db_create(struct event_base *loop, const char *url, const struct db_options *options);
/* Runs what is queued to its end (each within timeout_ms), calls the remaining `done` callbacks, joins the workers. */
void db_destroy(struct db *db);
/* 0, or -1 with a sentence (without the password) in `error`: the URL is broken, or the CA file that it names. */
int db_check_url(const char *url, char *error, size_t error_size);
extern const char *const db_schemes[];
/* What the config_rows of such URLs have in common. */
#define DB_URL .choices = db_schemes, .check = db_check_url, .secret = true
/* A service_ready_fn; `context` is the db. From memory: a worker without jobs pings every second. */
bool db_ready(void *db, char *why, size_t why_size);

/* `run` on a worker thread: owns `job` until it returns. `done` on the loop, exactly once, never before db_submit
 * returns; `code` is 0, or DB_DOWN when no connection was to be had and `run` was not called. Returns 0 or DB_FULL
 * (`done` is not called). */
typedef void (*db_run_fn)(struct db_connection *connection, void *job);
typedef void (*db_done_fn)(int code, void *job);
int db_submit(struct db *db, db_run_fn run, db_done_fn done, void *job) __attribute__((warn_unused_result));

/* A parameter of a prepared statement. */
struct db_param {
    enum { DB_PARAM_NULL, DB_PARAM_INT, DB_PARAM_BYTES } type;
    int64_t integer;
    const void *bytes;
    size_t len_bytes;
};
struct db_param db_str(const char *string); /* NULL is SQL NULL */
struct db_param db_int(int64_t integer);
struct db_param db_bytes(const void *bytes, size_t len_bytes);

/* In `run` only. Statements are prepared once per connection and kept. Each returns 0 or a db_error. */
int db_exec(struct db_connection *connection, const char *sql, const struct db_param *params, size_t count);
int64_t db_affected_rows(const struct db_connection *connection);
int64_t db_insert_id(const struct db_connection *connection);

/* The whole result in memory, at most `max_rows` (then DB_FAILED). Every value as a NUL-terminated string, NULL for SQL
 * NULL. */
struct db_result;
int db_query(struct db_connection *connection, const char *sql, const struct db_param *params, size_t count,
             size_t max_rows, struct db_result **result);
size_t db_result_rows(const struct db_result *result);
const char *db_result_value(const struct db_result *result, size_t row, size_t column);
size_t db_result_len(const struct db_result *result, size_t row, size_t column);
int64_t db_result_int(const struct db_result *result, size_t row, size_t column); /* 0 for NULL */
void db_result_free(struct db_result *result);                                    /* NULL is fine */

#define DB_PARAMS(...)                                                                                                 \
    ((const struct db_param[]){__VA_ARGS__}), (sizeof((const struct db_param[]){__VA_ARGS__}) / sizeof(struct db_param))

int db_begin(struct db_connection *connection);
/* The same at READ COMMITTED: every read sees what is committed by then, and reads that lock take no locks on gaps, for
 * which others' inserts would have to wait. */
int db_begin_read_committed(struct db_connection *connection);
int db_commit(struct db_connection *connection);
void db_rollback(struct db_connection *connection);
