/* POST /api/v1/broadcasts/{id}/stream_key: a new key; the old one is worth nothing from now on. Who is publishing with
 * it stays on air: the key is asked for when a line begins.
 *
 * MySQL says which key is the newest: its row is locked while it is renewed, and each key has a number. Redis is told
 * before the owner is answered, and by the key relay if that fails. Of two renewals at once the one that finds a newer
 * key in Redis shows that one: its own is worth nothing any more. */
#include "live_api.h"

#include "broadcast_row.h"
#include "broadcast_seed.h"
#include "key_relay.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"

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
    uint8_t key_sealed[SECRET_SEALED_MAX];
    size_t key_sealed_len;
    struct broadcast_seed seed; /* the row with the new key, as of the transaction that put it there */
    int code;
};

/* --- what the owner is shown --- */

static void on_fetched(int code, const struct redisReply *reply, void *context)
{
    struct key_job *job = context;

    if (code == 0)
        broadcast_view_overlay(&job->view, reply);
    http_reply_json(job->request, 200, broadcast_view_to_json(job->api, &job->view, true));
    free(job);
}

static void run_load(struct db_connection *connection, void *context)
{
    struct key_job *job = context;
    char id[ID_SIZE];
    bool found = false;

    strcpy(id, job->view.id);
    job->code = broadcast_row_load(connection, id, &job->view, &found);
    if (job->code == 0 && !found)
        job->code = KEY_NOT_FOUND;
}

static void on_loaded(int code, void *context)
{
    struct key_job *job = context;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
        free(job);
        return;
    }
    broadcast_view_fetch(job->api, job->view.id, on_fetched, job);
}

static void show_newest(struct key_job *job)
{
    if (live_api_submit(job->api, run_load, on_loaded, job) != 0)
        on_loaded(DB_FULL, job);
}

/* --- renewing --- */

static void reply_over(struct http_request *request)
{
    http_reply_error(request, 409, "broadcast_over", "the broadcast is over: it takes no more streams");
}

static void on_told(int code, const redisReply *reply, void *context)
{
    struct key_job *job = context;
    struct broadcast_seeded seeded;

    /* Redis away: the old hash goes on being known there until it is back; the caller has to know. */
    if (code != 0 || broadcast_seeded_read(reply, &seeded) != 0) {
        reply_unavailable(job->request, "Redis");
        free(job);
        return;
    }
    /* It has ended a moment ago; the row, not told yet, took the key, and loses it when the state is saved. */
    if (seeded.state == BROADCAST_ENDED || seeded.state == BROADCAST_ARCHIVED) {
        reply_over(job->request);
        free(job);
        return;
    }
    log_info("stream_key.renewed", log_str("broadcast", job->view.id), log_int("number", job->seed.key_version));
    if (seeded.key_version > job->seed.key_version)
        show_newest(job);
    else
        broadcast_view_fetch(job->api, job->view.id, on_fetched, job);
}

static int renew(struct db_connection *connection, struct key_job *job)
{
    bool found = false;
    int code = db_begin(connection);

    if (code == 0)
        code = broadcast_row_set_key(connection, job->view.id, job->key_hash, job->key_sealed, job->key_sealed_len);
    if (code == 0 && db_affected_rows(connection) == 0)
        code = KEY_OVER;
    if (code == 0)
        code = broadcast_seed_load(connection, job->view.id, &job->seed, &found);
    if (code == 0)
        code = key_relay_insert(connection, job->view.id);
    if (code == 0)
        code = db_commit(connection);
    if (code != 0)
        db_rollback(connection);
    return code;
}

static void run(struct db_connection *connection, void *context)
{
    struct key_job *job = context;

    run_load(connection, job);
    if (job->code == 0 && strcmp(job->view.owner_id, job->caller.subject) != 0)
        job->code = KEY_NOT_OWNER;
    if (job->code == 0)
        job->code = renew(connection, job);
    memcpy(job->view.key_sealed, job->key_sealed, sizeof(job->view.key_sealed));
    job->view.key_sealed_len = job->key_sealed_len;
}

static void done(int code, void *context)
{
    struct key_job *job = context;

    switch (code != 0 ? code : job->code) {
    case 0:
        broadcast_seed_send(job->api, &job->seed, "restored", on_told, job);
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
    job->key_sealed_len = secret_seal(api, key, job->key_sealed);
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
