#include "export_batch.h"

#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "proto/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS "5000"

/* Where the rows of both sources are cut: behind one id, up to another. */
#define BETWEEN(sequence)                                                                                              \
    "broadcast_id = ? AND at_ms >= ? AND at_ms <= ? AND (at_ms > ? OR " sequence " > ?) AND (at_ms < ? OR " sequence   \
    " <= ?) ORDER BY at_ms"

const struct export_source export_source_comments = {
    "comments",
    "SELECT at_ms, sequence, type, COALESCE(CAST(room AS CHAR), 'null'), event FROM comments WHERE " BETWEEN(
        "sequence") ", sequence LIMIT " ROWS};

/* A total as of a moment, and how many hearts of it are new since the one before. */
const struct export_source export_source_loves = {
    "loves", "SELECT at_ms, 0, 'love', NULL, CONCAT('{\"type\":\"love\",\"at_ms\":', at_ms, ',\"total\":', total, "
             "',\"count\":', total - COALESCE((SELECT p.total FROM love_ticks p WHERE p.broadcast_id = "
             "love_ticks.broadcast_id AND p.at_ms < love_ticks.at_ms ORDER BY p.at_ms DESC LIMIT 1), 0), '}') "
             "FROM love_ticks WHERE " BETWEEN("0") " LIMIT " ROWS};

/* How many hearts of one user are new. The rows are there for nothing else. */
const struct export_source export_source_taps = {
    "taps",
    "SELECT at_ms, sequence, 'tap', NULL, CONCAT('{\"type\":\"tap\",\"at_ms\":', at_ms, ',\"user\":\"', user_id, "
    "'\",\"count\":', taps, '}') FROM love_taps WHERE " BETWEEN("sequence") ", sequence LIMIT " ROWS,
    .forget = "DELETE FROM love_taps WHERE broadcast_id = ? AND (at_ms < ? OR (at_ms = ? AND sequence <= ?))"};

const struct export_source export_source_states = {.name = "states", .stream = KEY_EXPORT_STATES};
const struct export_source export_source_audience = {.name = "audience", .stream = KEY_EXPORT_AUDIENCE};

/* --- the rows of a range --- */

static void add_row(struct export_batch *batch, const char *broadcast, const struct db_result *result, size_t row)
{
    const char *room = db_result_value(result, row, 3), *event = db_result_value(result, row, 4);
    size_t len = db_result_len(result, row, 4);
    char head[ID_SIZE + 60];

    if (!event || len < 2 || event[0] != '{')
        return;
    if (room)
        snprintf(head, sizeof(head), "{\"broadcast\":\"%s\",\"room\":%.11s,", broadcast, room);
    else
        snprintf(head, sizeof(head), "{\"broadcast\":\"%s\",", broadcast);
    export_files_add(&batch->files, db_result_value(result, row, 2), db_result_int(result, row, 0), head, event + 1,
                     len - 1);
}

/* All of a range; with `is_plan` only until the batch is full, and then the range ends there. */
static int read_range(struct db_connection *connection, struct export_batch *batch, struct export_range *range,
                      bool is_plan)
{
    struct chat_event_id at = range->from;
    size_t rows;
    int code = 0;

    do {
        struct db_result *result = NULL;
        const struct db_param id = db_str(range->broadcast), at_ms = db_int((int64_t)at.ms),
                              to_ms = db_int((int64_t)range->to.ms);

        code = db_query(connection, batch->source->sql,
                        DB_PARAMS(id, at_ms, to_ms, at_ms, db_int((int64_t)at.sequence), to_ms,
                                  db_int((int64_t)range->to.sequence)),
                        (size_t)atoi(ROWS), &result);
        rows = code == 0 ? db_result_rows(result) : 0;
        for (size_t i = 0; i < rows; i++) {
            add_row(batch, range->broadcast, result, i);
            at.ms = (uint64_t)db_result_int(result, i, 0);
            at.sequence = (uint64_t)db_result_int(result, i, 1);
            if (is_plan && export_files_are_full(&batch->files, batch->max_lines)) {
                batch->is_full = true;
                range->to = at;
                rows = 0;
                break;
            }
        }
        db_result_free(result);
    } while (code == 0 && rows == (size_t)atoi(ROWS));
    return code;
}

/* --- planning --- */

