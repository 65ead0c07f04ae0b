#include "channel_rows.h"

#include "libcommon/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                                        \
    "SELECT id, owner_id, owner_name, title, items, start_at_ms, loops, duration_ms, created_at_ms FROM channels "
#define SEGMENTS_AT_ONCE 5000

/* --- making one --- */

static int check_item(struct db_connection *connection, const struct channel_row *row, const char *id,
                      enum channel_insert_outcome *outcome, int64_t *duration_us)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 "SELECT a.state, a.visibility = 'public' OR b.owner_id = ?, (SELECT COALESCE(SUM(duration_us), 0) "
                 "FROM segments s WHERE s.broadcast_id = a.broadcast_id) FROM archives a JOIN broadcasts b ON "
                 "b.id = a.broadcast_id WHERE a.broadcast_id = ?",
                 DB_PARAMS(db_str(row->owner_id), db_str(id)), 1, &result);

    if (code == 0 && (db_result_rows(result) == 0 || !db_result_int(result, 0, 1) ||
                      strcmp(db_result_value(result, 0, 0), "deleting") == 0))
        *outcome = CHANNEL_ITEM_MISSING;
    else if (code == 0 && (strcmp(db_result_value(result, 0, 0), "archived") != 0 || db_result_int(result, 0, 2) == 0))
        *outcome = CHANNEL_ITEM_MAKING;
    else if (code == 0)
        *duration_us += db_result_int(result, 0, 2);
    db_result_free(result);
    return code;
}

static int check_count(struct db_connection *connection, const struct channel_row *row,
                       enum channel_insert_outcome *outcome)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT COUNT(*) FROM channels WHERE owner_id = ?",
                        DB_PARAMS(db_str(row->owner_id)), 1, &result);

    if (code == 0 && db_result_int(result, 0, 0) >= CHANNEL_MAX_PER_OWNER)
        *outcome = CHANNEL_TOO_MANY;
    db_result_free(result);
    return code;
}

int channel_row_insert(struct db_connection *connection, struct channel_row *row, enum channel_insert_outcome *outcome,
                       int *item)
{
    char items[CHANNEL_ITEMS_TEXT_SIZE];
    int64_t duration_us = 0;
    int code;

    *outcome = CHANNEL_INSERTED;
    *item = 0;
    code = check_count(connection, row, outcome);
    for (int i = 0; code == 0 && *outcome == CHANNEL_INSERTED && i < row->definition.items_count; i++) {
        *item = i;
        code = check_item(connection, row, row->definition.items[i], outcome, &duration_us);
    }
    if (code != 0 || *outcome != CHANNEL_INSERTED)
        return code;
    row->duration_ms = duration_us / 1000;
    channel_definition_items_text(&row->definition, items);
    return db_exec(connection,
                   "INSERT INTO channels (id, owner_id, owner_name, title, items, start_at_ms, loops, duration_ms, "
                   "created_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                   DB_PARAMS(db_str(row->id), db_str(row->owner_id), db_str(row->owner_name), db_str(row->title),
                             db_str(items), db_int(row->definition.start_ms), db_int(row->definition.loop),
                             db_int(row->duration_ms), db_int(row->created_at_ms)));
}

/* --- reading --- */

static void take_row(const struct db_result *result, size_t i, struct channel_row *row)
{
    memset(row, 0, sizeof(*row));
    snprintf(row->id, sizeof(row->id), "%s", db_result_value(result, i, 0));
    snprintf(row->owner_id, sizeof(row->owner_id), "%s", db_result_value(result, i, 1));
    snprintf(row->owner_name, sizeof(row->owner_name), "%s", db_result_value(result, i, 2));
    snprintf(row->title, sizeof(row->title), "%s", db_result_value(result, i, 3));
    (void)channel_definition_parse_items(&row->definition, db_result_value(result, i, 4)); /* our own text */
    row->definition.start_ms = db_result_int(result, i, 5);
    row->definition.loop = db_result_int(result, i, 6) != 0;
    row->duration_ms = db_result_int(result, i, 7);
    row->created_at_ms = db_result_int(result, i, 8);
}

/* Fifty look-ups by key at most; as many places as a channel may have items, so that the statement stays prepared. */
static int look_for_withdrawn(struct db_connection *connection, struct channel_row *row)
{
    struct db_param params[1 + PLAYOUT_MAX_ITEMS];
    char sql[400 + 2 * PLAYOUT_MAX_ITEMS] =
        "SELECT COUNT(*) FROM archives a JOIN broadcasts b ON b.id = a.broadcast_id "
        "WHERE a.visibility = 'private' AND b.owner_id <> ? AND a.broadcast_id IN (";
    struct db_result *result = NULL;
    int code;

    params[0] = db_str(row->owner_id);
    for (int i = 0; i < PLAYOUT_MAX_ITEMS; i++) {
        strcat(sql, i ? ",?" : "?");
        params[1 + i] = db_str(i < row->definition.items_count ? row->definition.items[i] : "");
    }
    strcat(sql, ")");
    code = db_query(connection, sql, params, 1 + PLAYOUT_MAX_ITEMS, 1, &result);
    row->is_withdrawn = code == 0 && db_result_int(result, 0, 0) > 0;
    db_result_free(result);
    return code;
}

