/* GET /api/v1/archives?owner=me&limit=&cursor=: those that stand, the newest first; private ones only for their owner.
 */
#include "archive_http.h"
#include "archive_view.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct list_job {
    struct archive *archive;
    struct http_request *request;
    struct access_token caller;
    struct archive_query query;
    struct archive_view views[ARCHIVE_LIST_MAX + 1];
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
    size_t shown = job->count < job->query.limit ? job->count : job->query.limit;
    json_t *list = json_array(), *body = json_pack("{s:o}", "archives", list);
    char token[ARCHIVE_TOKEN_SIZE], next[ID_SIZE + 24];

    for (size_t i = 0; i < shown; i++) {
        const struct archive_view *view = &job->views[i];

        archive_token_make(job->archive, view->id, token);
        json_array_append_new(list, archive_view_to_json(job->archive, view, view->is_private ? token : NULL,
                                                         archive_view_is_owner(view, &job->caller, false)));
    }
    if (job->count > shown) {
        const struct archive_view *last = &job->views[shown - 1];

        snprintf(next, sizeof(next), "%lld_%s", (long long)last->archived_at_ms, last->id);
        json_object_set_new(body, "next", json_string(next));
    }
    http_reply_json(job->request, 200, body);
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

/* "<archived_at_ms>_<id>", as `next` gave it. */
static bool parse_cursor(const char *text, struct archive_query *query)
{
    char *end;
    long long before_ms = strtoll(text, &end, 10);

    if (end == text || *end != '_' || before_ms <= 0 || !id_is_valid(end + 1))
        return false;
    query->before_ms = before_ms;
    snprintf(query->before_id, sizeof(query->before_id), "%s", end + 1);
    return true;
}

/* False: the request has been answered. */
static bool parse_query(struct list_job *job)
{
    struct http_request *request = job->request;
    const char *limit = http_request_query(request, "limit"), *cursor = http_request_query(request, "cursor");
    const char *owner = http_request_query(request, "owner");
    char *end = NULL;

    job->query.limit = limit ? strtoul(limit, &end, 10) : ARCHIVE_LIST_DEFAULT;
    if (limit && (*end || job->query.limit < 1 || job->query.limit > ARCHIVE_LIST_MAX)) {
        http_reply_error(request, 400, "invalid_value", "limit must be a whole number from 1 to 100");
        return false;
    }
    if (cursor && !parse_cursor(cursor, &job->query)) {
        http_reply_error(request, 400, "invalid_value", "cursor must be the `next` of an earlier answer");
        return false;
    }
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
