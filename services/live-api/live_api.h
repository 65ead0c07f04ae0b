/* State of live-api: the public HTTP API of broadcasts, and the writer of their rows.
 *
 * Redis says what state a broadcast is in; MySQL keeps what must outlive it. A request for one broadcast is answered
 * from both: the row for what does not change, the hash for what does. With MySQL away, what Redis knows still is
 * answered. One file per endpoint (handle_*.c), broadcast_row.c for SQL, broadcast_view.c for JSON, state_saver.c and
 * reseed.c for keeping the two together. Loop thread only. */
#pragma once

#include "libcommon/access_token.h"
#include "libcommon/config.h"
#include "libcommon/db.h"
#include "libcommon/http_server.h"
#include "libcommon/redis_shards.h"
#include "proto/broadcast.h"
#include "proto/playback_url.h"

#include <stdbool.h>
#include <stdint.h>

struct redis_link;
struct redisReply;
struct service;
struct event;
struct live_list;
struct notice_waiters;
struct outbox_relay;
struct reseeder;
struct search_indexer;
struct state_saver;
struct subscriber;
struct webhook_sender;

#define STREAM_KEY_SIZE      41  /* "hk_" and 36 characters, with the NUL; room to spare */
#define STREAM_KEY_HASH_SIZE 65  /* SHA-256 in hex, with the NUL */
#define SECRET_SEALED_MAX    200 /* nonce, MAC and secret */
#define TITLE_MAX_CHARS      200
#define NAME_MAX_CHARS       50

struct live_api_config {
    struct config_listen listen;
    const char *redis_url;
    const char *chat_redis_url; /* "": the state Redis */
    const char *mysql_url;
    const char *jwt_secret;
    const char *key_seal_secret;
    const char *hls_secret;
    const char *rtmp_url;
    int64_t grace_ms;
    int64_t playback_window_s;
    int64_t token_s;
    int64_t platform_percent;
    const char *payment_secret; /* "": no payments */
    int64_t notice_waiters_max, notice_waiters_per_user;
    const char *public_url; /* "": as callers find us */
    bool webhook_private;
    int64_t webhook_timeout_ms, webhook_attempts, webhook_retry_ms, webhook_disable_ms, webhook_queue;
    bool local_mode;
};

struct live_api {
    struct live_api_config config;
    struct service *service;
    struct http_server *http;
    struct redis_link *redis;
    struct redis_shards chat_redis;
    struct subscriber *subscriber;
    struct db *db;
    struct state_saver *saver;
    struct reseeder *reseeder;
    struct live_list *live_list;
    struct outbox_relay *gifts;
    struct notice_waiters *notice_waiters;
    struct search_indexer *search_indexer;
    struct webhook_sender *webhook_sender;
    struct outbox_relay *announcer;
    struct outbox_relay *keys;
    struct event *drain_poll;
    uint8_t seal_key[32];
};

extern const struct config_row live_api_config_rows[];

/* Whose URLs live-api gives out: see proto/playback_url.h. */
static inline struct playback_signer live_api_signer(const struct live_api *api)
{
    return (struct playback_signer){api->config.hls_secret, api->config.playback_window_s};
}

/* As db_submit(); DB_FULL when the database has been taken down already: Redis' last callbacks come after that. */
static inline int live_api_submit(struct live_api *api, db_run_fn run, db_done_fn done, void *job)
{
    return api->db ? db_submit(api->db, run, done, job) : DB_FULL;
}

/* A broadcast as it is answered: filled from the row, then from the hash (which wins for state and version). */
struct broadcast_view {
    char id[ID_SIZE];
    char title[TITLE_MAX_CHARS * 4 + 1];
    char owner_id[ID_SIZE];
    char owner_name[sizeof(((struct access_token *)0)->name)];
    enum broadcast_state state;
    int64_t version;
    int64_t created_at_ms;
    int64_t live_at_ms;  /* 0: never was */
    int64_t ended_at_ms; /* 0: has not */
    bool is_private;     /* its recording is reached by sealed URL only: see archive */
    uint8_t key_sealed[SECRET_SEALED_MAX];
    size_t key_sealed_len; /* 0: none */
};

