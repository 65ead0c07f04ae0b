/* GET /api/v1/broadcasts/{id}: from Redis, so that a crowd that opens the page does not reach MySQL; the row is read
 * for the owner (who sees the stream key) and for what Redis does not know, as who watched what is long over. With one
 * of the two away: what the other knows. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

struct get_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct broadcast_view view; /* from Redis, if `known` */
    struct broadcast_view row;  /* from MySQL, if `found` */
    struct audience audience;
    bool known, found;
    int code;
};

static void answer(struct get_job *job)
{
    bool is_owner = strcmp(job->caller.subject, job->view.owner_id) == 0;
    const struct audience *audience = &job->audience;
    json_t *object = broadcast_view_to_json(job->api, &job->view, is_owner);

    json_object_set_new(object, "audience",
                        audience->is_known
                            ? json_pack("{s:I,s:I,s:I}", "now", (json_int_t)audience->now, "peak",
                                        (json_int_t)audience->peak, "unique", (json_int_t)audience->unique)
                            : json_null());
    http_reply_json(job->request, 200, object);
    free(job);
}

static void run(struct db_connection *connection, void *context)
{
    struct get_job *job = context;

    job->code = broadcast_row_load(connection, job->view.id, &job->row, &job->found);
    if (job->code == 0 && job->found)
        job->code = audience_row_load(connection, job->view.id, &job->audience);
}

static void done(int code, void *context)
{
    struct get_job *job = context;

    if (job->found && job->known) {
        memcpy(job->view.key_sealed, job->row.key_sealed, sizeof(job->view.key_sealed));
        job->view.key_sealed_len = job->row.key_sealed_len;
        answer(job);
    } else if (job->found) {
        job->view = job->row;
        answer(job);
    } else if (job->known) {
        answer(job);
    } else {
        if (code != 0 || job->code != 0)
            reply_unavailable(job->request, "the database");
        else
            http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
        free(job);
    }
}

static bool is_over(const struct broadcast_view *view)
{
    return view->state == BROADCAST_ENDED || view->state == BROADCAST_ARCHIVED;
}

static void on_audience(int code, const struct redisReply *reply, void *context)
{
    struct get_job *job = context;

    if (code == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3)
        job->audience =
            (struct audience){true, reply->element[0]->integer, reply->element[1]->integer, reply->element[2]->integer};
    bool is_forgotten = is_over(&job->view) && job->audience.peak == 0;
    if (job->known && !is_forgotten && strcmp(job->caller.subject, job->view.owner_id) != 0)
        answer(job);
    else if (live_api_submit(job->api, run, done, job) != 0)
        done(DB_FULL, job);
}

static void on_fetched(int code, const struct redisReply *reply, void *context)
{
    struct get_job *job = context;

    job->known = code == 0 && broadcast_view_overlay(&job->view, reply);
    redis_link_script(redis_shards_link(&job->api->chat_redis, job->view.id), &script_audience_figures, on_audience,
                      job, 1, (const char *[]){job->view.id}, NULL);
}

void handle_broadcast_get(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const char *id;

    if (!http_auth_optional(request, api->config.jwt_secret, &caller) || !(id = require_broadcast_id(request)))
        return;
    struct get_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = caller;
    strcpy(job->view.id, id);
    broadcast_view_fetch(api, job->view.id, on_fetched, job);
}
