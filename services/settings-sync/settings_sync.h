/* State of the settings-sync service: HTTP in, a row with the next version in MySQL, a message to every chat process.
 *
 * The way of a setting: handle_*.c checks who may do it -> setting_change.c writes row and version in one transaction,
 * then publishes -> chat hears it. One file per endpoint; a new kind costs a row in proto/setting.c and an endpoint
 * here. Loop thread only. */
#pragma once

#include "libcommon/access_token.h"
#include "libcommon/config.h"
#include "libcommon/http_server.h"
#include "proto/setting.h"

struct db;
struct metric;
struct rate_table;
struct redis_link;
struct service;

#define SETTINGS_RATES_KEPT 16384 /* users whose rate is known at the same time: 1.5 MB */

struct settings_sync_config {
    struct config_listen listen;
    const char *redis_url;
    const char *mysql_url;
    const char *jwt_secret;
    int64_t rate_burst, rate_per_10s;
};

struct settings_sync {
    struct settings_sync_config config;
    struct service *service;
    struct http_server *http;
    struct redis_link *redis;
    struct db *db;
    struct rate_table *rates; /* of changes, by user */
    struct metric *limited, *rates_forgotten;
};

extern const struct config_row settings_sync_config_rows[];

/* Who may change a setting is checked inside the same transaction by `allowed`; NULL: anybody who got this far. It runs
 * on a database worker and returns 0, DB errors, or SETTING_FORBIDDEN / SETTING_NO_SUCH. */
struct db_connection;
struct setting_change;
typedef int (*setting_allowed_fn)(struct db_connection *connection, const struct setting_change *change);
enum { SETTING_FORBIDDEN = -100, SETTING_NO_SUCH = -101, SETTING_TOO_MANY = -102 };

/* Of one kind and subject (whom somebody blocks, who is muted in a broadcast), those that were lifted among them: each
 * stands in the memory of every chat process, or has to be read when one starts. */
#define SETTINGS_MAX_PER_SUBJECT 10000

struct setting_change {
    const struct setting_kind *kind;
    char subject[ID_SIZE];
    char object[ID_SIZE];
    char *value; /* JSON text, owned; NULL deletes */
    char caller[ID_SIZE];
    bool is_operator;
    setting_allowed_fn allowed;
    unsigned success_status; /* of the HTTP answer */
};

/* Takes `change->value` and the request: answers it with {"version"} after the row is committed and the message
 * published; with 429 when its caller has made too many changes just now. */
void setting_change_submit(struct settings_sync *sync, struct http_request *request, struct setting_change *change);

/* `allowed` for kinds whose subject is a broadcast: its owner, or an operator. */
int allowed_to_owner_of_broadcast(struct db_connection *connection, const struct setting_change *change);

void handle_decoration_put(struct http_request *request, void *context);
void handle_decoration_delete(struct http_request *request, void *context);
void handle_block_put(struct http_request *request, void *context);
void handle_block_delete(struct http_request *request, void *context);
void handle_words_put(struct http_request *request, void *context);
void handle_words_delete(struct http_request *request, void *context);
void handle_mute_put(struct http_request *request, void *context);
void handle_mute_delete(struct http_request *request, void *context);
void handle_ban_put(struct http_request *request, void *context);
void handle_ban_delete(struct http_request *request, void *context);
void handle_slow_mode_put(struct http_request *request, void *context);
void handle_slow_mode_delete(struct http_request *request, void *context);
void handle_notice_post(struct http_request *request, void *context);
void handle_notices_get(struct http_request *request, void *context);
void handle_settings_get(struct http_request *request, void *context);
