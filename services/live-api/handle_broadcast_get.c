/* GET /api/v1/broadcasts/{id}: the row overlaid with Redis; with one of the two away, what the other knows. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/redis_link.h"

#include <stdlib.h>
#include <string.h>

struct get_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct broadcast_view view;
    bool found;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct get_job *job = context;
    char id[ID_SIZE];

    strcpy(id, job->view.id);
    job->code = broadcast_row_load(connection, id, &job->view, &job->found);
    strcpy(job->view.id, id);
}

static void on_fetched(int code, const struct redisReply *reply, void *context)
{
    struct get_job *job = context;
    bool known = code == 0 && broadcast_view_overlay(&job->view, reply);

    if (job->found || known)
        http_reply_json(
            job->request, 200,
            broadcast_view_to_json(job->api, &job->view, strcmp(job->caller.subject, job->view.owner_id) == 0));
    else if (job->code != 0)
        reply_unavailable(job->request, "the database");
    else
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
    free(job);
}

static void done(int code, void *context)
{
    struct get_job *job = context;

    job->code = code != 0 ? code : job->code;
    broadcast_view_fetch(job->api, job->view.id, on_fetched, job);
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
    if (db_submit(api->db, run, done, job) != 0)
        done(DB_FULL, job);
}
