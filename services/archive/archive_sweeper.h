/* What goes: archives that somebody has deleted or that are too old (objects, then rows), and the comments' rows of
 * those whose files have stood for long enough. Any process may go on where another was killed: the row of the archive
 * goes last. Loop thread only. */
#pragma once

#include "archive.h"

struct archive_sweeper;

struct archive_sweeper *archive_sweeper_create(struct archive *archive);
void archive_sweeper_drain(struct archive_sweeper *sweeper);
bool archive_sweeper_is_idle(const struct archive_sweeper *sweeper);
/* After the store, the database and the links have called back. NULL is fine. */
void archive_sweeper_destroy(struct archive_sweeper *sweeper);

/* --- archive_removal.c: what is left of an archive, on a database worker --- */

#define REMOVAL_MAX_PATHS 4000

struct archive_removal {
    char id[ID_SIZE];
    char **paths; /* objects that go before the rows that name them; owned */
    size_t count;
    int64_t last_sequence; /* of the segments they belong to */
    bool is_last;          /* no segment is left: these are the playlists and the replay */
};

/* The next objects to delete; none when `is_last` and there are no more. 0 or a db_error. */
int archive_removal_next(struct db_connection *connection, struct archive_removal *removal);
/* Their rows; with `is_last` every row of the archive, its own in the end. 0 or a db_error. */
int archive_removal_rows(struct db_connection *connection, const struct archive_removal *removal);
void archive_removal_clear(struct archive_removal *removal);
/* Deletes rows of comments and of taps, a bounded number of them. `is_over`: none is left. 0 or a db_error. */
int archive_removal_events(struct db_connection *connection, const char *id, bool *is_over);
