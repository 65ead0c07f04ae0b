/* The database against a real MariaDB: types, errors, limits, and a server that dies in the middle of a job. */
#include "libcommon/db.h"
#include "real_server.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Long beside the pauses of a busy machine (a second was seen): only the tests about deadlines may reach it. */
#define DEADLINE_MS 4000

struct fixture {
    struct event_base *loop;
    struct real_server *server; /* one for all tests: making one takes seconds */
    struct db *db;
};

static struct fixture fixture;

struct job {
    void (*body)(struct db_connection *connection, struct job *job);
    atomic_bool started;
    int calls, code;
    int result;
    int64_t integer;
    char text[64];
};

static void run(struct db_connection *connection, void *context)
{
    struct job *job = context;

    atomic_store(&job->started, true);
    job->body(connection, job);
}

static void done(int code, void *context)
{
    struct job *job = context;

    job->calls++;
    job->code = code;
}

static void connect_db(int workers, size_t max_queued_jobs)
{
    char url[96];

    snprintf(url, sizeof(url), "mysql://root@127.0.0.1:%d/hanabi", real_server_port(fixture.server));
    fixture.db = db_create(
        fixture.loop, url,
        &(struct db_options){.workers = workers, .timeout_ms = DEADLINE_MS, .max_queued_jobs = max_queued_jobs});
    assert_non_null(fixture.db);
}

static void submit(struct job *job)
{
    assert_int_equal(db_submit(fixture.db, run, done, job), 0);
    assert_int_equal(job->calls, 0);
}

static void run_job(void (*body)(struct db_connection *connection, struct job *job), struct job *job)
{
    *job = (struct job){.body = body};
    submit(job);
    WAIT_UNTIL(fixture.loop, 3 * DEADLINE_MS, job->calls == 1);
}

static int set_up(void **state)
{
    /* As a test that failed may have left it. */
    real_server_resume(fixture.server);
    if (!real_server_is_running(fixture.server))
        real_server_restart(fixture.server);
    fixture.loop = event_base_new();
    connect_db(2, 0);
    return 0;
}

static int tear_down(void **state)
{
    db_destroy(fixture.db);
    fixture.db = NULL;
    event_base_free(fixture.loop);
    return 0;
}

/* cmocka's assertions jump, which only its own thread may. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

#define TABLE                                                                                                          \
    "CREATE OR REPLACE TABLE t (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20) UNIQUE, body LONGBLOB) "        \
    "ENGINE=InnoDB"

/* --- what jobs can do --- */

static void types_body(struct db_connection *c, struct job *job)
{
    static char large[100000];
    struct db_result *rows = NULL;

    memset(large, 'x', sizeof(large));
    large[5] = '\0';
    CHECK(db_exec(c, TABLE, NULL, 0) == 0);
    CHECK(db_exec(c, "INSERT INTO t (name, body) VALUES (?, ?)",
                  DB_PARAMS(db_str("花火 🎆"), db_bytes(large, sizeof(large)))) == 0);
    CHECK(db_affected_rows(c) == 1);
    CHECK(db_insert_id(c) == 1);
    CHECK(db_exec(c, "INSERT INTO t (id, name, body) VALUES (?, ?, ?)",
                  DB_PARAMS(db_int(INT64_MIN), db_str(NULL), db_str(""))) == 0);
    CHECK(db_query(c, "SELECT id, name, body, 1.50, NOW(3) FROM t ORDER BY id", NULL, 0, 10, &rows) == 0);
    CHECK(db_result_rows(rows) == 2);
    CHECK(db_result_int(rows, 0, 0) == INT64_MIN);
    CHECK(!db_result_value(rows, 0, 1));
    CHECK(db_result_int(rows, 0, 1) == 0);
    CHECK(strcmp(db_result_value(rows, 0, 2), "") == 0);
    CHECK(strcmp(db_result_value(rows, 1, 1), "花火 🎆") == 0);
    CHECK(db_result_len(rows, 1, 2) == sizeof(large));
    CHECK(memcmp(db_result_value(rows, 1, 2), large, sizeof(large)) == 0);
    CHECK(strcmp(db_result_value(rows, 1, 3), "1.50") == 0);
    CHECK(db_result_len(rows, 1, 4) == 23);
    db_result_free(rows);

    /* The prepared statement again, with other values; and the values that are just as long as the first fetch. */
    for (int len = 254; len < 259; len++) {
        CHECK(db_exec(c, "UPDATE t SET body=? WHERE id=?", DB_PARAMS(db_bytes(large + 6, (size_t)len), db_int(1))) ==
              0);
        CHECK(db_query(c, "SELECT body FROM t WHERE id=?", DB_PARAMS(db_int(1)), 10, &rows) == 0);
        CHECK((int)db_result_len(rows, 0, 0) == len);
        CHECK((int)strlen(db_result_value(rows, 0, 0)) == len);
        db_result_free(rows);
    }
    CHECK(db_query(c, "SELECT id FROM t WHERE id=77", NULL, 0, 10, &rows) == 0);
    CHECK(db_result_rows(rows) == 0);
    db_result_free(rows);
    job->result = 1;
}

