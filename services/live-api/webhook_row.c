#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy(char *out, size_t size, const char *value)
{
    snprintf(out, size, "%s", value ? value : "");
}

static int finish(struct db_connection *connection, int code)
{
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

/* --- webhooks --- */

static int insert(struct db_connection *connection, const struct webhook *webhook)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT COUNT(*) FROM webhooks WHERE all_owners = ? AND (? OR owner_id = ?)",
                        DB_PARAMS(db_int(webhook->all_owners), db_int(webhook->all_owners), db_str(webhook->owner_id)),
                        1, &result);
    int64_t count = code == 0 ? db_result_int(result, 0, 0) : 0;

    db_result_free(result);
    if (code == 0 && count >= (webhook->all_owners ? WEBHOOKS_OF_ALL : WEBHOOKS_PER_OWNER))
        code = WEBHOOK_TOO_MANY;
    if (code != 0)
        return code;
    return db_exec(connection,
                   "INSERT INTO webhooks (id, owner_id, all_owners, url, secret_sealed, events, created_at_ms)"
                   " VALUES (?, ?, ?, ?, ?, ?, ?)",
                   DB_PARAMS(db_str(webhook->id), db_str(webhook->owner_id), db_int(webhook->all_owners),
                             db_str(webhook->url), db_bytes(webhook->secret_sealed, webhook->secret_sealed_len),
                             db_str(webhook->events), db_int(webhook->created_at_ms)));
}

int webhook_row_insert(struct db_connection *connection, const struct webhook *webhook)
{
    int code = db_begin(connection);

    return code == 0 ? finish(connection, insert(connection, webhook)) : code;
}

int webhook_row_delete(struct db_connection *connection, const char *id, const char *owner_id)
{
    /* Its deliveries go with it. */
    int code = db_exec(connection, "DELETE FROM webhooks WHERE id = ? AND owner_id = ?",
                       DB_PARAMS(db_str(id), db_str(owner_id)));

    return code == 0 && db_affected_rows(connection) == 0 ? WEBHOOK_NOT_FOUND : code;
}

int webhook_row_list(struct db_connection *connection, const char *owner_id, struct webhook *webhooks, size_t *count)
{
    struct db_result *result = NULL;
    size_t max = WEBHOOKS_PER_OWNER + WEBHOOKS_OF_ALL;
    int code = db_query(connection,
                        "SELECT w.id, w.url, w.all_owners, w.events, w.created_at_ms, w.failing_since_ms,"
                        " w.disabled_at_ms, w.dropped, (SELECT COUNT(*) FROM webhook_deliveries d"
                        " WHERE d.webhook_id = w.id AND d.state = 'pending') FROM webhooks w WHERE w.owner_id = ?"
                        " ORDER BY w.created_at_ms, w.id LIMIT ?",
                        DB_PARAMS(db_str(owner_id), db_int((int64_t)max)), max, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++) {
        struct webhook *webhook = &webhooks[row];

        copy(webhook->id, sizeof(webhook->id), db_result_value(result, row, 0));
        copy(webhook->url, sizeof(webhook->url), db_result_value(result, row, 1));
        webhook->all_owners = db_result_int(result, row, 2) != 0;
        copy(webhook->events, sizeof(webhook->events), db_result_value(result, row, 3));
        webhook->created_at_ms = db_result_int(result, row, 4);
        webhook->failing_since_ms = db_result_int(result, row, 5);
        webhook->disabled_at_ms = db_result_int(result, row, 6);
        webhook->dropped = db_result_int(result, row, 7);
        webhook->pending = db_result_int(result, row, 8);
    }
    db_result_free(result);
    return code;
}

/* --- deliveries --- */

int webhook_row_deliveries(struct db_connection *connection, const char *id, const char *owner_id, int64_t before,
                           size_t limit, struct webhook_delivery *deliveries, size_t *count)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT 1 FROM webhooks WHERE id = ? AND owner_id = ?",
                        DB_PARAMS(db_str(id), db_str(owner_id)), 1, &result);
    bool found = code == 0 && db_result_rows(result) == 1;

    *count = 0;
    db_result_free(result);
    if (!found)
        return code == 0 ? WEBHOOK_NOT_FOUND : code;
    code = db_query(connection,
                    "SELECT id, event, broadcast_id, state, attempts, status, next_at_ms, created_at_ms, done_at_ms,"
                    " error FROM webhook_deliveries WHERE webhook_id = ? AND id < ? ORDER BY id DESC LIMIT ?",
                    DB_PARAMS(db_str(id), db_int(before), db_int((int64_t)limit + 1)), limit + 1, &result);
    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++) {
        struct webhook_delivery *delivery = &deliveries[row];

        delivery->id = db_result_int(result, row, 0);
        copy(delivery->event, sizeof(delivery->event), db_result_value(result, row, 1));
        copy(delivery->broadcast_id, sizeof(delivery->broadcast_id), db_result_value(result, row, 2));
        copy(delivery->state, sizeof(delivery->state), db_result_value(result, row, 3));
        delivery->attempts = (int)db_result_int(result, row, 4);
        delivery->status = (int)db_result_int(result, row, 5);
        delivery->next_at_ms = db_result_int(result, row, 6);
        delivery->created_at_ms = db_result_int(result, row, 7);
        delivery->done_at_ms = db_result_int(result, row, 8);
        copy(delivery->error, sizeof(delivery->error), db_result_value(result, row, 9));
    }
    db_result_free(result);
    return code;
}

