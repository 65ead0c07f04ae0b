/* GET /api/v1/notifications?limit=&cursor=&unread=true&since=&wait_s=: the start notices of those whom the caller
 * follows, the newest first. With `since` and `wait_s` the answer comes when there is one, or when the time is over.
 * POST /api/v1/notifications/read {"up_to"}: these have been seen. */
#include "live_api.h"

#include "follow_row.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "notice_waiters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT 20
#define MAX_WAIT_S    30

struct notifications_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct notice_query query;
    struct notice_view views[FOLLOW_LIST_MAX + 1];
    size_t count;
    int64_t unread, latest;
    int64_t wait_s;
    uint64_t heard; /* announcements, before MySQL was asked */
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct notifications_job *job = context;

    job->code = notice_row_counts(connection, job->caller.subject, &job->unread, &job->latest);
    if (job->code == 0)
        job->code = notice_row_list(connection, job->caller.subject, &job->query, job->views, &job->count);
}

static void answer(struct notifications_job *job, int64_t retry_after_ms)
{
    size_t shown = job->count < job->query.limit ? job->count : job->query.limit;
    json_t *body = notice_list_to_json(job->views, shown, job->unread, job->latest, retry_after_ms);
    char next[24];

    if (job->count > shown) {
        snprintf(next, sizeof(next), "%lld", (long long)job->views[shown - 1].sequence);
        json_object_set_new(body, "next", json_string(next));
    }
    http_reply_json(job->request, 200, body);
    free(job);
}

static void done(int code, void *context);

static void ask(struct notifications_job *job)
{
    job->heard = notice_waiters_heard(job->api->notice_waiters);
    if (live_api_submit(job->api, run, done, job) != 0)
        done(DB_FULL, job);
}

static void done(int code, void *context)
{
    struct notifications_job *job = context;
    struct notice_waiters *waiters = job->api->notice_waiters;
    int64_t retry_after_ms;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
        free(job);
    } else if (job->count > 0 || job->wait_s == 0) {
        answer(job, 0);
    } else if (notice_waiters_heard(waiters) != job->heard) {
        ask(job); /* something was announced after MySQL was asked */
    } else if (notice_waiters_add(waiters, job->request, job->caller.subject, job->latest, job->wait_s * 1000,
                                  &retry_after_ms)) {
        free(job);
    } else {
        answer(job, retry_after_ms);
    }
}

/* A whole number in `text` from `min` to `max`; false: it is none. */
static bool parse_number(const char *text, int64_t min, int64_t max, int64_t *value)
{
    char *end;

    *value = strtoll(text, &end, 10);
    return end != text && !*end && *value >= min && *value <= max;
}

/* False: the request has been answered. */
static bool parse_query(struct http_request *request, struct notifications_job *job)
{
    const char *limit = http_request_query(request, "limit");
    const char *cursor = http_request_query(request, "cursor");
    const char *since = http_request_query(request, "since");
    const char *wait = http_request_query(request, "wait_s");
    const char *unread = http_request_query(request, "unread");
    int64_t limit_value = DEFAULT_LIMIT;

    if (limit && !parse_number(limit, 1, FOLLOW_LIST_MAX, &limit_value))
        http_reply_error(request, 400, "invalid_value", "limit must be a whole number from 1 to 100");
    else if (cursor && !parse_number(cursor, 1, INT64_MAX, &job->query.before))
        http_reply_error(request, 400, "invalid_value", "cursor must be the `next` of an earlier answer");
    else if (since && !parse_number(since, 0, INT64_MAX, &job->query.since))
        http_reply_error(request, 400, "invalid_value", "since must be the `latest` of an earlier answer");
    else if (wait && (!since || !parse_number(wait, 0, MAX_WAIT_S, &job->wait_s)))
        http_reply_error(request, 400, "invalid_value", "wait_s must be a whole number from 0 to 30, beside since");
    else if (unread && strcmp(unread, "true") != 0 && strcmp(unread, "false") != 0)
        http_reply_error(request, 400, "invalid_value", "unread must be true or false");
    else {
        job->query.limit = (size_t)limit_value;
        job->query.only_unread = unread && strcmp(unread, "true") == 0;
        return true;
    }
    return false;
}

void handle_notifications_get(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct notifications_job *job = alloc_zero(1, sizeof(*job));

    job->api = api;
    job->request = request;
    if (!http_auth_require(request, api->config.jwt_secret, &job->caller) || !parse_query(request, job)) {
        free(job);
        return;
    }
    ask(job);
}

/* --- read --- */

struct read_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    int64_t up_to, unread, latest;
    int code;
};

static void run_read(struct db_connection *connection, void *context)
{
    struct read_job *job = context;

    job->code = notice_row_mark_read(connection, job->caller.subject, job->up_to);
    if (job->code == 0)
        job->code = notice_row_counts(connection, job->caller.subject, &job->unread, &job->latest);
}

static void done_read(int code, void *context)
{
    struct read_job *job = context;

    if (code != 0 || job->code != 0)
        reply_unavailable(job->request, "the database");
    else
        http_reply_json(job->request, 200, json_pack("{s:I}", "unread", (json_int_t)job->unread));
    free(job);
}

void handle_notifications_read(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const json_t *body, *up_to;

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !(body = http_request_json(request)))
        return;
    up_to = json_object_get(body, "up_to");
    if (!json_is_integer(up_to) || json_integer_value(up_to) < 0) {
        http_reply_error(request, 400, "invalid_value", "up_to must be the `latest` of an answer, or a notice's id");
        return;
    }
    struct read_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = caller;
    job->up_to = json_integer_value(up_to);
    if (live_api_submit(api, run_read, done_read, job) != 0)
        done_read(DB_FULL, job);
}