static void test_types(void **state)
{
    struct job job;

    run_job(types_body, &job);
    assert_int_equal(job.code, 0);
    assert_int_equal(job.result, 1);
}

static void errors_body(struct db_connection *c, struct job *job)
{
    struct db_result *rows = NULL;

    CHECK(db_exec(c, TABLE, NULL, 0) == 0);
    CHECK(db_exec(c, "INSERT INTO t (name) VALUES (?)", DB_PARAMS(db_str("a"))) == 0);
    CHECK(db_exec(c, "INSERT INTO t (name) VALUES (?)", DB_PARAMS(db_str("a"))) == DB_DUPLICATE);
    CHECK(db_exec(c, "INSERT INTO t (name) VALUES (?)", DB_PARAMS(db_str("longer than the column holds"))) ==
          DB_FAILED);
    CHECK(db_exec(c, "NONSENSE", NULL, 0) == DB_FAILED);
    CHECK(db_exec(c, "DELETE FROM t WHERE id=?", NULL, 0) == DB_FAILED);
    CHECK(db_query(c, "SELECT 1 UNION SELECT 2 UNION SELECT 3", NULL, 0, 2, &rows) == DB_FAILED);
    CHECK(!rows);
    CHECK(db_query(c, "DELETE FROM t WHERE id=7", NULL, 0, 2, &rows) == DB_FAILED);
    CHECK(!rows);
    /* None of it has harmed the line. */
    CHECK(db_query(c, "SELECT COUNT(*), @@session.time_zone, @@character_set_client FROM t", NULL, 0, 1, &rows) == 0);
    CHECK(db_result_int(rows, 0, 0) == 1);
    CHECK(strcmp(db_result_value(rows, 0, 1), "+00:00") == 0);
    CHECK(strcmp(db_result_value(rows, 0, 2), "utf8mb4") == 0);
    db_result_free(rows);
    job->result = 1;
}

static void test_errors(void **state)
{
    struct job job;

    run_job(errors_body, &job);
    assert_int_equal(job.result, 1);
}

static void transaction_body(struct db_connection *c, struct job *job)
{
    struct db_result *rows = NULL;

    CHECK(db_exec(c, TABLE, NULL, 0) == 0);
    CHECK(db_begin(c) == 0);
    CHECK(db_exec(c, "INSERT INTO t (name) VALUES ('kept')", NULL, 0) == 0);
    CHECK(db_commit(c) == 0);
    CHECK(db_begin(c) == 0);
    CHECK(db_exec(c, "INSERT INTO t (name) VALUES ('undone')", NULL, 0) == 0);
    db_rollback(c);
    CHECK(db_query(c, "SELECT name FROM t", NULL, 0, 9, &rows) == 0);
    CHECK(db_result_rows(rows) == 1);
    CHECK(strcmp(db_result_value(rows, 0, 0), "kept") == 0);
    db_result_free(rows);
    /* Left open: must not reach the next job. */
    CHECK(db_begin(c) == 0);
    job->result = db_exec(c, "INSERT INTO t (name) VALUES ('left open')", NULL, 0);
}

