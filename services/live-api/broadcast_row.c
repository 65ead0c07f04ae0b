#include "broadcast_row.h"

#include "libcommon/db.h"
#include "search.h"

#include <stdio.h>
#include <string.h>

#define WEEK_MS INT64_C(604800000)

int user_row_insert(struct db_connection *connection, const char *id, const char *name, const char *role,
                    int64_t now_ms)
{
    return db_exec(connection,
                   "INSERT INTO users (id, name, role, created_at_ms) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE name "
                   "= VALUES(name)",
                   DB_PARAMS(db_str(id), db_str(name), db_str(role), db_int(now_ms)));
}

/* Each that waits for its first picture has its keys in Redis and its place in every burst-status, for a week. */
static int check_waiting(struct db_connection *connection, const struct broadcast_view *view)
{
    struct db_result *result = NULL;
    int code = db_query(
        connection,
        "SELECT COUNT(*) FROM (SELECT 1 FROM broadcasts WHERE owner_id = ? AND created_at_ms > ?"
        " AND state = 'scheduled' LIMIT ?) w",
        DB_PARAMS(db_str(view->owner_id), db_int(view->created_at_ms - WEEK_MS), db_int(BROADCASTS_WAITING_MAX)), 1,
        &result);

    if (code == 0 && db_result_int(result, 0, 0) >= BROADCASTS_WAITING_MAX)
        code = BROADCAST_TOO_MANY;
    db_result_free(result);
    return code;
}

int broadcast_row_insert(struct db_connection *connection, const struct broadcast_view *view, const char *key_hash,
                         int64_t grace_ms)
{
    int code = db_begin(connection);

    if (code == 0)
        code = check_waiting(connection, view);
    if (code == 0)
        code = db_exec(connection, "INSERT IGNORE INTO users (id, name, created_at_ms) VALUES (?, ?, ?)",
                       DB_PARAMS(db_str(view->owner_id), db_str(view->owner_name), db_int(view->created_at_ms)));
    if (code == 0)
        code = db_exec(
            connection,
            "INSERT INTO broadcasts (id, owner_id, title, version, stream_key_hash, stream_key_sealed, grace_ms,"
            " created_at_ms) VALUES (?, ?, ?, 0, ?, ?, ?, ?)",
            DB_PARAMS(db_str(view->id), db_str(view->owner_id), db_str(view->title), db_str(key_hash),
                      db_bytes(view->key_sealed, view->key_sealed_len), db_int(grace_ms), db_int(view->created_at_ms)));
    if (code == 0)
        code = search_index(connection, view->id, view->title, view->owner_name);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

void broadcast_row_take(const struct db_result *result, size_t row, struct broadcast_view *view)
{
    const char *sealed = db_result_value(result, row, 9);

    memset(view, 0, sizeof(*view));
    snprintf(view->id, sizeof(view->id), "%s", db_result_value(result, row, 0));
    snprintf(view->title, sizeof(view->title), "%s", db_result_value(result, row, 1));
    snprintf(view->owner_id, sizeof(view->owner_id), "%s", db_result_value(result, row, 2));
    snprintf(view->owner_name, sizeof(view->owner_name), "%s", db_result_value(result, row, 3));
    view->state = broadcast_state_from_name(db_result_value(result, row, 4));
    view->version = db_result_int(result, row, 5);
    view->created_at_ms = db_result_int(result, row, 6);
    view->live_at_ms = db_result_int(result, row, 7);
    view->ended_at_ms = db_result_int(result, row, 8);
    view->is_private = db_result_int(result, row, 10) != 0;
    if (sealed && db_result_len(result, row, 9) <= sizeof(view->key_sealed)) {
        view->key_sealed_len = db_result_len(result, row, 9);
        memcpy(view->key_sealed, sealed, view->key_sealed_len);
    }
}

int broadcast_row_load(struct db_connection *connection, const char *id, struct broadcast_view *view, bool *found)
{
    struct db_result *result = NULL;
    int code = db_query(
        connection, "SELECT " BROADCAST_COLUMNS " FROM broadcasts b JOIN users u ON u.id = b.owner_id WHERE b.id = ?",
        DB_PARAMS(db_str(id)), 1, &result);

    *found = code == 0 && db_result_rows(result) == 1;
    if (*found)
        broadcast_row_take(result, 0, view);
    db_result_free(result);
    return code;
}

int audience_row_load(struct db_connection *connection, const char *id, struct audience *audience)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT peak, unique_viewers FROM audiences WHERE broadcast_id = ?",
                        DB_PARAMS(db_str(id)), 1, &result);

    if (code == 0 && db_result_rows(result) == 1) {
        int64_t peak = db_result_int(result, 0, 0), unique = db_result_int(result, 0, 1);

        audience->is_known = true;
        audience->peak = peak > audience->peak ? peak : audience->peak;
        audience->unique = unique > audience->unique ? unique : audience->unique;
    }
    db_result_free(result);
    return code;
}

