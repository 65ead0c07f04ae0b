/* What goes into the replay, read from MySQL in batches: comments, gifts and whatever else the log held, without what
 * was deleted, and the totals of hearts. On a database worker. */
#pragma once

#include "replay.h"
#include "timeline.h"

struct db_connection;

/* Where the reading stands: behind this entry. */
struct replay_cursor {
    int64_t at_ms, sequence; /* -1: a total of hearts */
};

struct replay_source {
    char broadcast[65];
    int64_t until_ms;
    struct replay_cursor cursor;
    bool is_read; /* nothing comes any more: what is left are the last files */
    bool is_over;
};

/* A file of the replay that is complete. */
struct replay_text {
    char *text; /* owned */
    size_t len_bytes;
    size_t number;
};

/* Reads on until some files are complete, at most `max_texts`, or until the end (`is_over`), when the last file is
 * among them. `count`: how many. 0, a db_error, or REPLAY_NO_MEMORY. After an error the replay is to be made from the
 * beginning. */
#define REPLAY_NO_MEMORY (-101)
int replay_source_read(struct replay_source *source, struct db_connection *connection, const struct timeline *timeline,
                       struct replay *replay, struct replay_text *texts, size_t max_texts, size_t *count);
