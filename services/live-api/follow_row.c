#include "follow_row.h"

#include "libcommon/clock.h"
#include "libcommon/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNREAD_MAX 100

/* --- follows --- */

/* Of `sql`'s one row and column; 0 when there is none. */
static int query_int(struct db_connection *connection, const char *sql, const struct db_param *params, size_t count,
                     int64_t *value)
{
    struct db_result *result = NULL;
    int code = db_query(connection, sql, params, count, 1, &result);

    *value = code == 0 && db_result_rows(result) == 1 ? db_result_int(result, 0, 0) : 0;
    db_result_free(result);
    return code;
}

static int require_user(struct db_connection *connection, const char *user_id)
{
    int64_t found = 0;
    int code = query_int(connection, "SELECT 1 FROM users WHERE id = ?", DB_PARAMS(db_str(user_id)), &found);

    return code == 0 && !found ? FOLLOW_NO_SUCH_USER : code;
}

static int insert_follow(struct db_connection *connection, const char *follower_id, const char *user_id, int64_t now_ms)
{
    int64_t count = 0;
    int code = query_int(connection, "SELECT COUNT(*) FROM follows WHERE follower_id = ?",
                         DB_PARAMS(db_str(follower_id)), &count);

    if (code == 0)
        code = db_exec(connection, "INSERT IGNORE INTO follows (follower_id, user_id, followed_at_ms) VALUES (?, ?, ?)",
                       DB_PARAMS(db_str(follower_id), db_str(user_id), db_int(now_ms)));
    if (code != 0 || db_affected_rows(connection) == 0)
        return code;
    if (count >= FOLLOWS_MAX)
        return FOLLOW_TOO_MANY;
    /* Last, since this row is the one that all followers of a user share. */
    return db_exec(connection,
                   "INSERT INTO follow_counts (user_id, followers) VALUES (?, 1) ON DUPLICATE KEY UPDATE followers = "
                   "followers + 1",
                   DB_PARAMS(db_str(user_id)));
}

static int delete_follow(struct db_connection *connection, const char *follower_id, const char *user_id)
{
    int code = db_exec(connection, "DELETE FROM follows WHERE follower_id = ? AND user_id = ?",
                       DB_PARAMS(db_str(follower_id), db_str(user_id)));

    if (code != 0 || db_affected_rows(connection) == 0)
        return code;
    return db_exec(connection, "UPDATE follow_counts SET followers = followers - 1 WHERE user_id = ?",
                   DB_PARAMS(db_str(user_id)));
}

static int finish(struct db_connection *connection, int code)
{
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

int follow_row_insert(struct db_connection *connection, const char *follower_id, const char *user_id, int64_t now_ms)
{
    int code = require_user(connection, user_id);

    if (code == 0)
        code = db_begin(connection);
    return code == 0 ? finish(connection, insert_follow(connection, follower_id, user_id, now_ms)) : code;
}

int follow_row_delete(struct db_connection *connection, const char *follower_id, const char *user_id)
{
    int code = require_user(connection, user_id);

    if (code == 0)
        code = db_begin(connection);
    return code == 0 ? finish(connection, delete_follow(connection, follower_id, user_id)) : code;
}

static void take_follow(const struct db_result *result, size_t row, struct follow_view *view)
{
    snprintf(view->user_id, sizeof(view->user_id), "%s", db_result_value(result, row, 0));
    snprintf(view->name, sizeof(view->name), "%s", db_result_value(result, row, 1));
    view->followed_at_ms = db_result_int(result, row, 2);
    view->followers = db_result_int(result, row, 3);
}

int follow_row_load(struct db_connection *connection, const char *follower_id, const char *user_id,
                    struct follow_view *view)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT u.id, u.name, f.followed_at_ms, c.followers FROM users u"
                        " LEFT JOIN follows f ON f.follower_id = ? AND f.user_id = u.id"
                        " LEFT JOIN follow_counts c ON c.user_id = u.id WHERE u.id = ?",
                        DB_PARAMS(db_str(follower_id), db_str(user_id)), 1, &result);

    if (code == 0 && db_result_rows(result) == 0)
        code = FOLLOW_NO_SUCH_USER;
    else if (code == 0)
        take_follow(result, 0, view);
    db_result_free(result);
    return code;
}

