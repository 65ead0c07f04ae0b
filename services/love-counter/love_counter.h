/* State of love-counter: taps come in batches, are counted in Redis before they are answered, told to the chat once a
 * second and written to MySQL, each tap exactly once.
 *
 * The way of a batch: handle_loves_post.c (who, what) -> batch_writer.c (what has gathered goes to Redis in one call,
 * then the answers). keeper.c holds the leases of the broadcasts with hearts: it tells the total (once a second),
 * keeper_flush.c writes it to MySQL and, when the broadcast is over, settles it. love_rows.c is the SQL. Loop thread
 * only, except where it says "on a database worker". */
#pragma once

#include "libcommon/access_token.h"
#include "libcommon/config.h"
#include "libcommon/http_server.h"
#include "libcommon/redis_shards.h"
#include "proto/broadcast.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct answer_cache;
struct batch_writer;
struct db;
struct db_connection;
struct event;
struct keeper;
struct metric;
struct redis_link;
struct service;
struct subscriber;
struct token_memory;

#define LOVE_RANKING_MAX 100
#define LOVE_WINDOW_S    300 /* a batch sent again is known for at least this long */
#define LOVE_TICKS_KEPT  20000
#define LOVE_TOKENS_KEPT 8192
#define LOVE_NAME_MAX    (sizeof(((struct access_token *)0)->name))

struct love_counter_config {
    struct config_listen listen;
    const char *redis_url, *chat_redis_url, *mysql_url, *jwt_secret;
    int64_t rate_per_s, burst;
    int64_t batches_per_s, batches_burst;
    int64_t group_max, group_pending_max;
    int64_t flush_users;
};
extern const struct config_row love_counter_config_rows[];

struct love_counter {
    struct love_counter_config config;
    struct service *service;
    struct http_server *http;
    struct redis_link *redis;       /* state: where hearts are counted */
    struct redis_shards chat_redis; /* where the chat hears of them; may be the same one */
    struct subscriber *subscriber;
    struct db *db;
    struct batch_writer *writer;
    struct keeper *keeper;
    struct token_memory *tokens;  /* of those who tap: each comes every few seconds */
    struct answer_cache *answers; /* of broadcasts that are over */
    struct event *drain_poll;
};

/* --- batch_writer.c: a group commit --- */

struct love_batch {
    const char *broadcast, *user, *name, *batch_id;
    int count;
};

struct batch_writer *batch_writer_create(struct love_counter *counter);
/* Answers the request when Redis has counted the batch, or says why not. `batch` is copied. */
void batch_writer_add(struct batch_writer *writer, struct http_request *request, const struct love_batch *batch);
/* After the link has called back. NULL is fine. */
void batch_writer_destroy(struct batch_writer *writer);

/* --- keeper.c, keeper_flush.c, keeper_seed.c --- */

struct keeper *keeper_create(struct love_counter *counter);
/* Takes no new broadcast, and lets go of those it has when their step under way is done. */
void keeper_drain(struct keeper *keeper);
bool keeper_is_idle(const struct keeper *keeper);
/* After the database and the links have called back. NULL is fine. */
void keeper_destroy(struct keeper *keeper);

/* --- answer_cache.c: what MySQL answered about a broadcast that is over, for a while, so that an archive that many
 * open at once asks it once --- */

struct answer_cache *answer_cache_create(void);
void answer_cache_destroy(struct answer_cache *cache);
/* `limit` 0: the total, else the ranking. The body, valid until the next call; NULL: not known, or too old. */
const char *answer_cache_get(struct answer_cache *cache, const char *broadcast, int limit, int64_t now_ms);
void answer_cache_put(struct answer_cache *cache, const char *broadcast, int limit, const char *body, int64_t now_ms);

/* --- love_rows.c: on a database worker --- */

struct love_tick {
    int64_t at_ms, total;
};

struct love_user {
    char id[ID_SIZE];
    char name[LOVE_NAME_MAX];
    int64_t taps;
};

/* In one transaction; what is there already only rises. `settle`: this is all there will be. 0 or a db_error. */
int love_rows_write(struct db_connection *connection, const char *broadcast, int64_t total,
                    const struct love_tick *ticks, size_t tick_count, const struct love_user *users, size_t user_count,
                    bool settle, int64_t now_ms);

/* Broadcasts on air with hearts, behind `after` in the order of their ids. 0 or a db_error, as is the next. */
int love_rows_unsettled(struct db_connection *connection, const char *after, char (*ids)[ID_SIZE], size_t max,
                        size_t *count);
/* The total, and up to `max` users behind `behind` in the order of their ids. */
int love_rows_read(struct db_connection *connection, const char *broadcast, const char *behind, int64_t *total,
                   struct love_user *users, size_t max, size_t *count);

/* --- endpoints --- */

void handle_loves_post(struct http_request *request, void *context);
void handle_loves_get(struct http_request *request, void *context);
void handle_ranking_get(struct http_request *request, void *context);

/* The {id} of the path; NULL: 404 has been answered. */
const char *love_require_broadcast(struct http_request *request);
/* 503 with Retry-After. */
void love_reply_unavailable(struct http_request *request, const char *what);
