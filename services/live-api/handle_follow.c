/* PUT, DELETE and GET /api/v1/follows/{user_id}: whether the caller follows a user, and how many do.
 * GET /api/v1/follows?limit=&cursor=: whom the caller follows, the last followed first. */
#include "live_api.h"

#include "follow_row.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/http_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 5 /* two transactions may want each other's locks */

enum follow_change { FOLLOW_LOOK, FOLLOW_SET, FOLLOW_CLEAR };

struct follow_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    char user_id[ID_SIZE];
    enum follow_change change;
    struct follow_view view;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct follow_job *job = context;

    for (int i = 0; i < ATTEMPTS; i++) {
        if (job->change == FOLLOW_SET)
            job->code = follow_row_insert(connection, job->caller.subject, job->user_id, clock_wall_ms());
        else if (job->change == FOLLOW_CLEAR)
            job->code = follow_row_delete(connection, job->caller.subject, job->user_id);
        if (job->code != DB_CONFLICT)
            break;
    }
    if (job->code == 0)
        job->code = follow_row_load(connection, job->caller.subject, job->user_id, &job->view);
}

static void done(int code, void *context)
{
    struct follow_job *job = context;

    switch (code != 0 ? code : job->code) {
    case 0:
        http_reply_json(job->request, 200,
                        json_pack("{s:{s:s,s:s},s:b,s:I}", "user", "id", job->view.user_id, "name", job->view.name,
                                  "following", job->view.followed_at_ms > 0, "followers",
                                  (json_int_t)job->view.followers));
        break;
    case FOLLOW_NO_SUCH_USER:
        http_reply_error(job->request, 404, "no_such_user", "there is no user with this id");
        break;
    case FOLLOW_TOO_MANY:
        http_reply_error(job->request, 409, "too_many_follows", "nobody can follow more than 2,000 users");
        break;
    default:
        reply_unavailable(job->request, "the database");
    }
    free(job);
}

static void start(struct live_api *api, struct http_request *request, const struct access_token *caller,
                  enum follow_change change)
{
    const char *user_id = http_request_param(request, "user_id");

    if (!id_is_valid(user_id)) {
        http_reply_error(request, 404, "no_such_user", "there is no user with this id");
        return;
    }
    if (change == FOLLOW_SET && strcmp(user_id, caller->subject) == 0) {
        http_reply_error(request, 400, "not_oneself", "nobody can follow oneself");
        return;
    }
    struct follow_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = *caller;
    job->change = change;
    strcpy(job->user_id, user_id);
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}

void handle_follow_put(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;

    if (http_auth_require(request, api->config.jwt_secret, &caller))
        start(api, request, &caller, FOLLOW_SET);
}

void handle_follow_delete(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;

    if (http_auth_require(request, api->config.jwt_secret, &caller))
        start(api, request, &caller, FOLLOW_CLEAR);
}

void handle_follow_get(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;

    if (http_auth_optional(request, api->config.jwt_secret, &caller))
        start(api, request, &caller, FOLLOW_LOOK);
}

/* --- the list --- */

struct follow_list_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct http_page page;
    struct follow_view views[FOLLOW_LIST_MAX + 1];
    size_t count;
    int code;
};

static void run_list(struct db_connection *connection, void *context)
{
    struct follow_list_job *job = context;

    job->code = follow_row_list(connection, job->caller.subject, job->page.before, job->page.before_key,
                                job->page.limit, job->views, &job->count);
}

static void done_list(int code, void *context)
{
    struct follow_list_job *job = context;
    size_t shown = job->count < job->page.limit ? job->count : job->page.limit;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
        free(job);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < shown; i++) {
        const struct follow_view *view = &job->views[i];

        json_array_append_new(list, json_pack("{s:{s:s,s:s},s:I,s:I}", "user", "id", view->user_id, "name", view->name,
                                              "followed_at_ms", (json_int_t)view->followed_at_ms, "followers",
                                              (json_int_t)view->followers));
    }
    const struct follow_view *last = shown > 0 ? &job->views[shown - 1] : NULL;
    http_reply_json(job->request, 200,
                    http_page_to_json("follows", list, job->count > shown, last ? last->followed_at_ms : 0,
                                      last ? last->user_id : ""));
    free(job);
}

void handle_follow_list(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct follow_list_job *job = alloc_zero(1, sizeof(*job));

    job->api = api;
    job->request = request;
    if (!http_auth_require(request, api->config.jwt_secret, &job->caller) || !http_page_parse(request, &job->page)) {
        free(job);
        return;
    }
    if (live_api_submit(api, run_list, done_list, job) != 0)
        done_list(DB_FULL, job);
}
