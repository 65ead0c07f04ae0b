/* GET /api/v1/archives?owner=me&limit=&cursor=: those that stand, the newest first; private ones only for their owner.
 */
#include "archive_http.h"
#include "archive_view.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"

#include <stdio.h>
#include <string.h>

struct list_job {
    struct archive *archive;
    struct http_request *request;
    struct access_token caller;
    struct archive_query query;
    struct archive_view views[HTTP_PAGE_LIMIT_MAX + 1];
    size_t count;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct list_job *job = context;

    job->code = archive_view_list(connection, &job->query, job->views, &job->count);
}

static void answer(struct list_job *job)
{
    size_t shown = job->count < job->query.page.limit ? job->count : job->query.page.limit;
    const struct archive_view *last = shown ? &job->views[shown - 1] : NULL;
    json_t *list = json_array();
    char token[ARCHIVE_TOKEN_SIZE];

    for (size_t i = 0; i < shown; i++) {
        const struct archive_view *view = &job->views[i];

        archive_token_make(job->archive, view->id, token);
        json_array_append_new(list, archive_view_to_json(job->archive, view, view->is_private ? token : NULL,
                                                         archive_view_is_owner(view, &job->caller, false)));
    }
    http_reply_json(
        job->request, 200,
        http_page_to_json("archives", list, job->count > shown, last ? last->archived_at_ms : 0, last ? last->id : ""));
}

static void done(int code, void *context)
{
    struct list_job *job = context;

    if (code != 0 || job->code != 0)
        archive_reply_unavailable(job->request, "the database");
    else
        answer(job);
    free(job);
}

/* False: the request has been answered. */
static bool parse_query(struct list_job *job)
{
    struct http_request *request = job->request;
    const char *owner = http_request_query(request, "owner");

    if (!http_page_parse(request, &job->query.page))
        return false;
    if (owner && strcmp(owner, "me") != 0) {
        http_reply_error(request, 400, "invalid_value", "owner can only be me");
        return false;
    }
    if (owner && !job->caller.subject[0])
        return http_auth_require(request, job->archive->config.jwt_secret, &job->caller); /* answers 401 */
    if (owner) {
        job->query.all_visibilities = true;
        snprintf(job->query.owner_id, sizeof(job->query.owner_id), "%s", job->caller.subject);
    }
    return true;
}

void handle_archive_list(struct http_request *request, void *context)
{
    struct archive *archive = context;
    struct list_job *job = alloc_zero(1, sizeof(*job));

    job->archive = archive;
    job->request = request;
    if (!http_auth_optional(request, archive->config.jwt_secret, &job->caller) || !parse_query(job)) {
        free(job);
        return;
    }
    if (archive_submit(archive, run, done, job) != 0)
        done(DB_FULL, job);
}