int channel_row_load(struct db_connection *connection, const char *id, struct channel_row *row, bool *found)
{
    struct db_result *result = NULL;
    int code = db_query(connection, COLUMNS "WHERE id = ?", DB_PARAMS(db_str(id)), 1, &result);

    *found = code == 0 && db_result_rows(result) == 1;
    if (*found)
        take_row(result, 0, row);
    db_result_free(result);
    return *found ? look_for_withdrawn(connection, row) : code;
}

int channel_row_list(struct db_connection *connection, const struct channel_query *query, struct channel_row *rows,
                     size_t *count)
{
    int64_t before_ms = query->page.before;
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 COLUMNS "WHERE (? = '' OR owner_id = ?) AND (created_at_ms < ? OR (created_at_ms = ? AND id < ?)) "
                         "ORDER BY created_at_ms DESC, id DESC LIMIT ?",
                 DB_PARAMS(db_str(query->owner_id), db_str(query->owner_id), db_int(before_ms), db_int(before_ms),
                           db_str(query->page.before_key), db_int((int64_t)query->page.limit + 1)),
                 query->page.limit + 1, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t i = 0; i < *count; i++)
        take_row(result, i, &rows[i]);
    db_result_free(result);
    for (size_t i = 0; i < *count && code == 0; i++)
        code = look_for_withdrawn(connection, &rows[i]);
    return code;
}

int channel_row_delete(struct db_connection *connection, const char *id)
{
    return db_exec(connection, "DELETE FROM channels WHERE id = ?", DB_PARAMS(db_str(id)));
}

/* --- recordings --- */

static int load_renditions(struct db_connection *connection, struct playout_item *item)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT name, width, height, frame_rate, codecs, peak_bandwidth, average_bandwidth FROM "
                        "renditions WHERE broadcast_id = ? ORDER BY position, name",
                        DB_PARAMS(db_str(item->id)), SEGMENT_MAX_RENDITIONS, &result);

    for (size_t i = 0; code == 0 && i < db_result_rows(result); i++) {
        struct playout_rendition rendition = {.width = (int)db_result_int(result, i, 1),
                                              .height = (int)db_result_int(result, i, 2),
                                              .frame_rate = strtod(db_result_value(result, i, 3), NULL),
                                              .peak_bps = db_result_int(result, i, 5),
                                              .average_bps = db_result_int(result, i, 6)};

        snprintf(rendition.name, sizeof(rendition.name), "%s", db_result_value(result, i, 0));
        snprintf(rendition.codecs, sizeof(rendition.codecs), "%s", db_result_value(result, i, 4));
        (void)playout_item_add_rendition(item, &rendition); /* at most so many were asked for */
    }
    db_result_free(result);
    return code;
}

/* A batch of segments behind `*after`. */
static int load_segments(struct db_connection *connection, struct playout_item *item, int64_t *after, size_t *count)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 "SELECT sequence, file, discontinuity, duration_us, bytes FROM segments WHERE broadcast_id = ? "
                 "AND sequence > ? ORDER BY sequence LIMIT ?",
                 DB_PARAMS(db_str(item->id), db_int(*after), db_int(SEGMENTS_AT_ONCE)), SEGMENTS_AT_ONCE, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t i = 0; i < *count; i++) {
        *after = db_result_int(result, i, 0);
        /* What cannot be played is left out, by every process alike. */
        (void)playout_item_add_segment(item, db_result_value(result, i, 1), db_result_int(result, i, 2) != 0,
                                       db_result_int(result, i, 3), db_result_value(result, i, 4));
    }
    db_result_free(result);
    return code;
}

int channel_item_load(struct db_connection *connection, const char *id, struct playout_item **item)
{
    struct playout_item *loaded = playout_item_create(id);
    size_t count = SEGMENTS_AT_ONCE;
    int64_t after = -1;
    int code = load_renditions(connection, loaded);

    *item = NULL;
    while (code == 0 && count == SEGMENTS_AT_ONCE)
        code = load_segments(connection, loaded, &after, &count);
    if (code == 0 && playout_item_finish(loaded) == 0)
        *item = loaded;
    else
        playout_item_destroy(loaded);
    return code;
}
