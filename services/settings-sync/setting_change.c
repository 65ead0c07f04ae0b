/* One change of one setting: the row and the next version in one transaction, then the message.
 *
 * The counter's row is locked until the commit, so versions are committed in their order, and a reader who has seen
 * version n has everything up to n or can tell that it has not. The message may be lost (this process may die right
 * here): chat notices the gap at the next message, or when it reconnects, and reads from MySQL. */
#include "settings_sync.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/rate_table.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    struct settings_sync *sync;
    struct http_request *request;
    struct setting_change change;
    int64_t at_ms;
    int64_t version;
    int code;
};

static void job_free(struct job *job)
{
    free(job->change.value);
    free(job);
}

/* --- on a database worker --- */

static int check_count(struct db_connection *connection, const struct setting_change *change)
{
    const struct db_param kind = db_str(change->kind->name), subject = db_str(change->subject);
    struct db_result *result = NULL;
    int code = db_query(
        connection,
        "SELECT COUNT(*) FROM (SELECT 1 FROM settings WHERE kind = ? AND subject = ? LIMIT ?) s"
        " WHERE NOT EXISTS (SELECT 1 FROM settings WHERE kind = ? AND subject = ? AND object = ?)",
        DB_PARAMS(kind, subject, db_int(SETTINGS_MAX_PER_SUBJECT), kind, subject, db_str(change->object)), 1, &result);

    if (code == 0 && db_result_int(result, 0, 0) >= SETTINGS_MAX_PER_SUBJECT)
        code = SETTING_TOO_MANY;
    db_result_free(result);
    return code;
}

static int write_row(struct db_connection *connection, struct job *job)
{
    const struct setting_change *change = &job->change;
    struct db_result *result = NULL;
    int code = db_exec(connection, "UPDATE settings_version SET version = version + 1 WHERE id = 1", NULL, 0);

    if (code == 0)
        code = db_query(connection, "SELECT version FROM settings_version WHERE id = 1", NULL, 0, 1, &result);
    if (code != 0)
        return code;
    job->version = db_result_rows(result) == 1 ? db_result_int(result, 0, 0) : 0;
    db_result_free(result);
    if (job->version <= 0)
        return DB_FAILED;
    return db_exec(
        connection,
        "INSERT INTO settings (kind, subject, object, value, version, updated_by, updated_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value), version = VALUES(version),"
        " updated_by = VALUES(updated_by), updated_at_ms = VALUES(updated_at_ms)",
        DB_PARAMS(db_str(change->kind->name), db_str(change->subject), db_str(change->object), db_str(change->value),
                  db_int(job->version), db_str(change->caller), db_int(job->at_ms)));
}

static void run(struct db_connection *connection, void *context)
{
    struct job *job = context;

    job->code = db_begin(connection);
    if (job->code == 0 && job->change.allowed)
        job->code = job->change.allowed(connection, &job->change);
    if (job->code == 0 && job->change.subject[0]) /* notices have none, and are the operators' */
        job->code = check_count(connection, &job->change);
    if (job->code == 0)
        job->code = write_row(connection, job);
    if (job->code == 0)
        job->code = db_commit(connection);
    if (job->code != 0)
        db_rollback(connection);
}

int allowed_to_owner_of_broadcast(struct db_connection *connection, const struct setting_change *change)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT owner_id FROM broadcasts WHERE id = ?", DB_PARAMS(db_str(change->subject)),
                        1, &result);

    if (code == 0 && db_result_rows(result) == 0)
        code = SETTING_NO_SUCH;
    else if (code == 0 && !change->is_operator && strcmp(db_result_value(result, 0, 0), change->caller) != 0)
        code = SETTING_FORBIDDEN;
    db_result_free(result);
    return code;
}

/* --- back on the loop --- */

