#include "archive_view.h"

#include "libcommon/clock.h"
#include "libcommon/db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                                        \
    "SELECT b.id, b.title, b.owner_id, u.name, b.state, b.created_at_ms, b.live_at_ms, b.ended_at_ms, a.state, "       \
    "a.visibility = 'private', a.duration_ms, a.segments, a.events, a.has_storyboard, a.archived_at_ms, w.peak, "      \
    "w.unique_viewers "
#define AUDIENCE "LEFT JOIN audiences w ON w.broadcast_id = b.id "

static enum archive_row_state row_state_of(const char *name)
{
    if (!name)
        return ARCHIVE_ROW_NONE;
    if (strcmp(name, "archived") == 0)
        return ARCHIVE_ROW_ARCHIVED;
    return strcmp(name, "making") == 0 ? ARCHIVE_ROW_MAKING : ARCHIVE_ROW_DELETING;
}

static void take_row(const struct db_result *result, size_t i, struct archive_view *view)
{
    memset(view, 0, sizeof(*view));
    snprintf(view->id, sizeof(view->id), "%s", db_result_value(result, i, 0));
    snprintf(view->title, sizeof(view->title), "%s", db_result_value(result, i, 1));
    snprintf(view->owner_id, sizeof(view->owner_id), "%s", db_result_value(result, i, 2));
    snprintf(view->owner_name, sizeof(view->owner_name), "%s", db_result_value(result, i, 3));
    view->broadcast_state = broadcast_state_from_name(db_result_value(result, i, 4));
    view->created_at_ms = db_result_int(result, i, 5);
    view->live_at_ms = db_result_int(result, i, 6);
    view->ended_at_ms = db_result_int(result, i, 7);
    view->row_state = row_state_of(db_result_value(result, i, 8));
    view->is_private = db_result_int(result, i, 9) != 0;
    view->duration_ms = db_result_int(result, i, 10);
    view->segments = db_result_int(result, i, 11);
    view->events = db_result_int(result, i, 12);
    view->has_storyboard = db_result_int(result, i, 13) != 0;
    view->archived_at_ms = db_result_int(result, i, 14);
    view->has_audience = db_result_value(result, i, 15) != NULL;
    view->peak = db_result_int(result, i, 15);
    view->unique_viewers = db_result_int(result, i, 16);
}

int archive_view_load(struct db_connection *connection, const char *id, struct archive_view *view, bool *found)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        COLUMNS "FROM broadcasts b JOIN users u ON u.id = b.owner_id "
                                "LEFT JOIN archives a ON a.broadcast_id = b.id " AUDIENCE "WHERE b.id = ?",
                        DB_PARAMS(db_str(id)), 1, &result);

    *found = code == 0 && db_result_rows(result) == 1;
    if (*found)
        take_row(result, 0, view);
    db_result_free(result);
    return code;
}

int archive_view_list(struct db_connection *connection, const struct archive_query *query, struct archive_view *views,
                      size_t *count)
{
    struct db_result *result = NULL;
    int64_t before_ms = query->page.before;
    int code = db_query(
        connection,
        COLUMNS "FROM archives a JOIN broadcasts b ON b.id = a.broadcast_id JOIN users u ON u.id = b.owner_id " AUDIENCE
                "WHERE a.state = 'archived' AND (a.archived_at_ms < ? OR (a.archived_at_ms = ? AND "
                "a.broadcast_id < ?)) AND (? OR a.visibility = 'public') AND (? = '' OR b.owner_id = ?) "
                "ORDER BY a.archived_at_ms DESC, a.broadcast_id DESC LIMIT ?",
        DB_PARAMS(db_int(before_ms), db_int(before_ms), db_str(query->page.before_key), db_int(query->all_visibilities),
                  db_str(query->owner_id), db_str(query->owner_id), db_int((int64_t)query->page.limit + 1)),
        query->page.limit + 1, &result);

    *count = code == 0 ? db_result_rows(result) : 0;
    for (size_t i = 0; i < *count; i++)
        take_row(result, i, &views[i]);
    db_result_free(result);
    return code;
}

