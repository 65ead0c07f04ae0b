#include "broadcast_change.h"

#include "announcer.h"
#include "broadcast_row.h"
#include "follow_row.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "webhook.h"

static int announce(struct db_connection *connection, const struct live_api *api, const struct broadcast_view *view,
                    bool *announced)
{
    int64_t now_ms = clock_wall_ms();
    bool first = false;
    int code = broadcast_row_announce(connection, view->id, now_ms, &first);

    if (code == 0 && first)
        code = notice_row_insert(connection, view->id, view->owner_id, now_ms);
    if (code == 0 && first)
        code = announcer_insert(connection, api, view);
    if (code == 0 && first)
        code = webhook_row_enqueue(connection, api, "broadcast.live", view, now_ms);
    *announced = code == 0 && first;
    return code;
}

/* The state that MySQL knows, its row locked until the commit. */
static int load_state(struct db_connection *connection, const char *id, enum broadcast_state *state)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection, "SELECT state FROM broadcasts WHERE id = ? FOR UPDATE", DB_PARAMS(db_str(id)), 1, &result);

    *state = BROADCAST_UNKNOWN;
    if (code == 0 && db_result_rows(result) == 1)
        *state = broadcast_state_from_name(db_result_value(result, 0, 0));
    db_result_free(result);
    return code;
}

/* Both may come at once, when the row is late. */
static int tell_end(struct db_connection *connection, const struct live_api *api, const struct broadcast_view *view,
                    enum broadcast_state before)
{
    int64_t now_ms = clock_wall_ms();
    bool was_over = before == BROADCAST_ENDED || before == BROADCAST_ARCHIVED;
    bool is_over = view->state == BROADCAST_ENDED || view->state == BROADCAST_ARCHIVED;
    int code = 0;

    if (is_over && !was_over)
        code = webhook_row_enqueue(connection, api, "broadcast.ended", view, now_ms);
    if (code == 0 && view->state == BROADCAST_ARCHIVED && before != BROADCAST_ARCHIVED)
        code = webhook_row_enqueue(connection, api, "broadcast.archived", view, now_ms);
    return code;
}

int broadcast_change_save(struct db_connection *connection, const struct live_api *api,
                          const struct broadcast_view *view, bool *announced)
{
    bool is_on_air = view->state == BROADCAST_LIVE || view->state == BROADCAST_SUSPENDED;
    enum broadcast_state before = BROADCAST_UNKNOWN;
    int code = db_begin(connection);

    *announced = false;
    if (code != 0)
        return code;
    code = load_state(connection, view->id, &before);
    if (code == 0)
        code = broadcast_row_save_state(connection, view);
    /* Not when another process has saved a newer version already. */
    if (code == 0 && before != BROADCAST_UNKNOWN && db_affected_rows(connection) == 1)
        code = tell_end(connection, api, view, before);
    /* Nobody is called to a broadcast that was over before this process came to save it. */
    if (code == 0 && view->live_at_ms > 0 && is_on_air)
        code = announce(connection, api, view, announced);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}