static void answer_error(struct job *job, int code)
{
    struct http_request *request = job->request;

    switch (code) {
    case SETTING_FORBIDDEN:
        http_reply_error(request, 403, "not_the_owner", "only the owner of the broadcast may do this");
        break;
    case SETTING_NO_SUCH:
        http_reply_error(request, 404, "no_such_broadcast", "there is no broadcast with this id");
        break;
    case SETTING_TOO_MANY:
        http_reply_error(request, 409, "too_many_settings", "there are 10,000 of this kind already");
        break;
    default:
        http_reply_header(request, "Retry-After", "2");
        http_reply_error(request, 503, "database_unavailable", "the setting was not saved: try again");
    }
}

static void on_written(int code, const struct redisReply *reply, void *context)
{
    struct job *job = context;

    http_reply_json(job->request, job->change.success_status, json_pack("{s:I}", "version", (json_int_t)job->version));
    job_free(job);
}

static void on_published(int code, const struct redisReply *reply, void *context)
{
    struct job *job = context;

    /* The row stands. Without the message chat learns of it at the next one, or when it has Redis back. */
    if (code != 0)
        log_warn("setting.publish_failed", log_int("version", job->version), log_str("why", redis_link_strerror(code)));
    /* Redis may answer us before it writes to its subscribers; it has written to all of them before it reads again. */
    redis_link_command(job->sync->redis, on_written, job, 1, (const char *[]){"PING"}, NULL);
}

static void publish(struct job *job)
{
    struct setting_event event = {.version = job->version, .kind = job->change.kind, .at_ms = job->at_ms};

    strcpy(event.subject, job->change.subject);
    strcpy(event.object, job->change.object);
    strcpy(event.request_id, request_scope_id());
    event.value = job->change.value ? json_loads(job->change.value, 0, NULL) : NULL;
    char *message = setting_event_encode(&event);
    setting_event_clear(&event);
    if (!message)
        abort();
    redis_link_command(job->sync->redis, on_published, job, 3, (const char *[]){"PUBLISH", CHANNEL_SETTING, message},
                       NULL);
    free(message);
}

static void done(int code, void *context)
{
    struct job *job = context;

    code = code != 0 ? code : job->code;
    if (code == 0) {
        log_info("setting.changed", log_str("kind", job->change.kind->name), log_str("subject", job->change.subject),
                 log_str("object", job->change.object), log_int("version", job->version),
                 log_str("by", job->change.caller), log_bool("deleted", job->change.value == NULL));
        publish(job);
        return;
    }
    if (code != SETTING_FORBIDDEN && code != SETTING_NO_SUCH && code != SETTING_TOO_MANY) {
        static struct log_limiter limiter = LOG_LIMITER(1000);

        log_limited(&limiter, LOG_LEVEL_WARN, "setting.not_saved", log_str("why", db_strerror(code)));
    }
    answer_error(job, code);
    job_free(job);
}

/* Each change is a transaction that locks the version, and work for every chat process. False: 429 has been answered.
 */
static bool require_rate(struct settings_sync *sync, struct http_request *request, const char *caller)
{
    static struct log_limiter limiter = LOG_LIMITER(1000);
    int64_t retry_after_ms;
    char seconds[24];
    bool is_allowed = rate_table_take(sync->rates, caller, clock_monotonic_ms(), &retry_after_ms);

    metric_set(sync->rates_forgotten, (double)rate_table_forgotten(sync->rates));
    if (is_allowed)
        return true;
    metric_add(sync->limited, 1);
    log_limited(&limiter, LOG_LEVEL_INFO, "setting.rate_limited", log_str("by", caller));
    snprintf(seconds, sizeof(seconds), "%lld", (long long)(retry_after_ms + 999) / 1000);
    http_reply_header(request, "Retry-After", seconds);
    http_reply_error(request, 429, "rate_limited", "too many changes of settings: try again after Retry-After");
    return false;
}

void setting_change_submit(struct settings_sync *sync, struct http_request *request, struct setting_change *change)
{
    if (!require_rate(sync, request, change->caller)) {
        free(change->value);
        return;
    }
    struct job *job = alloc_zero(1, sizeof(*job));
    job->sync = sync;
    job->request = request;
    job->change = *change;
    job->at_ms = clock_wall_ms();
    if (db_submit(sync->db, run, done, job) == 0)
        return;
    answer_error(job, DB_FULL);
    job_free(job);
}
