#include "broadcast_change.h"

#include "announcer.h"
#include "broadcast_row.h"
#include "follow_row.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"

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
    *announced = code == 0 && first;
    return code;
}

int broadcast_change_save(struct db_connection *connection, const struct live_api *api,
                          const struct broadcast_view *view, bool *announced)
{
    bool is_on_air = view->state == BROADCAST_LIVE || view->state == BROADCAST_SUSPENDED;
    int code = db_begin(connection);

    *announced = false;
    if (code != 0)
        return code;
    code = broadcast_row_save_state(connection, view);
    /* Nobody is called to a broadcast that was over before this process came to save it. */
    if (code == 0 && view->live_at_ms > 0 && is_on_air)
        code = announce(connection, api, view, announced);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}