static void count_body(struct db_connection *c, struct job *job)
{
    struct db_result *rows = NULL;

    job->result = db_query(c, "SELECT COUNT(*) FROM t", NULL, 0, 9, &rows);
    if (job->result == 0)
        job->integer = db_result_int(rows, 0, 0);
    db_result_free(rows);
}

static void test_transactions(void **state)
{
    struct job job;

    run_job(transaction_body, &job);
    assert_int_equal(job.result, 0);
    for (int i = 0; i < 3; i++) {
        run_job(count_body, &job);
        assert_int_equal(job.integer, 1);
    }
}

static void lock_body(struct db_connection *c, struct job *job)
{
    job->result = db_begin(c);
    if (job->result == 0)
        job->result = db_exec(c, "UPDATE t SET body='x' WHERE id=1", NULL, 0);
    if (job->result == 0)
        job->result = db_exec(c, "DO SLEEP(2.5)", NULL, 0);
    db_rollback(c);
}

static void conflict_body(struct db_connection *c, struct job *job)
{
    /* Each locks one row, then wants the other's. */
    bool is_first = job->integer == 1;

    job->result = db_begin(c);
    if (job->result == 0)
        job->result = db_exec(c, "UPDATE t SET body='x' WHERE id=?", DB_PARAMS(db_int(is_first ? 1 : 2)));
    if (job->result == 0)
        job->result = db_exec(c, "DO SLEEP(0.2)", NULL, 0);
    if (job->result == 0)
        job->result = db_exec(c, "UPDATE t SET body='y' WHERE id=?", DB_PARAMS(db_int(is_first ? 2 : 1)));
    if (job->result == 0)
        job->result = db_commit(c);
    else
        db_rollback(c);
}

static void two_rows_body(struct db_connection *c, struct job *job)
{
    CHECK(db_exec(c, TABLE, NULL, 0) == 0);
    CHECK(db_exec(c, "INSERT INTO t (name) VALUES ('1'), ('2')", NULL, 0) == 0);
}

static void test_deadlock_is_a_conflict(void **state)
{
    struct job setup, first = {.body = conflict_body, .integer = 1}, second = {.body = conflict_body, .integer = 2};

    WAIT_UNTIL(fixture.loop, 3000, db_ready(fixture.db, (char[200]){0}, 200));
    run_job(two_rows_body, &setup);
    submit(&first);
    submit(&second);
    WAIT_UNTIL(fixture.loop, 12000, first.calls && second.calls);
    assert_int_equal(first.result + second.result, DB_CONFLICT);
}

static void test_jobs_run_side_by_side(void **state)
{
    struct job setup, slow = {.body = lock_body}, quick = {.body = count_body};

    run_job(two_rows_body, &setup);
    submit(&slow);
    WAIT_UNTIL(fixture.loop, 2000, atomic_load(&slow.started));
    submit(&quick);
    WAIT_UNTIL(fixture.loop, 2000, quick.calls);
    assert_int_equal(slow.calls, 0);
    WAIT_UNTIL(fixture.loop, 6000, slow.calls);
    assert_int_equal(slow.result, 0);
}

static void many_statements_body(struct db_connection *c, struct job *job)
{
    char sql[64];

    for (int i = 0; i < 200; i++) {
        struct db_result *rows = NULL;

        snprintf(sql, sizeof(sql), "SELECT %d", i % 130);
        CHECK(db_query(c, sql, NULL, 0, 1, &rows) == 0);
        CHECK(db_result_int(rows, 0, 0) == i % 130);
        db_result_free(rows);
    }
    job->result = 1;
}

