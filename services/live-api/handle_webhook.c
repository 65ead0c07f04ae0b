/* POST and GET /api/v1/webhooks, DELETE /api/v1/webhooks/{id}, GET /api/v1/webhooks/{id}/deliveries: where the caller's
 * applications want to hear of the caller's broadcasts; operators may ask for everybody's. */
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/http_page.h"
#include "libcommon/log.h"
#include "libcommon/public_address.h"
#include "libcommon/random_id.h"
#include "webhook.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct webhook_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token caller;
    struct webhook webhook; /* to be made, or meant */
    char secret[WEBHOOK_SECRET_SIZE];
    struct http_page page;
    struct webhook webhooks[WEBHOOKS_PER_OWNER + WEBHOOKS_OF_ALL];
    struct webhook_delivery deliveries[HTTP_PAGE_LIMIT_MAX + 1];
    size_t count;
    int code;
};

static void start(struct webhook_job *job, db_run_fn run, db_done_fn done)
{
    if (live_api_submit(job->api, run, done, job) != 0)
        done(DB_FULL, job);
}

/* True when `code` is one; then it has been answered. */
static bool reply_failure(struct webhook_job *job, int code)
{
    switch (code) {
    case 0:
        return false;
    case WEBHOOK_NOT_FOUND:
        http_reply_error(job->request, 404, "no_such_webhook", "there is no webhook of yours with this id");
        break;
    case WEBHOOK_TOO_MANY:
        http_reply_error(job->request, 409, "too_many_webhooks", "delete one of your webhooks first");
        break;
    default:
        reply_unavailable(job->request, "the database");
    }
    free(job);
    return true;
}

static void set_time(json_t *object, const char *name, int64_t time_ms)
{
    json_object_set_new(object, name, time_ms > 0 ? json_integer(time_ms) : json_null());
}

static json_t *webhook_to_json(const struct webhook *webhook)
{
    json_t *events = json_array();
    char names[WEBHOOK_EVENTS_SIZE], *rest = names, *name;

    strcpy(names, webhook->events);
    while ((name = strsep(&rest, ",")))
        json_array_append_new(events, json_string(name));
    json_t *object =
        json_pack("{s:s,s:s,s:o,s:s,s:I,s:I,s:I}", "id", webhook->id, "url", webhook->url, "events", events, "scope",
                  webhook->all_owners ? "all" : "own", "created_at_ms", (json_int_t)webhook->created_at_ms, "pending",
                  (json_int_t)webhook->pending, "dropped", (json_int_t)webhook->dropped);
    if (!object)
        abort();
    set_time(object, "failing_since_ms", webhook->failing_since_ms);
    set_time(object, "disabled_at_ms", webhook->disabled_at_ms);
    return object;
}

/* --- POST --- */

/* A literal address that may not be reached is refused at once; what a name stands for is looked at at each delivery.
 */
static bool host_is_allowed(const struct live_api *api, const char *host)
{
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};
    char bare[100];
    size_t len = strlen(host);

    if (api->config.webhook_private)
        return true;
    if (inet_pton(AF_INET, host, &ipv4.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&ipv4);
    if (host[0] == '[' && len > 2 && len < sizeof(bare)) {
        memcpy(bare, host + 1, len - 2);
        bare[len - 2] = '\0';
        return inet_pton(AF_INET6, bare, &ipv6.sin6_addr) == 1 && address_is_public((const struct sockaddr *)&ipv6);
    }
    return strcasecmp(host, "localhost") != 0;
}

static char *part(CURLU *url, CURLUPart what)
{
    char *value = NULL;

    return curl_url_get(url, what, &value, 0) == CURLUE_OK ? value : NULL;
}

