/* GET /api/v1/search?q=&state=&limit=&cursor=: broadcasts that can be watched, by words of title or broadcaster's name.
 */
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct search_job {
    struct live_api *api;
    struct http_request *request;
    struct search_query query;
    struct broadcast_view views[HTTP_PAGE_LIMIT_MAX + 1];
    size_t count;
    int code;
};

static void finish(struct search_job *job)
{
    search_query_clear(&job->query);
    free(job);
}

static void run(struct db_connection *connection, void *context)
{
    struct search_job *job = context;

    job->code = search_run(connection, &job->query, job->views, &job->count);
}

static void done(int code, void *context)
{
    struct search_job *job = context;
    size_t shown = job->count < job->query.page.limit ? job->count : job->query.page.limit;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
        finish(job);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < shown; i++)
        json_array_append_new(list, broadcast_view_to_json(job->api, &job->views[i], false));
    const struct broadcast_view *last = shown > 0 ? &job->views[shown - 1] : NULL;
    http_reply_json(job->request, 200,
                    http_page_to_json("broadcasts", list, job->count > shown, last ? last->created_at_ms : 0,
                                      last ? last->id : ""));
    finish(job);
}

/* False: the request has been answered. */
static bool parse_query(struct http_request *request, struct search_job *job)
{
    const char *text = http_request_query(request, "q"), *state = http_request_query(request, "state");

    job->query.state = broadcast_state_from_name(state);
    if (!http_page_parse(request, &job->query.page))
        return false;
    if (state && job->query.state == BROADCAST_UNKNOWN)
        http_reply_error(request, 400, "invalid_value", "state must be scheduled, live, suspended, ended or archived");
    else if (!text || strlen(text) > SEARCH_QUERY_MAX_CHARS * 4 || search_query_init(&job->query, text) != 0)
        http_reply_error(request, 400, "invalid_value", "q must be 1 to 8 words, at most 400 bytes");
    else
        return true;
    return false;
}

void handle_search(struct http_request *request, void *context)
{
    struct search_job *job = alloc_zero(1, sizeof(*job));

    job->api = context;
    job->request = request;
    if (!parse_query(request, job)) {
        finish(job);
        return;
    }
    if (live_api_submit(job->api, run, done, job) != 0)
        done(DB_FULL, job);
}
