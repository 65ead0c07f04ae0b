/* POST /api/v1/broadcasts/{id}/end: the owner, or an operator. Redis alone decides, so it works with MySQL
 * away; the row is asked only about what Redis does not know. */
#include "live_api.h"

#include "broadcast_row.h"
#include "broadcast_seed.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

struct end_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct broadcast_view view;
    bool found;
    int code;
};

static void on_ended(int code, const redisReply *reply, void *context)
{
    struct end_job *job = context;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        reply_unavailable(job->request, "Redis");
    } else {
        /* "illegal": it was over already, which is what was asked for. */
        job->view.state = broadcast_state_from_name(reply->element[1]->str);
        job->view.version = atoll(reply->element[2]->str);
        log_info("broadcast.ended", log_str("broadcast", job->view.id), log_str("by", job->caller.subject));
        http_reply_json(job->request, 200, broadcast_view_to_json(job->api, &job->view, false));
    }
    free(job);
}

static void end_in_redis(struct end_job *job)
{
    const char *by = strcmp(job->view.owner_id, job->caller.subject) == 0 ? "owner" : "operator";

    redis_link_script(job->api->redis, &script_broadcast_end, on_ended, job, 3,
                      (const char *[]){job->view.id, by, http_request_id(job->request)}, NULL);
}

/* --- Redis does not know it: over for long, waiting for longer than Redis keeps it, never there, or lost --- */

static void on_restored(int code, const redisReply *reply, void *context)
{
    struct end_job *job = context;

    if (code == 0) {
        end_in_redis(job);
    } else {
        reply_unavailable(job->request, "Redis");
        free(job);
    }
}

/* It has to be in Redis to be ended there. Its stream key is over with it, so it comes back without. */
static void restore(struct end_job *job)
{
    const struct broadcast_seed seed = broadcast_seed_of(&job->view);

    broadcast_seed_send(job->api, &seed, "restored", on_restored, job);
}

static void run(struct db_connection *connection, void *context)
{
    struct end_job *job = context;
    char id[ID_SIZE];

    strcpy(id, job->view.id);
    job->code = broadcast_row_load(connection, id, &job->view, &job->found);
}

static void done(int code, void *context)
{
    struct end_job *job = context;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
    } else if (!job->found) {
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
    } else if (require_owner(job->request, &job->caller, job->view.owner_id, true)) {
        if (job->view.state != BROADCAST_ENDED && job->view.state != BROADCAST_ARCHIVED) {
            restore(job);
            return;
        }
        http_reply_json(job->request, 200, broadcast_view_to_json(job->api, &job->view, false));
    }
    free(job);
}

/* --- the usual way --- */

static void on_fetched(int code, const redisReply *reply, void *context)
{
    struct end_job *job = context;

    if (code != 0) {
        reply_unavailable(job->request, "Redis");
    } else if (!broadcast_view_overlay(&job->view, reply)) {
        if (live_api_submit(job->api, run, done, job) != 0)
            done(DB_FULL, job);
        return;
    } else if (require_owner(job->request, &job->caller, job->view.owner_id, true)) {
        end_in_redis(job);
        return;
    }
    free(job);
}

void handle_broadcast_end(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const char *id;

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !(id = require_broadcast_id(request)))
        return;
    struct end_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = caller;
    strcpy(job->view.id, id);
    broadcast_view_fetch(api, job->view.id, on_fetched, job);
}
