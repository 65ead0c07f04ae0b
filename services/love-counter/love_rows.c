/* The tables of 0005_loves.sql. Values are absolute and only rise, so writing them twice, or an old one after a new
 * one, changes nothing. */
#include "love_counter.h"

#include "libcommon/db.h"

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
