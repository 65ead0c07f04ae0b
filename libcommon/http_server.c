/* libmicrohttpd does HTTP; here it is driven by our own loop. MHD keeps all its sockets in one epoll descriptor, so one
 * libevent event on that descriptor and one timer are all that is needed, and handlers run on the loop thread.
 *
 * A request is born when its first line has been read and dies when MHD says that it is over. A handler that does not
 * answer at once suspends the connection; the answer resumes it, and MHD calls us once more to queue it. MHD does not
 * look at a suspended connection's socket, so a client that has gone is noticed only then: that is why a request stays
 * valid until its reply. */
#include "libcommon/http_server.h"

#include "libcommon/alloc.h"
#include "libcommon/buffer.h"
#include "libcommon/clock.h"
#include "libcommon/http_route.h"
#include "libcommon/metrics.h"
#include "libcommon/random_id.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/queue.h>
#include <unistd.h>

#define DEFAULT_MAX_BODY        (64 * 1024)
#define DEFAULT_MAX_CONNECTIONS 10000
#define DEFAULT_IDLE_S          30
#define CONNECTION_MEMORY       (16 * 1024)
#define MAX_STATUS              600
#define MAX_QUERY_VALUES        16

struct route {
    SLIST_ENTRY(route) entry;
    char *method;
    char *pattern;
    http_handler_fn handler;
    void *context;
    struct metric *by_status[MAX_STATUS]; /* made when a status first appears */
    struct metric *seconds;
};

struct query_value {
    char *name;
    char *value;
};

struct http_request {
    LIST_ENTRY(http_request) entry;
    struct http_server *server;
    struct MHD_Connection *connection;
    char *uri; /* as sent; the path is cut off at the '?' */
    char *query;
    const char *method;
    struct route *route;
    struct http_route_match match;
    char *params[HTTP_ROUTE_MAX_PARAMS]; /* decoded */
    struct query_value values[MAX_QUERY_VALUES];
    size_t values_count;
    bool query_parsed;
    struct buffer body;
    bool body_too_large;
    json_t *json;
    char id[65];
    struct reply_header {
        char *name;
        char *value;
    } headers[8]; /* of the reply */
    size_t headers_count;
    struct MHD_Response *response; /* the answer, until MHD has it */
    unsigned status;
    bool dispatched; /* the handler has been called */
    bool suspended;
    bool queued; /* MHD has the answer */
    int64_t began_us;
};

struct http_server {
    struct event_base *loop;
    struct MHD_Daemon *daemon;
    struct event *readable;
    struct event *timer;
    struct http_server_options options;
    SLIST_HEAD(, route) routes;
    struct route unmatched; /* counts what fits no route */
    LIST_HEAD(, http_request) requests;
    uint16_t port;
    bool destroying;
};

/* --- driving MHD
 * -------------------------------------------------------------------------------------------------------- */

static void arm_timer(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    if (MHD_get_timeout(server->daemon, &timeout_ms) != MHD_YES)
        timeout_ms = 1000;
    const struct timeval delay = {(time_t)(timeout_ms / 1000), (suseconds_t)(timeout_ms % 1000 * 1000)};
    evtimer_add(server->timer, &delay);
}

static void on_event(evutil_socket_t fd, short events, void *context)
{
    struct http_server *server = context;

    MHD_run(server->daemon);
    arm_timer(server);
}

/* --- finding the handler
 * ------------------------------------------------------------------------------------------------ */

/* The route; NULL and 404 or 405 in `status` when there is none. */
static struct route *find_route(struct http_request *request, unsigned *status)
{
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    size_t path_len = strlen(request->uri);
    struct route *route;

    *status = MHD_HTTP_NOT_FOUND;
    SLIST_FOREACH(route, &request->server->routes, entry)
    {
        struct http_route_match match;

        if (!http_route_matches(route->pattern, request->uri, path_len, &match))
            continue;
        if (strcmp(route->method, method) == 0) {
            request->match = match;
            return route;
        }
        *status = MHD_HTTP_METHOD_NOT_ALLOWED;
    }
    return NULL;
}

static bool decode_params(struct http_request *request)
{
    for (size_t i = 0; i < request->match.params_count; i++) {
        const struct http_route_param *param = &request->match.params[i];

        request->params[i] = alloc_zero(param->value_len + 1, 1);
        if (!http_percent_decode(param->value, param->value_len, false, request->params[i]))
            return false;
    }
    return true;
}

