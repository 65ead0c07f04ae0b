/* GET /api/v1/broadcasts?state=&owner=me&limit=&cursor=: newest first. Who is live comes from Redis alone
 * (live_list.h). Of the others the rows say which, and Redis what state they are in now: one that has left the
 * asked-for state since its row was written is left out. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/redis_link.h"
#include "live_list.h"

#include <stdio.h>
#include <string.h>

struct list_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct broadcast_query query;
    struct broadcast_view views[HTTP_PAGE_LIMIT_MAX + 1];
    size_t count;
    size_t overlaid;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct list_job *job = context;

    job->code = broadcast_row_list(connection, &job->query, job->views, &job->count);
}

static void answer(struct list_job *job)
{
    size_t shown = job->count < job->query.page.limit ? job->count : job->query.page.limit;
    const struct broadcast_view *last = shown ? &job->views[shown - 1] : NULL;
    json_t *list = json_array();

    for (size_t i = 0; i < shown; i++) {
        const struct broadcast_view *view = &job->views[i];
        bool is_owner = strcmp(job->caller.subject, view->owner_id) == 0;

        /* What its owner has made private is looked for by nobody else. */
        if ((job->query.state == BROADCAST_UNKNOWN || view->state == job->query.state) &&
            (!view->is_private || is_owner))
            json_array_append_new(list, broadcast_view_to_json(job->api, view, is_owner));
    }
    http_reply_json(job->request, 200,
                    http_page_to_json("broadcasts", list, job->count > shown, last ? last->created_at_ms : 0,
                                      last ? last->id : ""));
    free(job);
}

static void on_fetched(int code, const struct redisReply *reply, void *context)
{
    struct list_job *job = context;

    if (code == 0)
        broadcast_view_overlay(&job->views[job->overlaid], reply);
    /* Redis answers in order, so the answers need no numbers. */
    if (++job->overlaid == job->count)
        answer(job);
}

static void overlay_all(struct list_job *job)
{
    size_t count = job->count;

    for (size_t i = 0; i < count; i++)
        broadcast_view_fetch(job->api, job->views[i].id, on_fetched, job);
}

static bool is_behind(const struct broadcast_view *view, const struct http_page *page)
{
    return view->created_at_ms < page->before ||
           (view->created_at_ms == page->before && strcmp(view->id, page->before_key) < 0);
}

static void done(int code, void *context)
{
    struct list_job *job = context;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
        free(job);
    } else if (job->count == 0) {
        answer(job);
    } else {
        overlay_all(job);
    }
}

static void on_live(const struct broadcast_view *views, size_t count, void *context)
{
    struct list_job *job = context;
    const char *owner = job->query.owner_id;

    if (!views) { /* Redis is away: the rows know who was live */
        if (live_api_submit(job->api, run, done, job) != 0)
            done(DB_FULL, job);
        return;
    }
    for (size_t i = 0; i < count && job->count <= job->query.page.limit; i++)
        if ((!owner[0] || strcmp(owner, views[i].owner_id) == 0) && is_behind(&views[i], &job->query.page))
            job->views[job->count++] = views[i];
    answer(job);
}

/* False: the request has been answered. */
static bool parse_query(struct http_request *request, struct list_job *job)
{
    const char *state = http_request_query(request, "state");
    const char *owner = http_request_query(request, "owner");

    if (!http_page_parse(request, &job->query.page))
        return false;
    job->query.state = broadcast_state_from_name(state);
    if (state && job->query.state == BROADCAST_UNKNOWN)
        http_reply_error(request, 400, "invalid_value", "state must be scheduled, live, suspended, ended or archived");
    else if (owner && strcmp(owner, "me") != 0)
        http_reply_error(request, 400, "invalid_value", "owner can only be me");
    else if (owner && !job->caller.subject[0])
        (void)http_auth_require(request, job->api->config.jwt_secret, &job->caller); /* answers 401 */
    else {
        if (owner)
            snprintf(job->query.owner_id, sizeof(job->query.owner_id), "%s", job->caller.subject);
        return true;
    }
    return false;
}

void handle_broadcast_list(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct list_job *job = alloc_zero(1, sizeof(*job));

    job->api = api;
    job->request = request;
    if (!http_auth_optional(request, api->config.jwt_secret, &job->caller) || !parse_query(request, job)) {
        free(job);
        return;
    }
    if (job->query.state == BROADCAST_LIVE)
        live_list_get(api->live_list, on_live, job);
    else if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
