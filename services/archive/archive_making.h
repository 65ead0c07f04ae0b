/* One archive being made: plan -> playlists of the recording -> replay files -> their index -> the row -> `archived`.
 *
 * Every step may be repeated: files are the same bytes each time, since the plan's row fixes until when events count
 * and nothing else changes any more. So whoever finds a half-made archive begins anew. Loop thread only; what is
 * blocking runs on a database worker. */
#pragma once

#include "archive.h"

struct archive_making;

enum archive_made {
    ARCHIVE_MADE = 0,
    ARCHIVE_DONE = 1,     /* there was nothing to do any more */
    ARCHIVE_NOT_YET = -1, /* something of the broadcast is still on its way to MySQL */
    ARCHIVE_FAILED = -2,  /* logged; try again later */
};

typedef void (*archive_made_fn)(struct archive_making *making, enum archive_made result, void *context);

/* `done` exactly once, never before the call returns; `making` is freed after it. `until_ms`: the plan, unless there is
 * one already. */
struct archive_making *archive_making_start(struct archive *archive, const char *broadcast, int64_t until_ms,
                                            archive_made_fn done, void *context);
/* Ends with ARCHIVE_FAILED (not logged) at the next step. */
void archive_making_stop(struct archive_making *making);