static char *event_body(const struct live_api *api, const char *event, const struct broadcast_view *view,
                        int64_t now_ms)
{
    char watch[WEBHOOK_URL_MAX + ID_SIZE];

    snprintf(watch, sizeof(watch), "%s/watch/%s", api->config.public_url, view->id);
    json_t *body =
        json_pack("{s:s,s:I,s:{s:s,s:s,s:s,s:{s:s,s:s},s:s}}", "event", event, "at_ms", (json_int_t)now_ms, "broadcast",
                  "id", view->id, "title", view->title, "state", broadcast_state_name(view->state), "owner", "id",
                  view->owner_id, "name", view->owner_name, "watch_url", watch);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    if (!text)
        abort();
    json_decref(body);
    return text;
}

/* Not FIND_IN_SET(): of a prepared statement it keeps the first question's answer. No event's name is part of
 * another's. */
#define WANT_IT                                                                                                        \
    " w.disabled_at_ms IS NULL AND w.events LIKE CONCAT('%', ?, '%') AND (w.all_owners = 1 OR w.owner_id = ?)"         \
    " AND (SELECT COUNT(*) FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.state = 'pending') "

int webhook_row_enqueue(struct db_connection *connection, const struct live_api *api, const char *event,
                        const struct broadcast_view *view, int64_t now_ms)
{
    char *body = event_body(api, event, view, now_ms);
    struct db_param queue = db_int(api->config.webhook_queue);
    int code = db_exec(connection, "UPDATE webhooks w SET w.dropped = w.dropped + 1 WHERE" WANT_IT ">= ?",
                       DB_PARAMS(db_str(event), db_str(view->owner_id), queue));

    if (code == 0)
        code = db_exec(connection,
                       "INSERT IGNORE INTO webhook_deliveries"
                       " (webhook_id, event, broadcast_id, body, next_at_ms, created_at_ms)"
                       " SELECT w.id, ?, ?, ?, ?, ? FROM webhooks w WHERE" WANT_IT "< ?",
                       DB_PARAMS(db_str(event), db_str(view->id), db_str(body), db_int(now_ms), db_int(now_ms),
                                 db_str(event), db_str(view->owner_id), queue));
    free(body);
    return code;
}

/* --- sending --- */

static void fill_task(const struct db_result *result, size_t row, struct webhook_task *task)
{
    size_t len = db_result_len(result, row, 2);

    copy(task->webhook.id, sizeof(task->webhook.id), db_result_value(result, row, 0));
    copy(task->webhook.url, sizeof(task->webhook.url), db_result_value(result, row, 1));
    task->webhook.secret_sealed_len = len < SECRET_SEALED_MAX ? len : SECRET_SEALED_MAX;
    memcpy(task->webhook.secret_sealed, db_result_value(result, row, 2), task->webhook.secret_sealed_len);
    task->delivery.id = db_result_int(result, row, 3);
    copy(task->delivery.event, sizeof(task->delivery.event), db_result_value(result, row, 4));
    task->body = alloc_string(db_result_value(result, row, 5));
    task->delivery.attempts = (int)db_result_int(result, row, 6) + 1;
}

/* Others may take the same at the same time: the webhook is theirs who moves its time on first, and the delivery is
 * still to be sent if nobody has begun an attempt since it was read. */
static int claim(struct db_connection *connection, const struct webhook_task *task, int64_t now_ms, int64_t lease_ms,
                 bool *ours)
{
    int code = db_exec(connection, "UPDATE webhooks SET busy_until_ms = ? WHERE id = ? AND busy_until_ms <= ?",
                       DB_PARAMS(db_int(now_ms + lease_ms), db_str(task->webhook.id), db_int(now_ms)));

    *ours = code == 0 && db_affected_rows(connection) == 1;
    if (!*ours)
        return code;
    code = db_exec(
        connection, "UPDATE webhook_deliveries SET attempts = ? WHERE id = ? AND state = 'pending' AND attempts = ?",
        DB_PARAMS(db_int(task->delivery.attempts), db_int(task->delivery.id), db_int(task->delivery.attempts - 1)));
    *ours = code == 0 && db_affected_rows(connection) == 1;
    if (code == 0 && !*ours)
        code = db_exec(connection, "UPDATE webhooks SET busy_until_ms = 0 WHERE id = ?",
                       DB_PARAMS(db_str(task->webhook.id)));
    return code;
}