int follow_row_list(struct db_connection *connection, const char *follower_id, int64_t before_ms, const char *before_id,
                    size_t limit, struct follow_view *views, size_t *count)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 "SELECT u.id, u.name, f.followed_at_ms, COALESCE(c.followers, 0) FROM follows f"
                 " JOIN users u ON u.id = f.user_id LEFT JOIN follow_counts c ON c.user_id = f.user_id"
                 " WHERE f.follower_id = ? AND (f.followed_at_ms < ? OR (f.followed_at_ms = ? AND f.user_id < ?))"
                 " ORDER BY f.followed_at_ms DESC, f.user_id DESC LIMIT ?",
                 DB_PARAMS(db_str(follower_id), db_int(before_ms), db_int(before_ms), db_str(before_id),
                           db_int((int64_t)limit + 1)),
                 limit + 1, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++)
        take_follow(result, row, &views[row]);
    db_result_free(result);
    return code;
}

static void mark(const char *const *ids, size_t count, const char *id, bool *follows)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(ids[i], id) == 0)
            follows[i] = true; /* the same user may be there several times */
}

int follow_row_which(struct db_connection *connection, const char *user_id, int64_t at_ms, const char *const *ids,
                     size_t count, bool *follows)
{
    /* Always the same number of marks, so that it is one prepared statement. */
    static const char head[] =
        "SELECT follower_id FROM follows WHERE user_id = ? AND followed_at_ms <= ? AND follower_id IN (?";
    struct db_param params[FOLLOW_WHICH_MAX + 2] = {db_str(user_id), db_int(at_ms)};
    char sql[sizeof(head) + 3 * FOLLOW_WHICH_MAX + 2];
    struct db_result *result = NULL;
    size_t len = sizeof(head) - 1;

    memcpy(sql, head, len);
    for (size_t i = 1; i < FOLLOW_WHICH_MAX; i++, len += 3)
        memcpy(sql + len, ", ?", 3);
    memcpy(sql + len, ")", 2);
    for (size_t i = 0; i < FOLLOW_WHICH_MAX; i++)
        params[i + 2] = db_str(i < count ? ids[i] : "");
    memset(follows, 0, count * sizeof(*follows));
    int code = db_query(connection, sql, params, FOLLOW_WHICH_MAX + 2, FOLLOW_WHICH_MAX, &result);
    for (size_t row = 0; code == 0 && row < db_result_rows(result); row++)
        mark(ids, count, db_result_value(result, row, 0), follows);
    db_result_free(result);
    return code;
}

/* --- notices --- */

int notice_row_insert(struct db_connection *connection, const char *broadcast_id, const char *owner_id, int64_t now_ms)
{
    /* The counter's row is locked until the commit, so sequences become visible in their order. */
    int code = db_exec(connection, "UPDATE notice_sequence SET sequence = sequence + 1 WHERE id = 1", NULL, 0);

    if (code != 0)
        return code;
    return db_exec(connection,
                   "INSERT INTO start_notices (sequence, broadcast_id, owner_id, at_ms)"
                   " SELECT sequence, ?, ?, ? FROM notice_sequence WHERE id = 1",
                   DB_PARAMS(db_str(broadcast_id), db_str(owner_id), db_int(now_ms)));
}

