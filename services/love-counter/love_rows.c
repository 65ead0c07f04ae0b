/* The tables of 0005_loves.sql. Values are absolute and only rise, so writing them twice, or an old one after a new
 * one, changes nothing. What they rise by stands in love_taps (0012_love_taps.sql), written before they rise. */
#include "love_counter.h"

#include "libcommon/db.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Up to here the rows are complete: what archive exports ends there. */
static int mark_ready(struct db_connection *connection, const char *source, const char *broadcast, int64_t last_ms,
                      int64_t last_sequence)
{
    return db_exec(connection,
                   "INSERT INTO export_cursors (source, broadcast_id, ready_ms, ready_sequence) VALUES (?, ?, ?, ?)"
                   " ON DUPLICATE KEY UPDATE ready_sequence = IF(ready_ms > VALUES(ready_ms), ready_sequence,"
                   " VALUES(ready_sequence)), ready_ms = GREATEST(ready_ms, VALUES(ready_ms))",
                   DB_PARAMS(db_str(source), db_str(broadcast), db_int(last_ms), db_int(last_sequence)));
}

/* A portion goes to MariaDB as one value, [["<user>", "<name>", taps], …]: a statement for each user would be a
 * question and an answer for each. */
#define PORTION                                                                                                        \
    "JSON_TABLE(?, '$[*]' COLUMNS (sequence FOR ORDINALITY, user_id VARCHAR(64) PATH '$[0]', user_name TEXT"           \
    " PATH '$[1]', taps BIGINT PATH '$[2]'))"

static char *format_users(const struct love_user *users, size_t count)
{
    json_t *list = json_array();
    char *text;

    for (size_t i = 0; i < count; i++) {
        json_t *name = json_string(users[i].name);

        json_array_append_new(
            list, json_pack("[s,o,I]", users[i].id, name ? name : json_string(""), (json_int_t)users[i].taps));
    }
    text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (!text)
        abort();
    return text;
}

/* A moment behind every row that may have been exported, whatever the clock of whoever wrote it. */
static int find_moment(struct db_connection *connection, const char *broadcast, int64_t now_ms, int64_t *at_ms)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT ready_ms FROM export_cursors WHERE source = 'taps' AND broadcast_id = ?",
                        DB_PARAMS(db_str(broadcast)), 1, &result);
    int64_t last_ms = code == 0 && db_result_rows(result) == 1 ? db_result_int(result, 0, 0) : 0;

    *at_ms = now_ms > last_ms ? now_ms : last_ms + 1;
    db_result_free(result);
    return code;
}

/* The row of `loves` is locked by now, so nobody else raises these users' taps between the question and the end. */
static int write_taps(struct db_connection *connection, const char *broadcast, const char *portion, size_t count,
                      int64_t now_ms)
{
    int64_t at_ms = 0;
    int code = find_moment(connection, broadcast, now_ms, &at_ms);

    if (code == 0)
        code = db_exec(connection,
                       "INSERT INTO love_taps (broadcast_id, at_ms, sequence, user_id, taps)"
                       " SELECT ?, ?, it.sequence, it.user_id, it.taps - COALESCE(was.taps, 0) FROM " PORTION
                       " it LEFT JOIN love_users was ON was.broadcast_id = ? AND was.user_id = it.user_id"
                       " COLLATE utf8mb4_bin WHERE it.taps > COALESCE(was.taps, 0)",
                       DB_PARAMS(db_str(broadcast), db_int(at_ms), db_str(portion), db_str(broadcast)));
    if (code == 0 && db_affected_rows(connection) > 0)
        code = mark_ready(connection, "taps", broadcast, at_ms, (int64_t)count);
    return code;
}

static int write_users(struct db_connection *connection, const char *broadcast, const struct love_user *users,
                       size_t count, int64_t now_ms)
{
    char *portion = format_users(users, count);
    int code = write_taps(connection, broadcast, portion, count, now_ms);

    if (code == 0)
        code = db_exec(connection,
                       "INSERT INTO love_users (broadcast_id, user_id, user_name, taps) SELECT ?, it.user_id,"
                       " LEFT(it.user_name, 100), it.taps FROM " PORTION " it ON DUPLICATE KEY UPDATE"
                       " taps = GREATEST(love_users.taps, VALUES(taps)), user_name = VALUES(user_name)",
                       DB_PARAMS(db_str(broadcast), db_str(portion)));
    free(portion);
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
        code = mark_ready(connection, "loves", broadcast, ticks[tick_count - 1].at_ms, 0);
    if (code == 0 && user_count > 0)
        code = write_users(connection, broadcast, users, user_count, now_ms);
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
