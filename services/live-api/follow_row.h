/* The SQL of followers and of the notices they get. On database workers only; every function returns 0 or a db_error.
 *
 * A broadcast's start is one row, whatever the number of followers: whose notice it is, is decided when somebody reads
 * (who follows its owner, and did so before). So a million followers cost nothing when a broadcast starts, and everyone
 * has the notice exactly once. */
#pragma once

#include "live_api.h"

struct db_connection;

#define FOLLOW_LIST_MAX 100
#define FOLLOWS_MAX     2000 /* whom one user may follow: bounds what reading one's notices costs */
#define NOTICE_AGE_MS   (30LL * 86400 * 1000)

enum follow_error { FOLLOW_NO_SUCH_USER = -300, FOLLOW_TOO_MANY = -301 };

struct follow_view {
    char user_id[ID_SIZE];
    char name[sizeof(((struct access_token *)0)->name)];
    int64_t followed_at_ms; /* 0: not followed */
    int64_t followers;
};

struct notice_view {
    int64_t sequence;
    char broadcast_id[ID_SIZE];
    char title[TITLE_MAX_CHARS * 4 + 1];
    enum broadcast_state state;
    char owner_id[ID_SIZE];
    char owner_name[sizeof(((struct access_token *)0)->name)];
    int64_t at_ms;
    bool is_unread;
};

/* Also a follow_error. Twice is once; the time of the first stays. */
int follow_row_insert(struct db_connection *connection, const char *follower_id, const char *user_id, int64_t now_ms);
/* Also FOLLOW_NO_SUCH_USER. */
int follow_row_delete(struct db_connection *connection, const char *follower_id, const char *user_id);
/* Also FOLLOW_NO_SUCH_USER. `follower_id` may be "". */
int follow_row_load(struct db_connection *connection, const char *follower_id, const char *user_id,
                    struct follow_view *view);
/* Whom one follows, the last followed first, from before (`before_ms`, `before_id`); `views` has room for limit + 1. */
int follow_row_list(struct db_connection *connection, const char *follower_id, int64_t before_ms, const char *before_id,
                    size_t limit, struct follow_view *views, size_t *count);
/* Which of `ids` (at most FOLLOW_WHICH_MAX) followed `user_id` by `at_ms`: `follows[i]`. */
#define FOLLOW_WHICH_MAX 500
int follow_row_which(struct db_connection *connection, const char *user_id, int64_t at_ms, const char *const *ids,
                     size_t count, bool *follows);

/* In the transaction that announces the broadcast. */
int notice_row_insert(struct db_connection *connection, const char *broadcast_id, const char *owner_id, int64_t now_ms);

struct notice_query {
    int64_t since;  /* only later than this sequence */
    int64_t before; /* only earlier than this one; 0: from the newest */
    bool only_unread;
    size_t limit; /* at most FOLLOW_LIST_MAX */
};
/* The newest first; `views` has room for limit + 1. */
int notice_row_list(struct db_connection *connection, const char *follower_id, const struct notice_query *query,
                    struct notice_view *views, size_t *count);
/* The notice of one broadcast; DB_FAILED: there is none. */
int notice_row_load(struct db_connection *connection, const char *broadcast_id, struct notice_view *view);
/* How many are unread (counted to 100 at most), and the highest sequence that there is. */
int notice_row_counts(struct db_connection *connection, const char *follower_id, int64_t *unread, int64_t *latest);
/* Never goes back, and never beyond what there is. */
int notice_row_mark_read(struct db_connection *connection, const char *follower_id, int64_t sequence);
