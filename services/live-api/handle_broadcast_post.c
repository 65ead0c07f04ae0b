/* POST /api/v1/broadcasts: the row first, then Redis, then the answer with the stream key. A row whose hash could not
 * be made is found by ingest when somebody pushes, and by the next reseed. */
#include "live_api.h"

#include "broadcast_row.h"
#include "broadcast_seed.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "libcommon/random_id.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct create_job {
    struct live_api *api;
    struct http_request *request;
    struct broadcast_view view;
    char key_hash[STREAM_KEY_HASH_SIZE];
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct create_job *job = context;

    job->code = broadcast_row_insert(connection, &job->view, job->key_hash, job->api->config.grace_ms);
}

static void on_created(int code, const redisReply *reply, void *context)
{
    struct create_job *job = context;
    struct broadcast_seeded seeded;

    if (code == 0 && broadcast_seeded_read(reply, &seeded) == 0)
        job->view.version = seeded.version;
    else
        log_warn("broadcast.not_in_redis", log_str("broadcast", job->view.id),
                 log_str("why", redis_link_strerror(code)));
    log_info("broadcast.created", log_str("broadcast", job->view.id), log_str("owner", job->view.owner_id));
    http_reply_json(job->request, 201, broadcast_view_to_json(job->api, &job->view, true));
    free(job);
}

static void done(int code, void *context)
{
    struct create_job *job = context;
    struct broadcast_seed seed = broadcast_seed_of(&job->view);

    if (code == 0 && job->code == BROADCAST_TOO_MANY) {
        http_reply_error(job->request, 409, "too_many_broadcasts",
                         "1,000 of yours wait for their first picture: begin or end one of them");
        free(job);
        return;
    }
    if (code != 0 || job->code != 0) {
        log_warn("broadcast.not_created", log_str("why", db_strerror(code != 0 ? code : job->code)));
        reply_unavailable(job->request, "the database");
        free(job);
        return;
    }
    seed.grace_ms = job->api->config.grace_ms;
    strcpy(seed.key_hash, job->key_hash);
    seed.key_version = STREAM_KEY_FIRST;
    broadcast_seed_send(job->api, &seed, "created", on_created, job);
}

void handle_broadcast_post(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const json_t *body;
    const char *title;
    char key[STREAM_KEY_SIZE];

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !(body = http_request_json(request)) ||
        !(title = require_text(request, body, "title", TITLE_MAX_CHARS)))
        return;
    struct create_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    random_id(job->view.id);
    snprintf(job->view.title, sizeof(job->view.title), "%s", title);
    snprintf(job->view.owner_id, sizeof(job->view.owner_id), "%s", caller.subject);
    snprintf(job->view.owner_name, sizeof(job->view.owner_name), "%s", caller.name);
    job->view.state = BROADCAST_SCHEDULED;
    job->view.created_at_ms = clock_wall_ms();
    stream_key_make(key);
    stream_key_hash(key, job->key_hash);
    job->view.key_sealed_len = secret_seal(api, key, job->view.key_sealed);
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
