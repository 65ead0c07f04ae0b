/* One batch of exported events, from where its source stands to lines in files: what is done on a database worker.
 *
 * A batch is planned (which ranges, under the next number) before a file of it is written, and done when all its files
 * stand. Whoever finds a planned one makes it again: the ranges fix its lines, source and number its files' names, so
 * nothing is there twice and nothing is missing, wherever a process died. See README.md. */
#pragma once

#include "export_files.h"
#include "export_ranges.h"

#include <stdbool.h>

struct db_connection;

/* How an export's rows are read; a stream of Redis has none. */
struct export_source {
    const char *name; /* of the row in `exports`, and in the files' names */
    const char *sql;  /* rows of one broadcast between two ids, in order: at_ms, sequence, kind, room, event */
};
extern const struct export_source export_source_comments, export_source_loves;

enum export_outcome {
    EXPORT_NOTHING, /* new, or not yet time for the next batch */
    EXPORT_READY,   /* the files are to be put to the store, then export_batch_finish() */
};

struct export_batch {
    const struct export_source *source;
    int64_t interval_ms; /* since the last batch; 0: at once */
    size_t max_lines;
    enum export_outcome outcome;
    int64_t number;
    bool is_full; /* more waits */
    struct export_range ranges[EXPORT_MAX_RANGES];
    size_t ranges_count;
    struct export_files files;
};

/* Finds the planned batch, or plans the next one, and reads it. 0 or a db_error (DB_CONFLICT: another process has gone
 * on with this source). */
int export_batch_read(struct db_connection *connection, struct export_batch *batch);
/* All its files stand. Repeating it changes nothing. 0 or a db_error. */
int export_batch_finish(struct db_connection *connection, const struct export_batch *batch);
void export_batch_clear(struct export_batch *batch);