int broadcast_row_list(struct db_connection *connection, const struct broadcast_query *query,
                       struct broadcast_view *views, size_t *count)
{
    const char *state = query->state == BROADCAST_UNKNOWN ? NULL : broadcast_state_name(query->state);
    const char *owner = query->owner_id[0] ? query->owner_id : NULL;
    int64_t before_ms = query->page.before;
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 "SELECT " BROADCAST_COLUMNS " FROM broadcasts b JOIN users u ON u.id = b.owner_id"
                 " WHERE (? IS NULL OR b.state = ?) AND (? IS NULL OR b.owner_id = ?)"
                 " AND (b.created_at_ms < ? OR (b.created_at_ms = ? AND b.id < ?))"
                 " ORDER BY b.created_at_ms DESC, b.id DESC LIMIT ?",
                 DB_PARAMS(db_str(state), db_str(state), db_str(owner), db_str(owner), db_int(before_ms),
                           db_int(before_ms), db_str(query->page.before_key), db_int((int64_t)query->page.limit + 1)),
                 query->page.limit + 1, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++)
        broadcast_row_take(result, row, &views[row]);
    db_result_free(result);
    return code;
}

int broadcast_row_set_key(struct db_connection *connection, const char *id, const char *key_hash, const uint8_t *sealed,
                          size_t sealed_len)
{
    return db_exec(connection,
                   "UPDATE broadcasts SET stream_key_hash = ?, stream_key_sealed = ?,"
                   " stream_key_version = stream_key_version + 1 WHERE id = ? AND state NOT IN ('ended', 'archived')",
                   DB_PARAMS(db_str(key_hash), db_bytes(sealed, sealed_len), db_str(id)));
}

int broadcast_row_set_title(struct db_connection *connection, const char *id, const char *title, const char *owner_name)
{
    int code = db_begin(connection);

    if (code == 0)
        code =
            db_exec(connection, "UPDATE broadcasts SET title = ? WHERE id = ?", DB_PARAMS(db_str(title), db_str(id)));
    if (code == 0)
        code = search_index(connection, id, title, owner_name);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

static struct db_param time_param(int64_t time_ms)
{
    return time_ms > 0 ? db_int(time_ms) : db_str(NULL);
}

int broadcast_row_save_state(struct db_connection *connection, const struct broadcast_view *view)
{
    bool over = view->state == BROADCAST_ENDED || view->state == BROADCAST_ARCHIVED;

    return db_exec(connection,
                   "UPDATE broadcasts SET state = ?, version = ?, live_at_ms = COALESCE(?, live_at_ms),"
                   " ended_at_ms = COALESCE(?, ended_at_ms), stream_key_hash = IF(?, NULL, stream_key_hash),"
                   " stream_key_sealed = IF(?, NULL, stream_key_sealed) WHERE id = ? AND version < ?",
                   DB_PARAMS(db_str(broadcast_state_name(view->state)), db_int(view->version),
                             time_param(view->live_at_ms), time_param(view->ended_at_ms), db_int(over), db_int(over),
                             db_str(view->id), db_int(view->version)));
}

int broadcast_row_announce(struct db_connection *connection, const char *id, int64_t now_ms, bool *first)
{
    int code = db_exec(connection, "UPDATE broadcasts SET announced_at_ms = ? WHERE id = ? AND announced_at_ms IS NULL",
                       DB_PARAMS(db_int(now_ms), db_str(id)));

    *first = code == 0 && db_affected_rows(connection) == 1;
    return code;
}