/* Who watches it. */
struct audience {
    bool is_known;
    int64_t now, peak, unique;
};

/* --- broadcast_view.c --- */

/* `for_owner`: with stream key and RTMP address. */
json_t *broadcast_view_to_json(const struct live_api *api, const struct broadcast_view *view, bool for_owner);
/* The fields asked for by broadcast_view_fetch(), from an HMGET answer; false: Redis does not know it. */
bool broadcast_view_overlay(struct broadcast_view *view, const struct redisReply *reply);
/* Asks Redis for what overlays `id`'s view; `callback` as in redis_link.h. */
void broadcast_view_fetch(struct live_api *api, const char *id,
                          void (*callback)(int, const struct redisReply *, void *), void *context);

/* --- stream_key.c --- */

void stream_key_make(char key[STREAM_KEY_SIZE]);
void stream_key_hash(const char *key, char hash[STREAM_KEY_HASH_SIZE]);

/* --- sealed_secret.c --- */

/* At most 128 characters. Each time with a nonce of its own. */
size_t secret_seal(const struct live_api *api, const char *secret, uint8_t sealed[SECRET_SEALED_MAX]);
/* 0, or -1: not sealed with our secret, or longer than `secret` has room for. */
int secret_open(const struct live_api *api, const uint8_t *sealed, size_t len, char *secret, size_t secret_size);

/* --- validate.c --- */

/* The string member `name` of `body`, 1 to `max_chars` characters without control characters; NULL: 400 has been
 * answered. */
const char *require_text(struct http_request *request, const json_t *body, const char *name, size_t max_chars);
/* The {id} of the path; NULL: 404 has been answered. */
const char *require_broadcast_id(struct http_request *request);
/* True for the owner; else, or when operators may too and the caller is none, 403 has been answered. */
bool require_owner(struct http_request *request, const struct access_token *caller, const char *owner_id,
                   bool or_operator);
/* 503 with Retry-After. */
void reply_unavailable(struct http_request *request, const char *what);

/* --- gift_relay.c --- */

/* Takes gifts from the outbox (outbox.h) to the chat. */
struct outbox_relay *gift_relay_create(struct live_api *api);

/* --- endpoints --- */

void handle_session_post(struct http_request *request, void *context);
void handle_broadcast_post(struct http_request *request, void *context);
void handle_broadcast_list(struct http_request *request, void *context);
void handle_broadcast_get(struct http_request *request, void *context);
void handle_broadcast_patch(struct http_request *request, void *context);
void handle_broadcast_end(struct http_request *request, void *context);
void handle_stream_key_post(struct http_request *request, void *context);
void handle_item_list(struct http_request *request, void *context);
void handle_wallet_get(struct http_request *request, void *context);
void handle_wallet_topup(struct http_request *request, void *context);
void handle_ledger_list(struct http_request *request, void *context);
void handle_ledger_audit(struct http_request *request, void *context);
void handle_purchase_post(struct http_request *request, void *context);
void handle_purchase_list(struct http_request *request, void *context);
void handle_supporters(struct http_request *request, void *context);
void handle_payment_webhook(struct http_request *request, void *context);
void handle_follow_put(struct http_request *request, void *context);
void handle_follow_delete(struct http_request *request, void *context);
void handle_follow_get(struct http_request *request, void *context);
void handle_follow_list(struct http_request *request, void *context);
void handle_notifications_get(struct http_request *request, void *context);
void handle_notifications_read(struct http_request *request, void *context);
void handle_search(struct http_request *request, void *context);
void handle_oembed(struct http_request *request, void *context);
void handle_preview(struct http_request *request, void *context);
void handle_webhook_post(struct http_request *request, void *context);
void handle_webhook_list(struct http_request *request, void *context);
void handle_webhook_delete(struct http_request *request, void *context);
void handle_webhook_deliveries(struct http_request *request, void *context);
