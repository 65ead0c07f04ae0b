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

/* Where events come from: rows of MySQL, or a stream of Redis. */
struct export_source {
    const char *name; /* of the row in `exports`, and in the files' names */
    const char *sql;  /* rows of one broadcast between two ids, in order: at_ms, sequence, kind, room, event; or NULL */
    const char *stream; /* its key on the state Redis; or NULL */
    const char *forget; /* deletes one broadcast's rows up to an id, once they are exported; NULL: they stay */
};
extern const struct export_source export_source_comments, export_source_loves, export_source_taps, export_source_states,
    export_source_audience;

enum export_outcome {
    EXPORT_NOTHING, /* new, or not yet time for the next batch */
    EXPORT_READ,    /* a stream: its entries in ranges[0] are to be read */
    EXPORT_READY,   /* the files are to be put to the store, then export_batch_finish() */
};

struct export_batch {
    const struct export_source *source;
    int64_t interval_ms; /* since the last batch; 0: at once */
    size_t max_lines;
    enum export_outcome outcome;
    int64_t number;
    bool is_planned;  /* it was, before this attempt */
    bool is_full;     /* more waits */
    size_t odd_lines; /* that could not be read: passed over */
    struct export_range ranges[EXPORT_MAX_RANGES];
    size_t ranges_count;
    struct buffer entries; /* of a stream: lines as they stand there */
    struct export_files files;
};

/* Finds the planned batch, or plans the next one, and reads it; of a stream, only finds out what is to be read. 0 or a
 * db_error (DB_CONFLICT: another process has gone on with this source). */
int export_batch_read(struct db_connection *connection, struct export_batch *batch);
/* A stream's entries have been read, up to ranges[0].to: plans the batch if it is not planned, and sorts the lines. As
 * export_batch_read(). */
int export_batch_take_entries(struct db_connection *connection, struct export_batch *batch);
/* All its files stand. Repeating it changes nothing. 0 or a db_error. */
int export_batch_finish(struct db_connection *connection, const struct export_batch *batch);
void export_batch_clear(struct export_batch *batch);