static void test_statement_cache_is_bounded(void **state)
{
    struct job job;

    run_job(many_statements_body, &job);
    assert_int_equal(job.result, 1);
}

/* --- what goes wrong --- */

static void sleep_body(struct db_connection *c, struct job *job)
{
    job->result = db_exec(c, "DO SLEEP(5)", NULL, 0);
    /* The line stays lost for the rest of the job. */
    if (job->result == DB_LOST)
        CHECK(db_exec(c, "DO 1", NULL, 0) == DB_LOST);
}

/* SLEEP would end without an error when its time is over. */
static void endless_body(struct db_connection *c, struct job *job)
{
    struct db_result *rows = NULL;

    job->result = db_query(c, "SELECT COUNT(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b", NULL, 0, 1, &rows);
    CHECK(db_exec(c, "DO 1", NULL, 0) == DB_LOST);
}

static void test_deadline(void **state)
{
    struct job job;
    int64_t began_ms = now_ms();

    run_job(endless_body, &job);
    assert_int_equal(job.code, 0);
    assert_int_equal(job.result, DB_LOST);
    assert_in_range(now_ms() - began_ms, DEADLINE_MS * 7 / 10, DEADLINE_MS * 5 / 2);
    run_job(count_body, &job);
    assert_int_equal(job.result, 0);
}

static void test_stopped_server(void **state)
{
    struct job job;

    WAIT_UNTIL(fixture.loop, 3000, db_ready(fixture.db, (char[200]){0}, 200));
    real_server_pause(fixture.server);
    run_job(count_body, &job);
    assert_int_equal(job.result, DB_LOST);
    WAIT_UNTIL(fixture.loop, 5000, !db_ready(fixture.db, (char[200]){0}, 200));
    real_server_resume(fixture.server);
    WAIT_UNTIL(fixture.loop, 5000, db_ready(fixture.db, (char[200]){0}, 200));
    run_job(count_body, &job);
    assert_int_equal(job.result, 0);
}

static void test_killed_in_the_middle_and_back(void **state)
{
    struct job job = {.body = sleep_body}, waiting = {.body = count_body}, after;
    char why[200] = "";

    WAIT_UNTIL(fixture.loop, 3000, db_ready(fixture.db, why, sizeof(why)));
    submit(&job);
    WAIT_UNTIL(fixture.loop, 2000, atomic_load(&job.started));
    run_loop_for(fixture.loop, 50);
    real_server_kill(fixture.server);
    WAIT_UNTIL(fixture.loop, 2000, job.calls);
    assert_int_equal(job.code, 0);
    assert_int_equal(job.result, DB_LOST);
    WAIT_UNTIL(fixture.loop, 3000, !db_ready(fixture.db, why, sizeof(why)));
    assert_true(why[0] != '\0');

    /* Down is answered at once, and on the loop. */
    int64_t began_ms = now_ms();
    submit(&waiting);
    WAIT_UNTIL(fixture.loop, 1000, waiting.calls);
    assert_int_equal(waiting.code, DB_DOWN);
    assert_false(atomic_load(&waiting.started));
    assert_in_range(now_ms() - began_ms, 0, 200);

    real_server_restart(fixture.server);
    WAIT_UNTIL(fixture.loop, 5000, db_ready(fixture.db, why, sizeof(why)));
    run_job(count_body, &after);
    assert_int_equal(after.result, 0);
    assert_int_equal(job.calls, 1);
}

static void kill_me_body(struct db_connection *c, struct job *job)
{
    job->result = db_exec(c, "KILL CONNECTION_ID()", NULL, 0);
}

static void test_killed_connection_is_replaced(void **state)
{
    struct job job;

    for (int i = 0; i < 4; i++) {
        run_job(kill_me_body, &job);
        assert_int_equal(job.result, DB_LOST);
        run_job(count_body, &job);
        assert_int_equal(job.code, 0);
        assert_int_equal(job.result, 0);
    }
}