/* NULL, or what is wrong with `text`. */
static const char *url_fault(const struct live_api *api, const char *text)
{
    CURLU *url = curl_url();
    char *scheme = NULL, *host = NULL, *user = NULL;
    const char *fault = NULL;

    if (!text || strlen(text) > WEBHOOK_URL_MAX || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
        fault = "url must be a URL of at most 500 characters";
    if (!fault) {
        scheme = part(url, CURLUPART_SCHEME);
        host = part(url, CURLUPART_HOST);
        user = part(url, CURLUPART_USER);
        if (!scheme || (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0))
            fault = "url must begin with https:// or http://";
        else if (!host || user)
            fault = "url must name a host, and no user";
        else if (!host_is_allowed(api, host))
            fault = "url must name a host that is reachable from the internet";
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_url_cleanup(url);
    return fault;
}

/* "broadcast.live,broadcast.ended" from the array; false: it is none. Absent: all. */
static bool take_events(const json_t *events, char out[WEBHOOK_EVENTS_SIZE])
{
    static const char *const known[] = {"broadcast.live", "broadcast.ended", "broadcast.archived"};
    size_t used = 0, matched = 0;

    if (events && (!json_is_array(events) || json_array_size(events) == 0))
        return false;
    out[0] = '\0';
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        bool wanted = !events;

        for (size_t i = 0; i < json_array_size(events); i++) {
            const char *name = json_string_value(json_array_get(events, i));
            if (name && strcmp(name, known[k]) == 0) {
                wanted = true;
                matched++;
            }
        }
        if (wanted)
            used += (size_t)snprintf(out + used, WEBHOOK_EVENTS_SIZE - used, "%s%s", used ? "," : "", known[k]);
    }
    return matched == json_array_size(events);
}

static void run_post(struct db_connection *connection, void *context)
{
    struct webhook_job *job = context;

    job->code = webhook_row_insert(connection, &job->webhook);
}

static void done_post(int code, void *context)
{
    struct webhook_job *job = context;

    if (reply_failure(job, code != 0 ? code : job->code))
        return;
    json_t *body = webhook_to_json(&job->webhook);
    /* Shown this once. */
    json_object_set_new(body, "secret", json_string(job->secret));
    log_info("webhook.registered", log_str("webhook", job->webhook.id), log_str("by", job->caller.subject));
    http_reply_json(job->request, 201, body);
    free(job);
}

/* NULL, or what is wrong with the body. */
static const char *take_body(struct webhook_job *job, const json_t *body)
{
    const char *url = json_string_value(json_object_get(body, "url"));
    const json_t *secret = json_object_get(body, "secret"), *scope = json_object_get(body, "scope");
    const char *fault = url_fault(job->api, url);
    size_t secret_len = secret ? json_string_length(secret) : 0;

    if (fault)
        return fault;
    if (secret && (secret_len < WEBHOOK_SECRET_MIN || secret_len >= WEBHOOK_SECRET_SIZE ||
                   strlen(json_string_value(secret)) != secret_len))
        return "secret must be text of 16 to 64 bytes";
    if (!take_events(json_object_get(body, "events"), job->webhook.events))
        return "events must be a list of broadcast.live, broadcast.ended and broadcast.archived";
    if (scope && (!json_is_string(scope) ||
                  (strcmp(json_string_value(scope), "own") != 0 && strcmp(json_string_value(scope), "all") != 0)))
        return "scope must be own or all";
    job->webhook.all_owners = scope && strcmp(json_string_value(scope), "all") == 0;
    strcpy(job->webhook.url, url);
    if (secret)
        strcpy(job->secret, json_string_value(secret));
    else
        random_hex(job->secret, 16);
    return NULL;
}

void handle_webhook_post(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const json_t *body;

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !(body = http_request_json(request)))
        return;
    struct webhook_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    job->caller = caller;
    const char *fault = take_body(job, body);
    if (fault) {
        http_reply_error(request, 400, "invalid_value", fault);
    } else if (job->webhook.all_owners && strcmp(caller.role, "operator") != 0) {
        http_reply_error(request, 403, "operators_only", "only operators hear of everybody's broadcasts");
    } else {
        random_id(job->webhook.id);
        snprintf(job->webhook.owner_id, sizeof(job->webhook.owner_id), "%s", caller.subject);
        job->webhook.created_at_ms = clock_wall_ms();
        job->webhook.secret_sealed_len = secret_seal(api, job->secret, job->webhook.secret_sealed);
        start(job, run_post, done_post);
        return;
    }
    free(job);
}

