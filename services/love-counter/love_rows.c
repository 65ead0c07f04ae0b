/* The tables of 0005_loves.sql. Values are absolute and only rise, so writing them twice, or an old one after a new
 * one, changes nothing. */
#include "love_counter.h"

#include "libcommon/db.h"

#include <stdio.h>

static int write_ticks(struct db_connection *connection, const char *broadcast, const struct love_tick *ticks,
                       size_t count)
{
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++)
        code = db_exec(connection,
                       "INSERT INTO love_ticks (broadcast_id, at_ms, total) VALUES (?, ?, ?)"
                       " ON DUPLICATE KEY UPDATE total = GREATEST(total, VALUES(total))",
                       DB_PARAMS(db_str(broadcast), db_int(ticks[i].at_ms), db_int(ticks[i].total)));
    return code;
}

/* Up to here the ticks are complete: what archive exports ends there. */
static int mark_ready(struct db_connection *connection, const char *broadcast, int64_t last_ms)
{
    return db_exec(connection,
                   "INSERT INTO export_cursors (source, broadcast_id, ready_ms) VALUES ('loves', ?, ?)"
                   " ON DUPLICATE KEY UPDATE ready_ms = GREATEST(ready_ms, VALUES(ready_ms))",
                   DB_PARAMS(db_str(broadcast), db_int(last_ms)));
}

static int write_users(struct db_connection *connection, const char *broadcast, const struct love_user *users,
                       size_t count)
{
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++)
        code = db_exec(connection,
                       "INSERT INTO love_users (broadcast_id, user_id, user_name, taps) VALUES (?, ?, ?, ?)"
                       " ON DUPLICATE KEY UPDATE taps = GREATEST(taps, VALUES(taps)), user_name = VALUES(user_name)",
                       DB_PARAMS(db_str(broadcast), db_str(users[i].id), db_str(users[i].name), db_int(users[i].taps)));
    return code;
}

int love_rows_write(struct db_connection *connection, const char *broadcast, int64_t total,
                    const struct love_tick *ticks, size_t tick_count, const struct love_user *users, size_t user_count,
                    bool settle, int64_t now_ms)
{
    int code = db_begin(connection);

    if (code == 0)
        code = db_exec(connection,
                       "INSERT INTO loves (broadcast_id, total) VALUES (?, ?)"
                       " ON DUPLICATE KEY UPDATE total = GREATEST(total, VALUES(total))",
                       DB_PARAMS(db_str(broadcast), db_int(total)));
    if (code == 0)
        code = write_ticks(connection, broadcast, ticks, tick_count);
    if (code == 0 && tick_count > 0)
        code = mark_ready(connection, broadcast, ticks[tick_count - 1].at_ms);
    if (code == 0)
        code = write_users(connection, broadcast, users, user_count);
    if (code == 0 && settle)
        code = db_exec(connection, "UPDATE loves SET settled_at_ms = COALESCE(settled_at_ms, ?) WHERE broadcast_id = ?",
                       DB_PARAMS(db_int(now_ms), db_str(broadcast)));
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

int love_rows_unsettled(struct db_connection *connection, const char *after, char (*ids)[ID_SIZE], size_t max,
                        size_t *count)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT l.broadcast_id FROM loves l JOIN broadcasts b ON b.id = l.broadcast_id"
                        " WHERE l.broadcast_id > ? AND l.settled_at_ms IS NULL AND b.state IN ('live', 'suspended')"
                        " ORDER BY l.broadcast_id LIMIT ?",
                        DB_PARAMS(db_str(after), db_int((int64_t)max)), max, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++)
        snprintf(ids[row], ID_SIZE, "%s", db_result_value(result, row, 0));
    db_result_free(result);
    return code;
}

int love_rows_read(struct db_connection *connection, const char *broadcast, const char *behind, int64_t *total,
                   struct love_user *users, size_t max, size_t *count)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT total FROM loves WHERE broadcast_id = ?", DB_PARAMS(db_str(broadcast)), 1,
                        &result);

    *total = code == 0 && db_result_rows(result) == 1 ? db_result_int(result, 0, 0) : 0;
    *count = 0;
    db_result_free(result);
    if (code != 0)
        return code;
    result = NULL;
    code = db_query(connection,
                    "SELECT user_id, user_name, taps FROM love_users WHERE broadcast_id = ? AND user_id > ?"
                    " ORDER BY user_id LIMIT ?",
                    DB_PARAMS(db_str(broadcast), db_str(behind), db_int((int64_t)max)), max, &result);
    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++) {
        snprintf(users[row].id, sizeof(users[row].id), "%s", db_result_value(result, row, 0));
        snprintf(users[row].name, sizeof(users[row].name), "%s", db_result_value(result, row, 1));
        users[row].taps = db_result_int(result, row, 2);
    }
    db_result_free(result);
    return code;
}
