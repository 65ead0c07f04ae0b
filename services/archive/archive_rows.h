/* The rows of `archives`. On a database worker. Each returns 0 or a db_error. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct db_connection;

enum archive_plan_outcome {
    ARCHIVE_PLAN_MAKE,
    ARCHIVE_PLAN_UNSETTLED, /* gifts or hearts of the broadcast are still on their way to MySQL */
    ARCHIVE_PLAN_STANDS,    /* the files stand: only the broadcast's state lags */
};

struct archive_plan {
    int64_t until_ms; /* in: wanted; out: as it was fixed by whoever planned first */
    enum archive_plan_outcome outcome;
};

struct archive_figures {
    int64_t duration_ms, segments, files, events, archived_at_ms;
    bool has_storyboard;
    int64_t peak, unique_viewers; /* who watched */
};

int archive_row_plan(struct db_connection *connection, const char *id, struct archive_plan *plan);
/* The files stand. */
int archive_row_finish(struct db_connection *connection, const char *id, const struct archive_figures *figures);
/* ended -> archived of a broadcast that Redis does not know any more: MySQL's word is the only one. */
int archive_row_force_state(struct db_connection *connection, const char *id);
