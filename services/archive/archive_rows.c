#include "archive_rows.h"

#include "libcommon/db.h"

#include <string.h>

/* What else writes about a broadcast that is over, until it has settled. */
static const char count_unsettled[] = "SELECT COUNT(*) FROM outbox WHERE kind = 'gift' AND subject = ?";

static int look_unsettled(struct db_connection *connection, const char *id, bool *is_unsettled)
{
    struct db_result *result = NULL;
    int code = db_query(connection, count_unsettled, DB_PARAMS(db_str(id)), 1, &result);

    *is_unsettled = code == 0 && db_result_int(result, 0, 0) > 0;
    db_result_free(result);
    return code;
}

int archive_row_plan(struct db_connection *connection, const char *id, struct archive_plan *plan)
{
    struct db_result *result = NULL;
    bool is_unsettled = false;
    int code = look_unsettled(connection, id, &is_unsettled);

    if (code != 0 || is_unsettled) {
        plan->outcome = ARCHIVE_PLAN_UNSETTLED;
        return code;
    }
    code = db_exec(connection, "INSERT IGNORE INTO archives (broadcast_id, until_ms) VALUES (?, ?)",
                   DB_PARAMS(db_str(id), db_int(plan->until_ms)));
    if (code == 0)
        code = db_query(connection, "SELECT state, until_ms FROM archives WHERE broadcast_id = ?",
                        DB_PARAMS(db_str(id)), 1, &result);
    if (code == 0 && db_result_rows(result) == 0)
        code = DB_CONFLICT;
    if (code == 0) {
        plan->outcome = strcmp(db_result_value(result, 0, 0), "making") == 0 ? ARCHIVE_PLAN_MAKE : ARCHIVE_PLAN_STANDS;
        plan->until_ms = db_result_int(result, 0, 1);
    }
    db_result_free(result);
    return code;
}

int archive_row_finish(struct db_connection *connection, const char *id, const struct archive_figures *figures)
{
    /* Only ever more: a chat Redis that has come back empty takes nothing away. */
    int code = db_exec(
        connection,
        "INSERT INTO audiences (broadcast_id, peak, unique_viewers, counted_at_ms) VALUES (?, ?, ?, ?) "
        "ON DUPLICATE KEY UPDATE peak = GREATEST(peak, VALUES(peak)), unique_viewers = "
        "GREATEST(unique_viewers, VALUES(unique_viewers)), counted_at_ms = VALUES(counted_at_ms)",
        DB_PARAMS(db_str(id), db_int(figures->peak), db_int(figures->unique_viewers), db_int(figures->archived_at_ms)));

    if (code != 0)
        return code;
    return db_exec(connection,
                   "UPDATE archives SET state = 'archived', duration_ms = ?, segments = ?, files = ?, events = ?, "
                   "has_storyboard = ?, archived_at_ms = ? WHERE broadcast_id = ? AND state = 'making'",
                   DB_PARAMS(db_int(figures->duration_ms), db_int(figures->segments), db_int(figures->files),
                             db_int(figures->events), db_int(figures->has_storyboard), db_int(figures->archived_at_ms),
                             db_str(id)));
}

int archive_row_force_state(struct db_connection *connection, const char *id)
{
    return db_exec(connection,
                   "UPDATE broadcasts SET state = 'archived', version = version + 1 WHERE id = ? AND state = 'ended'",
                   DB_PARAMS(db_str(id)));
}