static int find_pending(struct db_connection *connection, struct export_batch *batch)
{
    struct db_result *result = NULL;
    /* Whoever has waited longest comes first: a flood in one broadcast does not hold up the others. */
    int code = db_query(connection,
                        "SELECT broadcast_id, done_ms, done_sequence, ready_ms, ready_sequence FROM export_cursors "
                        "WHERE source = ? AND is_pending = 1 ORDER BY done_ms LIMIT 1000",
                        DB_PARAMS(db_str(batch->source->name)), EXPORT_MAX_RANGES, &result);
    size_t rows = code == 0 ? db_result_rows(result) : 0;

    for (size_t i = 0; i < rows; i++) {
        struct export_range *range = &batch->ranges[i];

        snprintf(range->broadcast, sizeof(range->broadcast), "%s", db_result_value(result, i, 0));
        range->from.ms = (uint64_t)db_result_int(result, i, 1);
        range->from.sequence = (uint64_t)db_result_int(result, i, 2);
        range->to.ms = (uint64_t)db_result_int(result, i, 3);
        range->to.sequence = (uint64_t)db_result_int(result, i, 4);
    }
    batch->ranges_count = rows;
    batch->is_full = rows == EXPORT_MAX_RANGES;
    db_result_free(result);
    return code;
}

/* The next number goes to one process only. */
static int claim(struct db_connection *connection, struct export_batch *batch)
{
    char *text = export_ranges_format(batch->ranges, batch->ranges_count);
    int code = db_exec(connection,
                       "UPDATE exports SET number = number + 1, ranges = ?, is_done = 0 WHERE source = ? AND "
                       "number = ? AND is_done = 1",
                       DB_PARAMS(db_str(text), db_str(batch->source->name), db_int(batch->number)));

    free(text);
    if (code == 0 && db_affected_rows(connection) != 1)
        code = DB_CONFLICT;
    batch->number++;
    return code;
}

static int plan(struct db_connection *connection, struct export_batch *batch)
{
    int code = find_pending(connection, batch);

    if (code != 0 || batch->ranges_count == 0)
        return code;
    for (size_t i = 0; i < batch->ranges_count && code == 0; i++) {
        code = read_range(connection, batch, &batch->ranges[i], true);
        if (export_files_are_full(&batch->files, batch->max_lines))
            batch->ranges_count = i + 1;
    }
    if (code == 0)
        code = claim(connection, batch);
    if (code == 0)
        batch->outcome = EXPORT_READY;
    return code;
}

/* --- what was planned --- */

/* What was read is good only if nobody had finished the batch by then: behind that, its rows may go. */
static int check_open(struct db_connection *connection, const struct export_batch *batch)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT 1 FROM exports WHERE source = ? AND number = ? AND is_done = 0",
                        DB_PARAMS(db_str(batch->source->name), db_int(batch->number)), 1, &result);

    if (code == 0 && db_result_rows(result) != 1)
        code = DB_CONFLICT;
    db_result_free(result);
    return code;
}

static int repeat(struct db_connection *connection, struct export_batch *batch)
{
    int code = 0;

    for (size_t i = 0; i < batch->ranges_count && code == 0; i++)
        code = read_range(connection, batch, &batch->ranges[i], false);
    if (code == 0)
        code = check_open(connection, batch);
    if (code == 0)
        batch->outcome = EXPORT_READY;
    batch->is_full = true; /* how much waits by now is not known */
    return code;
}

/* Of a stream it is known where the last batch ended, or what the planned one covers. */
static int find_stream_range(struct export_batch *batch, const char *ranges)
{
    struct export_range *range = &batch->ranges[0];

    if (export_ranges_parse(ranges, batch->ranges, &batch->ranges_count) != 0 || batch->ranges_count > 1)
        return DB_FAILED;
    if (batch->ranges_count == 0)
        *range = (struct export_range){.broadcast = EXPORT_ALL};
    else if (!batch->is_planned)
        range->from = range->to;
    batch->ranges_count = 1;
    batch->outcome = EXPORT_READ;
    return 0;
}

static void add_entry_line(struct export_batch *batch, const char *line, size_t len)
{
    json_t *event = json_loadb(line, len, 0, NULL);
    const char *type = json_string_value(json_object_get(event, "type"));
    int64_t at_ms = json_integer_value(json_object_get(event, "at_ms"));

    if (type && at_ms > 0)
        export_files_add(&batch->files, type, at_ms, "", line, len);
    else
        batch->odd_lines++;
    json_decref(event);
}

