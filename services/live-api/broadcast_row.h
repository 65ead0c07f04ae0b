/* The SQL of broadcasts. On database workers only (see libcommon/db.h); every function returns 0 or a db_error. */
#pragma once

#include "libcommon/http_page.h"
#include "live_api.h"

struct db_connection;
struct db_result;

/* What broadcast_row_take() takes, of broadcasts b and users u. */
#define BROADCAST_COLUMNS                                                                                              \
    "b.id, b.title, b.owner_id, u.name, b.state, b.version, b.created_at_ms, b.live_at_ms, b.ended_at_ms, "            \
    "b.stream_key_sealed, (SELECT a.visibility = 'private' FROM archives a WHERE a.broadcast_id = b.id)"

struct broadcast_query {
    enum broadcast_state state; /* BROADCAST_UNKNOWN: any */
    char owner_id[ID_SIZE];     /* "": any */
    struct http_page page;      /* by created_at_ms and id */
};

int user_row_insert(struct db_connection *connection, const char *id, const char *name, const char *role,
                    int64_t now_ms);
#define BROADCASTS_WAITING_MAX                                                                                         \
    1000 /* of one owner, that have not been on air yet; older than a week they do not count */
enum { BROADCAST_TOO_MANY = -210 };

/* The user's row is made too when it is missing: a token of ours is all that a user needs. 0, a db_error, or
 * BROADCAST_TOO_MANY. */
int broadcast_row_insert(struct db_connection *connection, const struct broadcast_view *view, const char *key_hash,
                         int64_t grace_ms);
/* `found` false: no such row. */
int broadcast_row_load(struct db_connection *connection, const char *id, struct broadcast_view *view, bool *found);
/* As of its end; `audience` is left as it is where it says more, or where nothing stands. */
int audience_row_load(struct db_connection *connection, const char *id, struct audience *audience);
/* Newest first; `views` has room for query->limit + 1 rows, so that the caller sees whether there are more. */
int broadcast_row_list(struct db_connection *connection, const struct broadcast_query *query,
                       struct broadcast_view *views, size_t *count);
/* The next key, with the next number; the row stays locked until the commit. Nothing affected: it is over. */
int broadcast_row_set_key(struct db_connection *connection, const char *id, const char *key_hash, const uint8_t *sealed,
                          size_t sealed_len);
/* With what search finds it by. */
int broadcast_row_set_title(struct db_connection *connection, const char *id, const char *title,
                            const char *owner_name);
void broadcast_row_take(const struct db_result *result, size_t row, struct broadcast_view *view);
/* Writes the state if the row's version is lower. */
int broadcast_row_save_state(struct db_connection *connection, const struct broadcast_view *view);
/* `first` true: nobody has announced it before. */
int broadcast_row_announce(struct db_connection *connection, const char *id, int64_t now_ms, bool *first);
