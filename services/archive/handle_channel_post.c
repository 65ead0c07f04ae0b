/* POST /api/v1/channels {"title","items":[archive ids],"start_at"?,"loop"?}: of one's own archives and public ones. */
#include "archive_http.h"
#include "channel_http.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "libcommon/random_id.h"

#include <stdio.h>
#include <string.h>

struct post_job {
    struct archive *archive;
    struct http_request *request;
    struct channel_row row;
    enum channel_insert_outcome outcome;
    int item;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct post_job *job = context;

    job->code = channel_row_insert(connection, &job->row, &job->outcome, &job->item);
}

static void reply_refused(const struct post_job *job)
{
    const char *item = job->row.definition.items[job->item];
    char message[200];

    switch (job->outcome) {
    case CHANNEL_ITEM_MISSING:
        snprintf(message, sizeof(message), "there is no archive %s that you may use", item);
        http_reply_error(job->request, 404, "no_such_archive", message);
        break;
    case CHANNEL_ITEM_MAKING:
        snprintf(message, sizeof(message), "archive %s is still being made", item);
        http_reply_error(job->request, 409, "not_archived_yet", message);
        break;
    default:
        snprintf(message, sizeof(message), "nobody may have more than %d channels", CHANNEL_MAX_PER_OWNER);
        http_reply_error(job->request, 409, "too_many_channels", message);
    }
}

static void done(int code, void *context)
{
    struct post_job *job = context;

    if (code != 0 || job->code != 0) {
        archive_reply_unavailable(job->request, "the database");
    } else if (job->outcome != CHANNEL_INSERTED) {
        reply_refused(job);
    } else {
        log_info("channel.created", log_str("channel", job->row.id), log_str("owner", job->row.owner_id),
                 log_int("items", job->row.definition.items_count));
        http_reply_json(job->request, 201, channel_to_json(job->archive, &job->row));
    }
    free(job);
}

static bool refuse(struct http_request *request, const char *message)
{
    http_reply_error(request, 400, "invalid_value", message);
    return false;
}

/* jansson has checked that it is UTF-8. */
static bool is_title(const char *text)
{
    size_t chars = 0;

    if (!text || !text[strspn(text, " ")])
        return false;
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
        chars += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return chars <= CHANNEL_TITLE_MAX_CHARS;
}

static bool take_start(const json_t *start, int64_t *start_ms)
{
    if (!start || json_is_null(start)) {
        *start_ms = clock_wall_ms();
        return true;
    }
    if (json_is_string(start))
        return channel_parse_moment(json_string_value(start), start_ms) == 0;
    *start_ms = json_integer_value(start);
    return json_is_integer(start) && *start_ms >= CHANNEL_EARLIEST_START_MS && *start_ms <= CHANNEL_LATEST_START_MS;
}

/* False: 400 has been answered. */
static bool take_body(struct http_request *request, const json_t *body, struct channel_row *row)
{
    const char *title = json_string_value(json_object_get(body, "title"));
    const json_t *items = json_object_get(body, "items"), *loop = json_object_get(body, "loop"), *item;
    size_t i;

    if (!is_title(title))
        return refuse(request, "title must be text of 1 to 200 characters");
    snprintf(row->title, sizeof(row->title), "%s", title);
    if (json_array_size(items) == 0 || json_array_size(items) > PLAYOUT_MAX_ITEMS)
        return refuse(request, "items must be a list of 1 to 50 ids of archives");
    json_array_foreach(items, i, item) if (channel_definition_add(&row->definition, json_string_value(item)) !=
                                           0) return refuse(request, "items must be a list of 1 to 50 ids of archives");
    if (loop && !json_is_boolean(loop) && !json_is_null(loop))
        return refuse(request, "loop must be true or false");
    row->definition.loop = json_is_true(loop);
    if (!take_start(json_object_get(body, "start_at"), &row->definition.start_ms))
        return refuse(request, "start_at must be a moment from 2000 to 2100: RFC 3339, or milliseconds since 1970");
    return true;
}

void handle_channel_post(struct http_request *request, void *context)
{
    struct archive *archive = context;
    struct access_token caller;
    json_t *body;

    if (!http_auth_require(request, archive->config.jwt_secret, &caller) || !(body = http_request_json(request)))
        return;
    struct post_job *job = alloc_zero(1, sizeof(*job));
    job->archive = archive;
    job->request = request;
    if (!take_body(request, body, &job->row)) {
        free(job);
        return;
    }
    random_id(job->row.id);
    snprintf(job->row.owner_id, sizeof(job->row.owner_id), "%s", caller.subject);
    snprintf(job->row.owner_name, sizeof(job->row.owner_name), "%s", caller.name);
    job->row.created_at_ms = clock_wall_ms();
    if (archive_submit(archive, run, done, job) != 0)
        done(DB_FULL, job);
}
