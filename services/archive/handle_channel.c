/* GET /api/v1/channels/{id}, GET /api/v1/channels?owner=me&limit=&cursor=, DELETE /api/v1/channels/{id}. */
#include "archive_http.h"
#include "channel_cache.h"
#include "channel_http.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"

#include <stdio.h>
#include <string.h>

struct channel_job {
    struct archive *archive;
    struct http_request *request;
    struct access_token caller;
    bool deletes, found;
    int code;
    struct channel_row row;
};

struct list_job {
    struct archive *archive;
    struct http_request *request;
    struct access_token caller;
    struct channel_query query;
    size_t count;
    int code;
    struct channel_row rows[HTTP_PAGE_LIMIT_MAX + 1];
};

json_t *channel_to_json(const struct archive *archive, const struct channel_row *row)
{
    const struct channel_definition *definition = &row->definition;
    char token[CHANNEL_TOKEN_SIZE], url[CHANNEL_TOKEN_SIZE + 64];
    json_t *items = json_array();

    for (int i = 0; i < definition->items_count; i++)
        json_array_append_new(items, json_string(definition->items[i]));
    channel_cache_seal(archive->channels, definition, token, sizeof(token));
    snprintf(url, sizeof(url), CHANNEL_PLAYOUT_PATH "%s/master.m3u8", token);
    return json_pack("{s:s,s:s,s:{s:s,s:s},s:o,s:b,s:I,s:I,s:o,s:I,s:I,s:s?}", "id", row->id, "title", row->title,
                     "owner", "id", row->owner_id, "name", row->owner_name, "items", items, "loop", definition->loop,
                     "start_at_ms", (json_int_t)definition->start_ms, "duration_ms", (json_int_t)row->duration_ms,
                     "end_at_ms",
                     definition->loop ? json_null() : json_integer(definition->start_ms + row->duration_ms),
                     "created_at_ms", (json_int_t)row->created_at_ms, "now_ms", (json_int_t)clock_wall_ms(),
                     "playback_url", row->is_withdrawn ? NULL : url);
}

static void reply_missing(struct http_request *request)
{
    http_reply_error(request, 404, "no_such_channel", "there is no channel with this id");
}

static void run(struct db_connection *connection, void *context)
{
    struct channel_job *job = context;
    char id[ID_SIZE];

    memcpy(id, job->row.id, sizeof(id));
    job->code = channel_row_load(connection, id, &job->row, &job->found);
    if (job->code == 0 && job->found && job->deletes && strcmp(job->caller.subject, job->row.owner_id) == 0)
        job->code = channel_row_delete(connection, id);
}

static void done(int code, void *context)
{
    struct channel_job *job = context;

    if (code != 0 || job->code != 0) {
        archive_reply_unavailable(job->request, "the database");
    } else if (!job->found) {
        reply_missing(job->request);
    } else if (job->deletes && strcmp(job->caller.subject, job->row.owner_id) != 0) {
        http_reply_error(job->request, 403, "not_the_owner", "only the channel's owner may do this");
    } else if (job->deletes) {
        log_info("channel.deleted", log_str("channel", job->row.id));
        http_reply_json(job->request, 200, json_pack("{s:s}", "id", job->row.id));
    } else if (job->row.is_withdrawn) {
        http_reply_error(job->request, 404, "archive_gone", "an archive of this channel is not public any more");
    } else {
        http_reply_header(job->request, "Cache-Control", "no-store");
        http_reply_json(job->request, 200, channel_to_json(job->archive, &job->row));
    }
    free(job);
}

static void submit(struct archive *archive, struct http_request *request, const struct access_token *caller,
                   bool deletes)
{
    const char *id = http_request_param(request, "id");

    if (!id_is_valid(id)) {
        reply_missing(request);
        return;
    }
    struct channel_job *job = alloc_zero(1, sizeof(*job));
    job->archive = archive;
    job->request = request;
    job->deletes = deletes;
    if (caller)
        job->caller = *caller;
    snprintf(job->row.id, sizeof(job->row.id), "%s", id);
    if (archive_submit(archive, run, done, job) != 0)
        done(DB_FULL, job);
}

void handle_channel_get(struct http_request *request, void *context)
{
    submit(context, request, NULL, false);
}

void handle_channel_delete(struct http_request *request, void *context)
{
    struct archive *archive = context;
    struct access_token caller;

    if (http_auth_require(request, archive->config.jwt_secret, &caller))
        submit(archive, request, &caller, true);
}

/* --- the list --- */

static void run_list(struct db_connection *connection, void *context)
{
    struct list_job *job = context;

    job->code = channel_row_list(connection, &job->query, job->rows, &job->count);
}

static void done_list(int code, void *context)
{
    struct list_job *job = context;
    size_t shown = job->count < job->query.page.limit ? job->count : job->query.page.limit;
    const struct channel_row *last = shown ? &job->rows[shown - 1] : NULL;

    if (code != 0 || job->code != 0) {
        archive_reply_unavailable(job->request, "the database");
    } else {
        json_t *list = json_array();

        /* One that has nothing to play is there for its owner only, who may want to delete it. */
        for (size_t i = 0; i < shown; i++)
            if (!job->rows[i].is_withdrawn || job->query.owner_id[0])
                json_array_append_new(list, channel_to_json(job->archive, &job->rows[i]));
        http_reply_header(job->request, "Cache-Control", "no-store");
        http_reply_json(job->request, 200,
                        http_page_to_json("channels", list, job->count > shown, last ? last->created_at_ms : 0,
                                          last ? last->id : ""));
    }
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
    if (owner && !http_auth_require(request, job->archive->config.jwt_secret, &job->caller))
        return false;
    if (owner)
        snprintf(job->query.owner_id, sizeof(job->query.owner_id), "%s", job->caller.subject);
    return true;
}

void handle_channel_list(struct http_request *request, void *context)
{
    struct archive *archive = context;
    struct list_job *job = alloc_zero(1, sizeof(*job));

    job->archive = archive;
    job->request = request;
    if (!parse_query(job)) {
        free(job);
        return;
    }
    if (archive_submit(archive, run_list, done_list, job) != 0)
        done_list(DB_FULL, job);
}