static void dispatch(struct http_request *request)
{
    unsigned status;

    request->dispatched = true;
    request->route = find_route(request, &status);
    if (!request->route) {
        request->route = &request->server->unmatched;
        if (status == MHD_HTTP_NOT_FOUND)
            http_reply_error(request, status, "not_found", "no such path");
        else
            http_reply_error(request, status, "method_not_allowed", "the path exists, but not for this method");
    } else if (request->body_too_large) {
        http_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "body_too_large", "the request's body is too large");
    } else if (!decode_params(request)) {
        http_reply_error(request, MHD_HTTP_BAD_REQUEST, "bad_escape", "a percent escape in the path is broken");
    } else {
        request->route->handler(request, request->route->context);
    }
}

/* --- MHD's callbacks
 * ---------------------------------------------------------------------------------------------------- */

/* Called with the request line, before the handler: the one place where the path is still as it was sent. */
static void *on_request_line(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = context;
    struct http_request *request = alloc_zero(1, sizeof(*request));

    request->server = server;
    request->connection = connection;
    request->uri = alloc_string(uri);
    request->query = strchr(request->uri, '?');
    if (request->query)
        *request->query++ = '\0';
    request->began_us = clock_monotonic_us();
    buffer_init(&request->body, server->options.max_body_bytes + 1);
    LIST_INSERT_HEAD(&server->requests, request, entry);
    return request;
}

static enum MHD_Result queue_answer(struct http_request *request)
{
    enum MHD_Result result;