/* --- GET, DELETE --- */

/* NULL: the request has been answered. */
static struct webhook_job *make_job(struct live_api *api, struct http_request *request)
{
    struct webhook_job *job = alloc_zero(1, sizeof(*job));
    const char *id = http_request_param(request, "id");

    job->api = api;
    job->request = request;
    if (!http_auth_require(request, api->config.jwt_secret, &job->caller)) {
        free(job);
        return NULL;
    }
    if (id && !id_is_valid(id))
        return reply_failure(job, WEBHOOK_NOT_FOUND) ? NULL : job;
    if (id)
        strcpy(job->webhook.id, id);
    return job;
}

static void run_list(struct db_connection *connection, void *context)
{
    struct webhook_job *job = context;

    job->code = webhook_row_list(connection, job->caller.subject, job->webhooks, &job->count);
}

static void done_list(int code, void *context)
{
    struct webhook_job *job = context;

    if (reply_failure(job, code != 0 ? code : job->code))
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < job->count; i++)
        json_array_append_new(list, webhook_to_json(&job->webhooks[i]));
    http_reply_json(job->request, 200, json_pack("{s:o}", "webhooks", list));
    free(job);
}

void handle_webhook_list(struct http_request *request, void *context)
{
    struct webhook_job *job = make_job(context, request);

    if (job)
        start(job, run_list, done_list);
}

static void run_delete(struct db_connection *connection, void *context)
{
    struct webhook_job *job = context;

    job->code = webhook_row_delete(connection, job->webhook.id, job->caller.subject);
}

static void done_delete(int code, void *context)
{
    struct webhook_job *job = context;

    if (reply_failure(job, code != 0 ? code : job->code))
        return;
    http_reply_json(job->request, 200, json_pack("{s:s,s:b}", "id", job->webhook.id, "deleted", 1));
    free(job);
}

void handle_webhook_delete(struct http_request *request, void *context)
{
    struct webhook_job *job = make_job(context, request);

    if (job)
        start(job, run_delete, done_delete);
}

static void run_deliveries(struct db_connection *connection, void *context)
{
    struct webhook_job *job = context;

    job->code = webhook_row_deliveries(connection, job->webhook.id, job->caller.subject, job->page.before,
                                       job->page.limit, job->deliveries, &job->count);
}

static json_t *delivery_to_json(const struct webhook_delivery *delivery)
{
    char id[24];

    snprintf(id, sizeof(id), "%lld", (long long)delivery->id);
    json_t *object = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:I}", "id", id, "event", delivery->event, "broadcast_id",
                               delivery->broadcast_id, "state", delivery->state, "attempts", delivery->attempts,
                               "status", delivery->status, "created_at_ms", (json_int_t)delivery->created_at_ms);
    bool is_pending = strcmp(delivery->state, "pending") == 0;

    if (!object)
        abort();
    set_time(object, "next_at_ms", is_pending ? delivery->next_at_ms : 0);
    set_time(object, "done_at_ms", delivery->done_at_ms);
    json_object_set_new(object, "error", delivery->error[0] ? json_string(delivery->error) : json_null());
    return object;
}

static void done_deliveries(int code, void *context)
{
    struct webhook_job *job = context;

    if (reply_failure(job, code != 0 ? code : job->code))
        return;
    size_t shown = job->count < job->page.limit ? job->count : job->page.limit;
    json_t *list = json_array();
    for (size_t i = 0; i < shown; i++)
        json_array_append_new(list, delivery_to_json(&job->deliveries[i]));
    http_reply_json(
        job->request, 200,
        http_page_to_json("deliveries", list, job->count > shown, shown ? job->deliveries[shown - 1].id : 0, ""));
    free(job);
}

void handle_webhook_deliveries(struct http_request *request, void *context)
{
    struct webhook_job *job = make_job(context, request);

    if (job && http_page_parse(request, &job->page))
        start(job, run_deliveries, done_deliveries);
    else
        free(job);
}
