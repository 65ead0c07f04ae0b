/* POST /api/v1/broadcasts/{id}/stream_key: a new key; the old one is worth nothing from now on. Who is publishing with
 * it stays on air: the key is asked for when a line begins. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_NOT_FOUND = -200, KEY_NOT_OWNER = -201, KEY_OVER = -202 };

struct key_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct broadcast_view view;
    char key_hash[STREAM_KEY_HASH_SIZE];
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct key_job *job = context;
    struct broadcast_view fresh = job->view;
    bool found = false;

    job->code = broadcast_row_load(connection, job->view.id, &fresh, &found);
    if (job->code == 0 && !found)
        job->code = KEY_NOT_FOUND;
    else if (job->code == 0 && strcmp(fresh.owner_id, job->caller.subject) != 0)
        job->code = KEY_NOT_OWNER;
    else if (job->code == 0)
        job->code = broadcast_row_set_key(connection, job->view.id, job->key_hash, job->view.key_sealed,
                                          job->view.key_sealed_len);
    if (job->code == 0 && db_affected_rows(connection) == 0)
        job->code = KEY_OVER;
    memcpy(fresh.key_sealed, job->view.key_sealed, sizeof(fresh.key_sealed));
    fresh.key_sealed_len = job->view.key_sealed_len;
    if (job->code == 0)
        job->view = fresh;
}

static void on_fetched(int code, const struct redisReply *reply, void *context)
{
    struct key_job *job = context;

    if (code == 0)
        broadcast_view_overlay(&job->view, reply);
    http_reply_json(job->request, 200, broadcast_view_to_json(job->api, &job->view, true));
    free(job);
}

static void reply_over(struct http_request *request)
{
    http_reply_error(request, 409, "broadcast_over", "the broadcast is over: it takes no more streams");
}

static void on_renewed(int code, const redisReply *reply, void *context)
{
    struct key_job *job = context;

    /* Redis away: the old hash goes on being known there until it is back; the caller has to know. */
    if (code != 0) {
        reply_unavailable(job->request, "Redis");
        free(job);
        return;
    }
    /* It has ended a moment ago; the row, not told yet, took the key, and loses it when the state is saved. */
    if (reply->type == REDIS_REPLY_INTEGER && reply->integer < 0) {
        reply_over(job->request);
        free(job);
        return;
    }
    log_info("stream_key.renewed", log_str("broadcast", job->view.id));
    broadcast_view_fetch(job->api, job->view.id, on_fetched, job);
}

static void done(int code, void *context)
{
    struct key_job *job = context;

    switch (code != 0 ? code : job->code) {
    case 0:
        redis_link_script(job->api->redis, &script_stream_key_renew, on_renewed, job, 2,
                          (const char *[]){job->view.id, job->key_hash}, NULL);
        return;
    case KEY_NOT_FOUND:
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
        break;
    case KEY_NOT_OWNER:
        http_reply_error(job->request, 403, "not_the_owner", "only the owner may renew the stream key");
        break;
    case KEY_OVER:
        reply_over(job->request);
        break;
    default:
        reply_unavailable(job->request, "the database");
    }
    free(job);
}

void handle_stream_key_post(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const char *id;
    char key[STREAM_KEY_SIZE];

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !(id = require_broadcast_id(request)))
        return;
    struct key_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = caller;
    strcpy(job->view.id, id);
    stream_key_make(key);
    stream_key_hash(key, job->key_hash);
    job->view.key_sealed_len = secret_seal(api, key, job->view.key_sealed);
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