    request->queued = true;
    result = MHD_queue_response(request->connection, request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **request_slot)
{
    struct http_request *request = *request_slot;

    if (!request->method) { /* first call: only the headers are there */
        request->method = method;
        return MHD_YES;
    }
    if (*upload_len > 0) {
        if (!request->body_too_large && (request->body.len + *upload_len > request->server->options.max_body_bytes ||
                                         buffer_append(&request->body, upload, *upload_len) != 0))
            request->body_too_large = true; /* the rest is read and thrown away, so that the answer arrives */
        *upload_len = 0;
        return MHD_YES;
    }
    if (!request->dispatched)
        dispatch(request);
    if (request->response)
        return queue_answer(request);
    request->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void request_free(struct http_request *request)
{
    LIST_REMOVE(request, entry);
    for (size_t i = 0; i < HTTP_ROUTE_MAX_PARAMS; i++)
        free(request->params[i]);
    for (size_t i = 0; i < request->values_count; i++) {
        free(request->values[i].name);
        free(request->values[i].value);
    }
    for (size_t i = 0; i < request->headers_count; i++) {
        free(request->headers[i].name);
        free(request->headers[i].value);
    }
    if (request->response)
        MHD_destroy_response(request->response);
    json_decref(request->json);
    buffer_clear(&request->body);
    free(request->uri);
    free(request);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_slot,
                         enum MHD_RequestTerminationCode why)
{
    if (*request_slot)
        request_free(*request_slot);
    *request_slot = NULL;
}

/* --- what handlers read
 * ------------------------------------------------------------------------------------------------- */

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

static void parse_query(struct http_request *request)
{
    char *rest = request->query;
    char *pair;

    request->query_parsed = true;
    while (rest && (pair = strsep(&rest, "&")) && request->values_count < MAX_QUERY_VALUES) {
        char *value = strchr(pair, '=');
        struct query_value *slot = &request->values[request->values_count];

        if (*pair == '\0')
            continue;
        if (value)
            *value++ = '\0';
        else
            value = pair + strlen(pair);
        slot->name = alloc_zero(strlen(pair) + 1, 1);
        slot->value = alloc_zero(strlen(value) + 1, 1);
        request->values_count++;
        if (!http_percent_decode(pair, strlen(pair), true, slot->name) ||
            !http_percent_decode(value, strlen(value), true, slot->value))
            slot->name[0] = '\0'; /* a broken escape: as if it were absent */
    }
}

const char *http_request_query(const struct http_request *request, const char *name)
{
    if (!request->query_parsed)
        parse_query((struct http_request *)request);
    for (size_t i = 0; i < request->values_count; i++)
        if (strcmp(request->values[i].name, name) == 0)
            return request->values[i].value;
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
    if (len_bytes)
        *len_bytes = body->len;
    if (!end)
        return "";
    *end = '\0';
    return (const char *)body->data;
}

const char *http_request_id(const struct http_request *request)
{
    char *id = ((struct http_request *)request)->id;
    const char *given = id[0] ? NULL : http_request_header(request, "X-Request-Id");
    size_t len = given ? strlen(given) : 0;

    if (id[0])
        return id;
    if (len > 0 && len < sizeof(request->id) &&
        strspn(given, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-.") == len)
        memcpy(id, given, len + 1);
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

/* --- answering
 * ---------------------------------------------------------------------------------------------------------- */

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
    struct metrics *metrics = request->server->options.metrics;
    struct route *route = request->route;
    char labels[256];

    if (!metrics || request->status >= MAX_STATUS)
        return;
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
    assert(!request->response && !request->queued);
    if (!response)
        abort();
    request->status = status;
    request->response = response;
    if (content_type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    for (size_t i = 0; i < request->headers_count; i++)
        MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    count_answer(request);
    if (request->suspended) {
        request->suspended = false;
        MHD_resume_connection(request->connection);
        if (!request->server->destroying)
            event_active(request->server->timer, EV_TIMEOUT, 0);
    }
}

void http_reply_bytes(struct http_request *request, unsigned status, const char *content_type, const void *body,
                      size_t len_bytes)
{
    answer(request, status, content_type,
           MHD_create_response_from_buffer(len_bytes, (void *)body, MHD_RESPMEM_MUST_COPY));
}

void http_reply_json(struct http_request *request, unsigned status, json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    if (!text)
        abort();
    answer(request, status, "application/json",
           MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
}

void http_reply_error(struct http_request *request, unsigned status, const char *code, const char *message)
{
    http_reply_json(request, status, json_pack("{s:{s:s,s:s}}", "error", "code", code, "message", message));
}

/* --- life
 * --------------------------------------------------------------------------------------------------------------- */

/* A listening socket, or -1 with errno. */
static int open_listener(const struct config_listen *listen_at, uint16_t *bound_port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *address = NULL;
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof(bound);
    char port[8];
    int one = 1;

    snprintf(port, sizeof(port), "%u", listen_at->port);
    if (getaddrinfo(listen_at->host, port, &hints, &address) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_len) != 0) {
        int saved = errno;

        freeaddrinfo(address);
        if (fd >= 0)
            close(fd);
        errno = saved;
        return -1;
    }
    freeaddrinfo(address);
    *bound_port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                    : ((struct sockaddr_in *)&bound)->sin_port);
    return fd;
}

struct http_server *http_server_create(struct event_base *loop, const struct config_listen *listen_at,
                                       const struct http_server_options *options)
{
    struct http_server *server = alloc_zero(1, sizeof(*server));
    int fd = open_listener(listen_at, &server->port);

    if (fd < 0) {
        free(server);
        return NULL;
    }
    if (options)
        server->options = *options;
    struct http_server_options *o = &server->options;
    o->max_body_bytes = o->max_body_bytes ? o->max_body_bytes : DEFAULT_MAX_BODY;
    o->max_connections = o->max_connections ? o->max_connections : DEFAULT_MAX_CONNECTIONS;
    o->idle_timeout_s = o->idle_timeout_s ? o->idle_timeout_s : DEFAULT_IDLE_S;
    server->loop = loop;
    server->unmatched.method = alloc_string("*");
    server->unmatched.pattern = alloc_string("*");
    SLIST_INIT(&server->routes);
    LIST_INIT(&server->requests);
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, NULL, NULL, on_request, server,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, server, MHD_OPTION_CONNECTION_LIMIT, o->max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
        o->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
    if (!server->daemon)
        abort();
    int epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->readable = event_new(loop, epoll_fd, EV_READ | EV_PERSIST, on_event, server);
    server->timer = evtimer_new(loop, on_event, server);
    if (!server->readable || !server->timer || event_add(server->readable, NULL) != 0)
        abort();
    arm_timer(server);
    return server;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_route(struct http_server *server, const char *method, const char *pattern, http_handler_fn handler,
                       void *context)
{
    struct route *route = alloc_zero(1, sizeof(*route));

    route->method = alloc_string(method);
    route->pattern = alloc_string(pattern);
    route->handler = handler;
    route->context = context;
    SLIST_INSERT_HEAD(&server->routes, route, entry);
}

void http_server_quiesce(struct http_server *server)
{
    MHD_socket fd = MHD_quiesce_daemon(server->daemon);

    if (fd >= 0)
        close(fd);
}

void http_server_destroy(struct http_server *server)
{
    struct http_request *request;
    struct route *route;

    if (!server)
        return;
    server->destroying = true;
    http_server_quiesce(server);
    /* MHD wants no suspended connection when it stops. */
    LIST_FOREACH(request, &server->requests, entry)
    {
        if (request->suspended)
            http_reply_error(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting_down", "the service is stopping");
    }
    MHD_run(server->daemon);
    MHD_run(server->daemon);
    event_free(server->readable);
    event_free(server->timer);
    MHD_stop_daemon(server->daemon);
    while ((route = SLIST_FIRST(&server->routes))) {
        SLIST_REMOVE_HEAD(&server->routes, entry);
        free(route->method);
        free(route->pattern);
        free(route);
    }
    free(server->unmatched.method);
    free(server->unmatched.pattern);
    free(server);
}
