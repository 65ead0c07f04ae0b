/* What an archive consists of, found from its rows: the store has no way to list. */
#include "archive_sweeper.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "replay.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS     "300" /* times nine objects each, at most */
#define EVENTS       "5000"
#define EVENT_ROUNDS 20 /* of a job */

static void __attribute__((format(printf, 2, 3))) add_path(struct archive_removal *removal, const char *format, ...)
{
    char name[200], path[300];
    va_list arguments;

    if (removal->count == REMOVAL_MAX_PATHS)
        return;
    va_start(arguments, format);
    vsnprintf(name, sizeof(name), format, arguments);
    va_end(arguments);
    snprintf(path, sizeof(path), "live/%s/%s", removal->id, name);
    removal->paths[removal->count++] = alloc_string(path);
}

void archive_removal_clear(struct archive_removal *removal)
{
    for (size_t i = 0; i < removal->count; i++)
        free(removal->paths[i]);
    free(removal->paths);
    removal->paths = NULL;
    removal->count = 0;
}

static int load_segments(struct db_connection *connection, struct archive_removal *removal, size_t *rows)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT sequence, file, bytes, thumbnail FROM segments WHERE broadcast_id = ? "
                        "ORDER BY sequence LIMIT " SEGMENTS,
                        DB_PARAMS(db_str(removal->id)), 1000, &result);

    *rows = code == 0 ? db_result_rows(result) : 0;
    for (size_t i = 0; i < *rows; i++) {
        json_t *bytes = json_loads(db_result_value(result, i, 2), 0, NULL), *value;
        const char *rendition;

        removal->last_sequence = db_result_int(result, i, 0);
        json_object_foreach(bytes, rendition, value)
            add_path(removal, "%s/%s", rendition, db_result_value(result, i, 1));
        if (db_result_value(result, i, 3))
            add_path(removal, "%s", db_result_value(result, i, 3));
        json_decref(bytes);
    }
    db_result_free(result);
    return code;
}

static int load_rest(struct db_connection *connection, struct archive_removal *removal)
{
    struct db_result *renditions = NULL, *files = NULL;
    char name[REPLAY_FILE_NAME_SIZE];
    int code = db_query(connection, "SELECT name FROM renditions WHERE broadcast_id = ?",
                        DB_PARAMS(db_str(removal->id)), 100, &renditions);

    if (code == 0)
        code = db_query(connection, "SELECT files FROM archives WHERE broadcast_id = ?", DB_PARAMS(db_str(removal->id)),
                        1, &files);
    for (size_t i = 0; code == 0 && i < db_result_rows(renditions); i++) {
        add_path(removal, "%s/index.m3u8", db_result_value(renditions, i, 0));
        add_path(removal, "%s/" ARCHIVE_RECORDING_FILE, db_result_value(renditions, i, 0));
    }
    for (size_t i = 0; code == 0 && db_result_rows(files) == 1 && i < (size_t)db_result_int(files, 0, 0); i++) {
        replay_file_name(name, i);
        add_path(removal, ARCHIVE_REPLAY_FOLDER "/%s", name);
    }
    add_path(removal, ARCHIVE_REPLAY_FOLDER "/" ARCHIVE_REPLAY_INDEX);
    add_path(removal, ARCHIVE_RECORDING_FILE);
    add_path(removal, ARCHIVE_STORYBOARD_FILE);
    add_path(removal, "master.m3u8");
    add_path(removal, "thumbnail.jpg");
    db_result_free(renditions);
    db_result_free(files);
    return code;
}

int archive_removal_next(struct db_connection *connection, struct archive_removal *removal)
{
    size_t rows = 0;
    int code;

    removal->paths = alloc_zero(REMOVAL_MAX_PATHS, sizeof(removal->paths[0]));
    code = load_segments(connection, removal, &rows);
    removal->is_last = code == 0 && rows == 0;
    return removal->is_last ? load_rest(connection, removal) : code;
}

int archive_removal_events(struct db_connection *connection, const char *id, bool *is_over)
{
    static const char *const deletes[] = {"DELETE FROM comments WHERE broadcast_id = ? LIMIT " EVENTS,
                                          "DELETE FROM love_taps WHERE broadcast_id = ? LIMIT " EVENTS};
    size_t table = 0, tables = sizeof(deletes) / sizeof(deletes[0]);

    for (int round = 0; round < EVENT_ROUNDS && table < tables; round++) {
        int code = db_exec(connection, deletes[table], DB_PARAMS(db_str(id)));

        if (code != 0)
            return code;
        table += db_affected_rows(connection) == 0;
    }
    *is_over = table == tables;
    return 0;
}

int archive_removal_rows(struct db_connection *connection, const struct archive_removal *removal)
{
    bool is_over = false;
    int code;

    if (!removal->is_last)
        return db_exec(connection, "DELETE FROM segments WHERE broadcast_id = ? AND sequence <= ?",
                       DB_PARAMS(db_str(removal->id), db_int(removal->last_sequence)));
    do
        code = archive_removal_events(connection, removal->id, &is_over);
    while (code == 0 && !is_over);
    if (code == 0)
        code = db_exec(connection, "DELETE FROM love_ticks WHERE broadcast_id = ?", DB_PARAMS(db_str(removal->id)));
    if (code == 0)
        code = db_exec(connection, "DELETE FROM export_cursors WHERE broadcast_id = ?", DB_PARAMS(db_str(removal->id)));
    if (code == 0)
        code = db_exec(connection, "DELETE FROM audiences WHERE broadcast_id = ?", DB_PARAMS(db_str(removal->id)));
    if (code == 0)
        code = db_exec(connection, "DELETE FROM renditions WHERE broadcast_id = ?", DB_PARAMS(db_str(removal->id)));
    if (code == 0)
        code = db_exec(connection, "DELETE FROM archives WHERE broadcast_id = ? AND state = 'deleting'",
                       DB_PARAMS(db_str(removal->id)));
    return code;
}