static void take_notice(const struct db_result *result, size_t row, struct notice_view *view)
{
    view->sequence = db_result_int(result, row, 0);
    snprintf(view->broadcast_id, sizeof(view->broadcast_id), "%s", db_result_value(result, row, 1));
    snprintf(view->title, sizeof(view->title), "%s", db_result_value(result, row, 2));
    view->state = broadcast_state_from_name(db_result_value(result, row, 3));
    snprintf(view->owner_id, sizeof(view->owner_id), "%s", db_result_value(result, row, 4));
    snprintf(view->owner_name, sizeof(view->owner_name), "%s", db_result_value(result, row, 5));
    view->at_ms = db_result_int(result, row, 6);
    view->is_unread = db_result_int(result, row, 7) != 0;
}

#define READ_UP_TO "COALESCE((SELECT r.sequence FROM notice_reads r WHERE r.user_id = f.follower_id), 0)"
#define NOTICES_OF                                                                                                     \
    " FROM follows f JOIN start_notices n ON n.owner_id = f.user_id"                                                   \
    " AND n.at_ms >= f.followed_at_ms AND n.at_ms > ?"

int notice_row_list(struct db_connection *connection, const char *follower_id, const struct notice_query *query,
                    struct notice_view *views, size_t *count)
{
    struct db_result *result = NULL;
    int code = db_query(
        connection,
        "SELECT n.sequence, b.id, b.title, b.state, u.id, u.name, n.at_ms, n.sequence > " READ_UP_TO NOTICES_OF
        " JOIN broadcasts b ON b.id = n.broadcast_id JOIN users u ON u.id = n.owner_id"
        " WHERE f.follower_id = ? AND n.sequence > ? AND n.sequence < ? AND (? = 0 OR n.sequence > " READ_UP_TO ")"
        " ORDER BY n.sequence DESC LIMIT ?",
        DB_PARAMS(db_int(clock_wall_ms() - NOTICE_AGE_MS), db_str(follower_id), db_int(query->since),
                  db_int(query->before > 0 ? query->before : INT64_MAX), db_int(query->only_unread),
                  db_int((int64_t)query->limit + 1)),
        query->limit + 1, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t row = 0; row < *count; row++)
        take_notice(result, row, &views[row]);
    db_result_free(result);
    return code;
}

int notice_row_load(struct db_connection *connection, const char *broadcast_id, struct notice_view *view)
{
    struct db_result *result = NULL;
    int code = db_query(
        connection,
        "SELECT n.sequence, b.id, b.title, b.state, u.id, u.name, n.at_ms, 1 FROM start_notices n"
        " JOIN broadcasts b ON b.id = n.broadcast_id JOIN users u ON u.id = n.owner_id WHERE n.broadcast_id = ?",
        DB_PARAMS(db_str(broadcast_id)), 1, &result);

    if (code == 0 && db_result_rows(result) == 0)
        code = DB_FAILED;
    else if (code == 0)
        take_notice(result, 0, view);
    db_result_free(result);
    return code;
}

int notice_row_counts(struct db_connection *connection, const char *follower_id, int64_t *unread, int64_t *latest)
{
    /* The sequence first: what is committed between the two is counted, and asked for again, rather than missed. */
    int code = query_int(connection, "SELECT COALESCE(MAX(sequence), 0) FROM start_notices", NULL, 0, latest);

    if (code != 0)
        return code;
    return query_int(connection,
                     "SELECT COUNT(*) FROM (SELECT n.sequence" NOTICES_OF
                     " WHERE f.follower_id = ? AND n.sequence > " READ_UP_TO " LIMIT ?) unread",
                     DB_PARAMS(db_int(clock_wall_ms() - NOTICE_AGE_MS), db_str(follower_id), db_int(UNREAD_MAX)),
                     unread);
}

int notice_row_mark_read(struct db_connection *connection, const char *follower_id, int64_t sequence)
{
    return db_exec(connection,
                   "INSERT INTO notice_reads (user_id, sequence)"
                   " SELECT ?, LEAST(?, sequence) FROM notice_sequence WHERE id = 1"
                   " ON DUPLICATE KEY UPDATE notice_reads.sequence = GREATEST(notice_reads.sequence, VALUES(sequence))",
                   DB_PARAMS(db_str(follower_id), db_int(sequence)));
}
