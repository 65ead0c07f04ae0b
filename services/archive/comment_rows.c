/* Log entries as rows of `comments`: parsed on the loop, written on a database worker. */
#include "archive.h"

#include "libcommon/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS   9
#define ROWS_MANY 50 /* two statements only, so that both stay prepared */

int comment_row_parse(const char *id, const char *room, const char *e, size_t e_len, struct comment_row *row)
{
    size_t len;
    char *end;

    memset(row, 0, sizeof(*row));
    row->event = chat_event_compose(id, e, e_len, &len);
    row->json = row->event ? json_loadb(row->event, len, 0, NULL) : NULL;
    const char *type = json_string_value(json_object_get(row->json, "type"));
    if (!type || strlen(type) >= sizeof(row->type) || chat_event_id_parse(id, &row->id) != 0) {
        comment_row_clear(row);
        return -1;
    }
    strcpy(row->type, type);
    row->room = room[0] ? (int)strtol(room, &end, 10) : -1;
    const json_t *user = json_object_get(row->json, "user");
    row->user_id = json_string_value(json_object_get(user, "id"));
    row->user_name = json_string_value(json_object_get(user, "name"));
    row->text = json_string_value(json_object_get(row->json, "text"));
    const char *target = json_string_value(json_object_get(row->json, "target"));
    row->is_deletion = strcmp(type, "deleted") == 0 && target && chat_event_id_parse(target, &row->target) == 0;
    return 0;
}

void comment_row_clear(struct comment_row *row)
{
    free(row->event);
    json_decref(row->json);
    row->event = NULL;
    row->json = NULL;
}

static int insert_rows(struct db_connection *connection, const char *broadcast, const struct comment_row *rows,
                       size_t count)
{
    struct db_param params[ROWS_MANY * COLUMNS];
    char sql[256 + ROWS_MANY * 24] = "INSERT IGNORE INTO comments (broadcast_id, at_ms, sequence, type, room, user_id, "
                                     "user_name, text, event) VALUES ";

    for (size_t i = 0; i < count; i++) {
        struct db_param *p = params + i * COLUMNS;

        strcat(sql, i ? ",(?,?,?,?,?,?,?,?,?)" : "(?,?,?,?,?,?,?,?,?)");
        p[0] = db_str(broadcast);
        p[1] = db_int((int64_t)rows[i].id.ms);
        p[2] = db_int((int64_t)rows[i].id.sequence);
        p[3] = db_str(rows[i].type);
        p[4] = rows[i].room >= 0 ? db_int(rows[i].room) : db_str(NULL);
        p[5] = db_str(rows[i].user_id);
        p[6] = db_str(rows[i].user_name);
        p[7] = db_str(rows[i].text);
        p[8] = db_str(rows[i].event);
    }
    return db_exec(connection, sql, params, count * COLUMNS);
}

/* What was deleted stands in an earlier entry, so its row is there already or in this transaction. */
static int mark_deletions(struct db_connection *connection, const char *broadcast, const struct comment_row *rows,
                          size_t count)
{
    int code = 0;

    for (size_t i = 0; i < count && code == 0; i++)
        if (rows[i].is_deletion)
            code = db_exec(connection,
                           "UPDATE comments SET deleted = 1 WHERE broadcast_id = ? AND at_ms = ? AND sequence = ?",
                           DB_PARAMS(db_str(broadcast), db_int((int64_t)rows[i].target.ms),
                                     db_int((int64_t)rows[i].target.sequence)));
    return code;
}

/* Up to here the broadcast's rows are complete: what is exported ends there (export_batch.h). */
static int mark_ready(struct db_connection *connection, const char *broadcast, struct chat_event_id last)
{
    return db_exec(connection,
                   "INSERT INTO export_cursors (source, broadcast_id, ready_ms, ready_sequence) VALUES ('comments', ?, "
                   "?, ?) ON DUPLICATE KEY UPDATE ready_sequence = IF((VALUES(ready_ms), VALUES(ready_sequence)) > "
                   "(ready_ms, ready_sequence), VALUES(ready_sequence), ready_sequence), "
                   "ready_ms = GREATEST(ready_ms, VALUES(ready_ms))",
                   DB_PARAMS(db_str(broadcast), db_int((int64_t)last.ms), db_int((int64_t)last.sequence)));
}

int comment_rows_write(struct db_connection *connection, const char *broadcast, const struct comment_row *rows,
                       size_t count)
{
    int code = db_begin(connection);

    for (size_t done = 0; done < count && code == 0;) {
        size_t part = count - done >= ROWS_MANY ? ROWS_MANY : 1;

        code = insert_rows(connection, broadcast, rows + done, part);
        done += part;
    }
    if (code == 0)
        code = mark_deletions(connection, broadcast, rows, count);
    if (code == 0 && count > 0)
        code = mark_ready(connection, broadcast, rows[count - 1].id);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}