int export_batch_take_entries(struct db_connection *connection, struct export_batch *batch)
{
    const char *at = (const char *)batch->entries.data, *end = at + batch->entries.len;
    int code;

    while (at < end) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((feed ? feed : end) - at);

        if (len > 0)
            add_entry_line(batch, at, len);
        at += len + 1;
    }
    code = batch->is_planned ? check_open(connection, batch) : claim(connection, batch);
    if (code == 0)
        batch->outcome = EXPORT_READY;
    return code;
}

/* An archive that is to be deleted waits for what is not exported of it: then it is time at once. */
static const char select_state[] =
    "SELECT number, ranges, is_done, done_at_ms, EXISTS (SELECT 1 FROM archives a JOIN export_cursors c ON "
    "c.broadcast_id = a.broadcast_id WHERE a.state = 'deleting' AND c.source = exports.source AND c.is_pending = 1) "
    "FROM exports WHERE source = ?";

int export_batch_read(struct db_connection *connection, struct export_batch *batch)
{
    struct db_result *result = NULL;
    int code = db_query(connection, select_state, DB_PARAMS(db_str(batch->source->name)), 1, &result);

    if (code == 0 && db_result_rows(result) != 1)
        code = DB_FAILED;
    if (code != 0)
        goto out;
    batch->outcome = EXPORT_NOTHING;
    batch->number = db_result_int(result, 0, 0);
    batch->is_planned = db_result_int(result, 0, 2) == 0;
    bool is_due = db_result_int(result, 0, 4) || db_result_int(result, 0, 3) + batch->interval_ms <= clock_wall_ms();
    if (batch->source->stream) {
        if (batch->is_planned || is_due)
            code = find_stream_range(batch, db_result_value(result, 0, 1));
    } else if (batch->is_planned) {
        code = export_ranges_parse(db_result_value(result, 0, 1), batch->ranges, &batch->ranges_count) == 0
                   ? repeat(connection, batch)
                   : DB_FAILED;
    } else if (is_due) {
        code = plan(connection, batch);
    }
out:
    db_result_free(result);
    return code;
}

/* --- the end --- */

static int forget_range(struct db_connection *connection, const char *sql, const struct export_range *range)
{
    const struct db_param to_ms = db_int((int64_t)range->to.ms);

    return db_exec(connection, sql,
                   DB_PARAMS(db_str(range->broadcast), to_ms, to_ms, db_int((int64_t)range->to.sequence)));
}

static int move_cursors(struct db_connection *connection, const struct export_batch *batch)
{
    int code = 0;

    /* The rows before the cursors: love-counter locks them in this order, too. */
    for (size_t i = 0; batch->source->forget && i < batch->ranges_count && code == 0; i++)
        code = forget_range(connection, batch->source->forget, &batch->ranges[i]);
    for (size_t i = 0; i < batch->ranges_count && code == 0; i++)
        code = db_exec(connection,
                       "UPDATE export_cursors SET done_ms = ?, done_sequence = ? WHERE source = ? AND broadcast_id = ?",
                       DB_PARAMS(db_int((int64_t)batch->ranges[i].to.ms), db_int((int64_t)batch->ranges[i].to.sequence),
                                 db_str(batch->source->name), db_str(batch->ranges[i].broadcast)));
    return code;
}

int export_batch_finish(struct db_connection *connection, const struct export_batch *batch)
{
    int code = db_begin(connection);

    if (code == 0)
        code =
            db_exec(connection,
                    "UPDATE exports SET is_done = 1, done_at_ms = ?, total_lines = total_lines + ?, "
                    "total_files = total_files + ? WHERE source = ? AND number = ? AND is_done = 0",
                    DB_PARAMS(db_int(clock_wall_ms()), db_int((int64_t)batch->files.lines),
                              db_int((int64_t)batch->files.count), db_str(batch->source->name), db_int(batch->number)));
    if (code == 0 && db_affected_rows(connection) == 1 && batch->source->sql)
        code = move_cursors(connection, batch);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

void export_batch_clear(struct export_batch *batch)
{
    export_files_clear(&batch->files);
    buffer_clear(&batch->entries);
    batch->ranges_count = batch->odd_lines = 0;
    batch->is_full = false;
}