int webhook_row_take(struct db_connection *connection, int64_t now_ms, int64_t lease_ms, struct webhook_task *tasks,
                     size_t max, size_t *count)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT w.id, w.url, w.secret_sealed, d.id, d.event, d.body, d.attempts FROM"
                        " (SELECT p.webhook_id, MIN(p.id) AS id FROM webhook_deliveries p JOIN webhooks f"
                        " ON f.id = p.webhook_id AND f.busy_until_ms <= ? AND f.disabled_at_ms IS NULL"
                        " WHERE p.state = 'pending' AND p.next_at_ms <= ? GROUP BY p.webhook_id LIMIT ?) due"
                        " JOIN webhook_deliveries d ON d.id = due.id JOIN webhooks w ON w.id = due.webhook_id",
                        DB_PARAMS(db_int(now_ms), db_int(now_ms), db_int((int64_t)max)), max, &result);

    *count = 0;
    for (size_t row = 0; code == 0 && row < db_result_rows(result); row++) {
        bool ours = false;

        fill_task(result, row, &tasks[*count]);
        code = claim(connection, &tasks[*count], now_ms, lease_ms, &ours);
        if (ours)
            ++*count;
        else
            free(tasks[*count].body);
    }
    db_result_free(result);
    return code;
}

static int settle(struct db_connection *connection, const struct webhook_task *task,
                  const struct webhook_outcome *outcome, int64_t now_ms, int64_t retry_ms, int64_t disable_ms)
{
    bool over = outcome->ok || retry_ms < 0;
    const char *state = outcome->ok ? "delivered" : over ? "failed" : "pending";
    char error[201];

    copy(error, sizeof(error), outcome->why);
    int code = db_exec(connection,
                       "UPDATE webhook_deliveries SET state = ?, next_at_ms = ?, done_at_ms = ?, status = ?, error = ?"
                       " WHERE id = ? AND attempts = ?",
                       DB_PARAMS(db_str(state), db_int(over ? now_ms : now_ms + retry_ms),
                                 over ? db_int(now_ms) : db_str(NULL), db_int(outcome->status),
                                 db_str(outcome->ok ? NULL : error), db_int(task->delivery.id),
                                 db_int(task->delivery.attempts)));

    if (code != 0 || db_affected_rows(connection) == 0)
        return code; /* somebody else has gone on with it */
    if (outcome->ok)
        return db_exec(connection, "UPDATE webhooks SET busy_until_ms = 0, failing_since_ms = NULL WHERE id = ?",
                       DB_PARAMS(db_str(task->webhook.id)));
    code = db_exec(connection,
                   "UPDATE webhooks SET busy_until_ms = 0, failing_since_ms = COALESCE(failing_since_ms, ?),"
                   " disabled_at_ms = IF(failing_since_ms <= ?, ?, NULL) WHERE id = ? AND disabled_at_ms IS NULL",
                   DB_PARAMS(db_int(now_ms), db_int(now_ms - disable_ms), db_int(now_ms), db_str(task->webhook.id)));
    if (code == 0)
        code = db_exec(connection,
                       "UPDATE webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id SET d.state = 'failed',"
                       " d.done_at_ms = ?, d.error = 'the webhook was disabled' WHERE w.id = ? AND w.disabled_at_ms IS"
                       " NOT NULL AND d.state = 'pending'",
                       DB_PARAMS(db_int(now_ms), db_str(task->webhook.id)));
    return code;
}

int webhook_row_settle(struct db_connection *connection, const struct webhook_task *task,
                       const struct webhook_outcome *outcome, int64_t now_ms, int64_t retry_ms, int64_t disable_ms)
{
    int code = db_begin(connection);

    return code == 0 ? finish(connection, settle(connection, task, outcome, now_ms, retry_ms, disable_ms)) : code;
}

int webhook_row_prune(struct db_connection *connection, int64_t now_ms)
{
    return db_exec(
        connection,
        "DELETE FROM webhook_deliveries WHERE state IN ('delivered', 'failed') AND next_at_ms < ? LIMIT 1000",
        DB_PARAMS(db_int(now_ms - WEBHOOK_DELIVERY_AGE_MS)));
}
