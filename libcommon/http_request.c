/* What a handler sees of a request, and the one way to answer it. Everything that outsiders send can be wrong: no byte
 * of it may end the process, so an answer that cannot be written as JSON becomes a 500. */
#include "libcommon/http_request.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"
#include "libcommon/random_id.h"
#include "libcommon/utf8.h"

#include <assert.h>
#include <stdio.h>

#define MAX_QUERIES 16

bool http_request_decode_params(struct http_request *request)
{
    for (size_t i = 0; i < request->match.params_count; i++) {
        const struct http_route_param *param = &request->match.params[i];

        request->params[i] = alloc_zero(param->value_len + 1, 1);
        if (!http_percent_decode(param->value, param->value_len, false, request->params[i]) ||
            !utf8_is_valid(request->params[i]))
            return false;
    }
    return true;
}

static void clear_pairs(struct http_pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(pairs[i].name);
        free(pairs[i].value);
    }
}

void http_request_clear(struct http_request *request)
{
    for (size_t i = 0; i < request->match.params_count; i++)
        free(request->params[i]);
    clear_pairs(request->queries, request->queries_count);
    free(request->queries);
    clear_pairs(request->headers, request->headers_count);
    if (request->response)
        MHD_destroy_response(request->response);
    json_decref(request->json);
    buffer_clear(&request->body);
    free(request->uri);
}

const char *http_request_param(const struct http_request *request, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < request->match.params_count; i++) {
        const struct http_route_param *param = &request->match.params[i];

        if (param->name_len == len && memcmp(param->name, name, len) == 0)
            return request->params[i];
    }
    return NULL;
}

static char *decode_query(const char *text)
{
    char *out = alloc_zero(strlen(text) + 1, 1);

    if (http_percent_decode(text, strlen(text), true, out) && utf8_is_valid(out))
        return out;
    free(out);
    return NULL;
}

/* A pair with a broken escape, and those beyond the limit, are as if they were absent. */
static void parse_query(struct http_request *request)
{
    char *rest = request->query;
    char *pair;

    request->query = NULL;
    request->queries = alloc_zero(MAX_QUERIES, sizeof(*request->queries));
    while (rest && (pair = strsep(&rest, "&")) && request->queries_count < MAX_QUERIES) {
        char *value = strchr(pair, '=');

        if (value)
            *value++ = '\0';
        struct http_pair decoded = {decode_query(pair), decode_query(value ? value : "")};
        if (decoded.name && decoded.value && decoded.name[0])
            request->queries[request->queries_count++] = decoded;
        else
            clear_pairs(&decoded, 1);
    }
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    if (request->query)
        parse_query((struct http_request *)request);
    for (size_t i = 0; i < request->queries_count; i++)
        if (strcmp(request->queries[i].name, name) == 0)
            return request->queries[i].value;
    return NULL;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->uri;
}

const char *http_request_body(const struct http_request *request, size_t *len_bytes)
{
    struct buffer *body = &((struct http_request *)request)->body;

    /* The buffer's maximum leaves room for this byte, which is not part of the body. */
    uint8_t *end = buffer_reserve(body, 1);
    if (!end)
        abort();
    *end = '\0';
    if (len_bytes)
        *len_bytes = body->len;
    return (const char *)body->data;
}

const char *http_request_id(const struct http_request *request)
{
    char *id = ((struct http_request *)request)->id;

    if (id[0])
        return id;
    const char *given = http_request_header(request, "X-Request-Id");
    if (given && request_id_is_valid(given))
        strcpy(id, given);
    else
        random_id(id);
    return id;
}

json_t *http_request_json(struct http_request *request)
{
    size_t len;
    const char *body = http_request_body(request, &len);

    if (request->json)
        return request->json;
    request->json = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(request->json)) {
        json_decref(request->json);
        request->json = NULL;
        http_reply_error(request, MHD_HTTP_BAD_REQUEST, "invalid_json", "the body is no JSON object");
    }
    return request->json;
}

void http_reply_header(struct http_request *request, const char *name, const char *value)
{
    assert(request->headers_count < sizeof(request->headers) / sizeof(request->headers[0]));
    request->headers[request->headers_count].name = alloc_string(name);
    request->headers[request->headers_count].value = alloc_string(value);
    request->headers_count++;
}

static void count_answer(struct http_request *request)
{
    static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5};
    struct metrics *metrics = http_server_metrics(request->server);
    struct http_route *route = request->route;
    char labels[256];

    if (!metrics || request->status >= HTTP_MAX_STATUS)
        return;
    /* The metrics are looked up once per route and status, not per request: a look-up takes the registry's lock. */
    if (!route->by_status[request->status]) {
        snprintf(labels, sizeof(labels), "route=\"%s %s\",status=\"%u\"", route->method, route->pattern,
                 request->status);
        route->by_status[request->status] =
            metrics_counter(metrics, "hanabi_http_requests_total", "HTTP requests answered", labels);
    }
    if (!route->seconds) {
        snprintf(labels, sizeof(labels), "route=\"%s %s\"", route->method, route->pattern);
        route->seconds = metrics_histogram(metrics, "hanabi_http_seconds", "from request line to answer", labels,
                                           bounds, sizeof(bounds) / sizeof(bounds[0]));
    }
    metric_add(route->by_status[request->status], 1);
    metric_observe(route->seconds, (double)(clock_monotonic_us() - request->began_us) / 1e6);
}

/* The one place where a request gets its answer. */
static void answer(struct http_request *request, unsigned status, const char *content_type,
                   struct MHD_Response *response)
{
    bool was_waiting = request->state == HTTP_WAITING;

    assert(request->state != HTTP_ANSWERED);
    if (!response)
        abort();
    request->state = HTTP_ANSWERED;
    request->status = status;
    request->response = response;
    MHD_add_response_header(response, MHD_HTTP_HEADER_DATE, http_server_date(request->server));
    MHD_add_response_header(response, "X-Request-Id", http_request_id(request));
    if (content_type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    /* A kept-alive connection would outlive the drain. */
    if (http_server_is_quiesced(request->server))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    for (size_t i = 0; i < request->headers_count; i++)
        MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    count_answer(request);
    if (was_waiting)
        http_server_resume(request);
}

void http_reply_bytes(struct http_request *request, unsigned status, const char *content_type, const void *body,
                      size_t len_bytes)
{
    answer(request, status, content_type,
           MHD_create_response_from_buffer(len_bytes, (void *)body, MHD_RESPMEM_MUST_COPY));
}

void http_reply_json(struct http_request *request, unsigned status, json_t *body)
{
    static const char fallback[] =
        "{\"error\":{\"code\":\"internal\",\"message\":\"the answer could not be written as JSON\"}}";
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(body);
    /* jansson makes NULL of what is no UTF-8: a handler's mistake, and no reason to stop serving the others. */
    if (!text)
        http_reply_bytes(request, MHD_HTTP_INTERNAL_SERVER_ERROR, "application/json", fallback, sizeof(fallback) - 1);
    else
        answer(request, status, "application/json",
               MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

void http_reply_error(struct http_request *request, unsigned status, const char *code, const char *message)
{
    http_reply_json(request, status, json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message));
}