/* --- as JSON --- */

bool archive_view_exists(const struct archive_view *view)
{
    if (view->row_state == ARCHIVE_ROW_DELETING)
        return false;
    return view->row_state != ARCHIVE_ROW_NONE || view->broadcast_state != BROADCAST_ARCHIVED;
}

bool archive_view_is_owner(const struct archive_view *view, const struct access_token *caller, bool or_operator)
{
    return strcmp(caller->subject, view->owner_id) == 0 || (or_operator && strcmp(caller->role, "operator") == 0);
}

static void set_time(json_t *object, const char *name, int64_t time_ms)
{
    json_object_set_new(object, name, time_ms > 0 ? json_integer(time_ms) : json_null());
}

static void set_edge_url(const struct archive *archive, json_t *object, const char *name, const char *id,
                         const char *file, bool exists)
{
    const struct playback_signer signer = archive_signer(archive);
    char url[PLAYBACK_URL_SIZE];

    playback_url_make(&signer, id, clock_wall_ms() / 1000, file, url, sizeof(url));
    json_object_set_new(object, name, exists ? json_string(url) : json_null());
}

/* What is there to play: null until everything stands. */
static void set_urls(const struct archive *archive, json_t *object, const struct archive_view *view, const char *token)
{
    bool stands = view->row_state == ARCHIVE_ROW_ARCHIVED, has_picture = stands && view->segments > 0;
    char url[80 + ARCHIVE_TOKEN_SIZE];

    set_edge_url(archive, object, "playback_url", view->id, ARCHIVE_RECORDING_FILE, has_picture);
    set_edge_url(archive, object, "chat_index_url", view->id, ARCHIVE_REPLAY_FOLDER "/" ARCHIVE_REPLAY_INDEX, stands);
    set_edge_url(archive, object, "storyboard_url", view->id, ARCHIVE_STORYBOARD_FILE, stands && view->has_storyboard);
    set_edge_url(archive, object, "thumbnail_url", view->id, "thumbnail.jpg", has_picture);
    if (token && has_picture) {
        snprintf(url, sizeof(url), ARCHIVE_PLAYOUT_PATH "%s/" ARCHIVE_RECORDING_FILE, token);
        json_object_set_new(object, "playback_url", json_string(url));
    }
}

json_t *archive_view_to_json(const struct archive *archive, const struct archive_view *view, const char *token,
                             bool for_owner)
{
    bool stands = view->row_state == ARCHIVE_ROW_ARCHIVED;
    enum broadcast_state state = stands ? BROADCAST_ARCHIVED : view->broadcast_state;
    char link[80 + ID_SIZE + ARCHIVE_TOKEN_SIZE];
    json_t *object = json_pack("{s:s,s:s,s:{s:s,s:s},s:s,s:s}", "id", view->id, "title", view->title, "owner", "id",
                               view->owner_id, "name", view->owner_name, "state", broadcast_state_name(state),
                               "visibility", view->is_private ? "private" : "public");

    if (!object)
        abort();
    json_object_set_new(object, "duration_ms", stands ? json_integer(view->duration_ms) : json_null());
    json_object_set_new(object, "events", stands ? json_integer(view->events) : json_null());
    json_object_set_new(object, "audience",
                        view->has_audience ? json_pack("{s:I,s:I}", "peak", (json_int_t)view->peak, "unique",
                                                       (json_int_t)view->unique_viewers)
                                           : json_null());
    set_time(object, "created_at_ms", view->created_at_ms);
    set_time(object, "live_at_ms", view->live_at_ms);
    set_time(object, "ended_at_ms", view->ended_at_ms);
    set_time(object, "archived_at_ms", view->archived_at_ms);
    set_urls(archive, object, view, token);
    if (for_owner) {
        snprintf(link, sizeof(link), "/archive/%s%s%s", view->id, token ? "?token=" : "", token ? token : "");
        json_object_set_new(object, "share_url", json_string(link));
    }
    return object;
}