static void short_sleep_body(struct db_connection *c, struct job *job)
{
    job->result = db_exec(c, "DO SLEEP(0.2)", NULL, 0);
}

static void test_full_queue_and_destroy(void **state)
{
    struct job jobs[4] = {0}, refused = {.body = short_sleep_body};

    db_destroy(fixture.db);
    connect_db(1, 3);
    WAIT_UNTIL(fixture.loop, 3000, db_ready(fixture.db, (char[200]){0}, 200));
    for (int i = 0; i < 4; i++) {
        jobs[i].body = short_sleep_body;
        submit(&jobs[i]);
        if (i == 0)
            WAIT_UNTIL(fixture.loop, 2000, atomic_load(&jobs[0].started));
    }
    assert_int_equal(db_submit(fixture.db, run, done, &refused), DB_FULL);
    /* What is queued is run to its end. */
    db_destroy(fixture.db);
    fixture.db = NULL;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(jobs[i].calls, 1);
        assert_int_equal(jobs[i].code, 0);
        assert_int_equal(jobs[i].result, 0);
    }
    assert_int_equal(refused.calls, 0);
}

static void test_destroy_while_down(void **state)
{
    struct job jobs[3] = {0};

    db_destroy(fixture.db);
    fixture.db = db_create(fixture.loop, "mysql://root@127.0.0.1:1/hanabi", &(struct db_options){0});
    for (int i = 0; i < 3; i++) {
        jobs[i].body = count_body;
        assert_int_equal(db_submit(fixture.db, run, done, &jobs[i]), 0);
    }
    db_destroy(fixture.db);
    fixture.db = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jobs[i].calls, 1);
        assert_int_equal(jobs[i].code, DB_DOWN);
    }
}

static void test_urls(void **state)
{
    static const char *const good[] = {"mysql://u@h/d", "mysql://u:p%40w@h:1/d", "mysql://u:@[::1]:3306/d",
                                       "mysql://u@localhost/d?socket=/run/m.sock", "mysql://u@a,b:1,[::1]:2,d:3/d"};
    static const char *const bad[] = {"",
                                      "mysql://",
                                      "mysql://h/d",
                                      "mysql://@h/d",
                                      "mysql://u@h",
                                      "mysql://u@h/",
                                      "mysql://u@h:x/d",
                                      "mysql://u@h:0/d",
                                      "mysql://u@h/d?x=1",
                                      "mysql://u@h/d?socket=rel",
                                      "mysql://u@h/d?ca=rel",
                                      "mysql://u@h/d?ca=/no/such/ca.pem",
                                      "mysql://u@h/d?ca=/a&x=1",
                                      "mysql://u@h,/d",
                                      "mysql://u@a,b,c,d,e/d",
                                      "mysql://u:%zz@h/d",
                                      "postgres://u@h/d"};
    char error[200];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (db_check_url(good[i], error, sizeof(error)) != 0)
            fail_msg("%s: %s", good[i], error);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error[0] = '\0';
        if (db_check_url(bad[i], error, sizeof(error)) == 0 || !error[0])
            fail_msg("taken: %s", bad[i]);
    }
}

static int start_server(void **state)
{
    fixture.server = real_mariadb_start();
    return 0;
}

static int stop_server(void **state)
{
    real_server_destroy(fixture.server);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_types),
        TEST(test_errors),
        TEST(test_transactions),
        TEST(test_deadlock_is_a_conflict),
        TEST(test_jobs_run_side_by_side),
        TEST(test_statement_cache_is_bounded),
        TEST(test_deadline),
        TEST(test_stopped_server),
        TEST(test_killed_in_the_middle_and_back),
        TEST(test_killed_connection_is_replaced),
        TEST(test_full_queue_and_destroy),
        TEST(test_destroy_while_down),
        cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
