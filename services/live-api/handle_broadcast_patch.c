/* PATCH /api/v1/broadcasts/{id} {"title"}: by the owner or an operator. The row first, then the hash in Redis. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "proto/scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct patch_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct broadcast_view view;
    char title[sizeof(((struct broadcast_view *)0)->title)];
    bool found, allowed;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct patch_job *job = context;
    char id[ID_SIZE];

    strcpy(id, job->view.id);
    job->code = broadcast_row_load(connection, id, &job->view, &job->found);
    job->allowed = strcmp(job->view.owner_id, job->caller.subject) == 0 || strcmp(job->caller.role, "operator") == 0;
    if (job->code == 0 && job->found && job->allowed)
        job->code = broadcast_row_set_title(connection, id, job->title, job->view.owner_name);
}

static void on_fetched(int code, const struct redisReply *reply, void *context)
{
    struct patch_job *job = context;

    if (code == 0)
        broadcast_view_overlay(&job->view, reply);
    strcpy(job->view.title, job->title);
    http_reply_json(job->request, 200,
                    broadcast_view_to_json(job->api, &job->view, strcmp(job->view.owner_id, job->caller.subject) == 0));
    free(job);
}

static void on_retitled(int code, const struct redisReply *reply, void *context)
{
    struct patch_job *job = context;

    if (code != 0) {
        /* The row has it, the hash, which everybody reads, has not: the caller repeats it. */
        reply_unavailable(job->request, "Redis");
        free(job);
        return;
    }
    log_info("broadcast.retitled", log_str("broadcast", job->view.id), log_str("by", job->caller.subject));
    broadcast_view_fetch(job->api, job->view.id, on_fetched, job);
}

static void done(int code, void *context)
{
    struct patch_job *job = context;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
    } else if (!job->found) {
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
    } else if (require_owner(job->request, &job->caller, job->view.owner_id, true)) {
        redis_link_script(job->api->redis, &script_broadcast_retitle, on_retitled, job, 2,
                          (const char *[]){job->view.id, job->title}, NULL);
        return;
    }
    free(job);
}

void handle_broadcast_patch(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const json_t *body;
    const char *id, *title;

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !(id = require_broadcast_id(request)) ||
        !(body = http_request_json(request)) || !(title = require_text(request, body, "title", TITLE_MAX_CHARS)))
        return;
    struct patch_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = caller;
    strcpy(job->view.id, id);
    snprintf(job->title, sizeof(job->title), "%s", title);
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
