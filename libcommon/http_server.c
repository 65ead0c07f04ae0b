/* libmicrohttpd does HTTP; here it is driven by our own loop. MHD keeps all its sockets in one epoll descriptor, so one
 * libevent event on that descriptor and one slow tick are all that is needed, and handlers run on the loop thread.
 *
 * A request is born when its first line has been read and dies when MHD says that it is over. A handler that does not
 * answer at once suspends the connection; the answer resumes it, and MHD calls us once more to queue it. MHD does not
 * look at a suspended connection's socket, so a client that has gone is noticed only then: that is why a request stays
 * valid until its reply. */
#include "libcommon/http_server.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/http_request.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/util.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MAX_BODY        (64 * 1024)
#define DEFAULT_MAX_CONNECTIONS 10000
#define DEFAULT_IDLE_S          30
#define DEFAULT_CONNECTION      (16 * 1024)
/* So much of a body beyond the limit is read and thrown away, so that the client reads the 413 and no reset. */
#define MAX_DROPPED_BODY (1024 * 1024)
#define TICK_MS          500

struct http_server {
    struct event_base *loop;
    struct MHD_Daemon *daemon;
    struct event *readable;
    struct event *tick;
    struct http_server_options options;
    STAILQ_HEAD(, http_route) routes;
    struct http_route unmatched; /* counts what fits no route */
    LIST_HEAD(, http_request) requests;
    TAILQ_HEAD(http_connections, http_connection) watched; /* the longest waited for first */
    uint16_t port;
    bool is_quiesced, is_ending;
    time_t date_s;
    char date[32];
};

struct metrics *http_server_metrics(const struct http_server *server)
{
    return server->options.metrics;
}

bool http_server_is_quiesced(const struct http_server *server)
{
    return server->is_quiesced;
}

const char *http_server_date(struct http_server *server)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now_s = (time_t)(clock_wall_ms() / 1000);
    struct tm utc;

    if (now_s != server->date_s && gmtime_r(&now_s, &utc)) {
        /* Not strftime(): its names follow the locale. */
        snprintf(server->date, sizeof(server->date), "%s, %02d %s %04d %02d:%02d:%02d GMT", days[utc.tm_wday],
                 utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
        server->date_s = now_s;
    }
    return server->date;
}

/* MHD's own timeout starts anew with every byte; this bounds what a client may take that sends or reads one byte at a
 * time: twice that timeout for a whole request to come, and for an answer to be taken. */
static void watch(struct http_server *server, struct http_connection *client)
{
    if (client->is_watched)
        TAILQ_REMOVE(&server->watched, client, entry);
    client->is_watched = true;
    client->since_ms = clock_monotonic_ms();
    TAILQ_INSERT_TAIL(&server->watched, client, entry);
}

static void unwatch(struct http_server *server, struct http_connection *client)
{
    if (client->is_watched)
        TAILQ_REMOVE(&server->watched, client, entry);
    client->is_watched = false;
}

static void close_dawdlers(struct http_server *server)
{
    int64_t oldest_ms = clock_monotonic_ms() - 2000 * (int64_t)server->options.idle_timeout_s;
    struct http_connection *client;

    while ((client = TAILQ_FIRST(&server->watched)) && client->since_ms < oldest_ms) {
        unwatch(server, client);
        shutdown(client->fd, SHUT_RDWR); /* MHD sees the end of the stream and cleans up */
    }
}

static void run_daemon(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    MHD_run(server->daemon);
    /* Timeouts of idle connections may come as late as the next tick; work that MHD has put off may not. It is done in
     * the loop's next turn, so that other events get theirs. */
    if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0)
        event_active(server->readable, EV_TIMEOUT, 0);
}

static void on_readable(evutil_socket_t fd, short events, void *context)
{
    run_daemon(context);
}

static void on_tick(evutil_socket_t fd, short events, void *context)
{
    struct http_server *server = context;

    close_dawdlers(server);
    run_daemon(server);
}

void http_server_resume(struct http_request *request)
{
    watch(request->server, request->client);
    MHD_resume_connection(request->connection);
    event_active(request->server->readable, EV_TIMEOUT, 0);
}

/* The route, or NULL; then `allowed` lists the methods the path does know ("" when it is unknown). */
static struct http_route *find_route(struct http_request *request, char *allowed, size_t allowed_size)
{
    const char *method = strcmp(request->method, MHD_HTTP_METHOD_HEAD) == 0 ? MHD_HTTP_METHOD_GET : request->method;
    size_t path_len = strlen(request->uri), used = 0;
    struct http_route *route;

    allowed[0] = '\0';
    STAILQ_FOREACH(route, &request->server->routes, entry)
    {
        struct http_route_match match;

        if (!http_route_matches(route->pattern, request->uri, path_len, &match))
            continue;
        if (strcmp(route->method, method) == 0) {
            request->match = match;
            return route;
        }
        if (used < allowed_size)
            used += (size_t)snprintf(allowed + used, allowed_size - used, "%s%s%s", used ? ", " : "", route->method,
                                     strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

static void reply_too_large(struct http_request *request)
{
    http_reply_error(request, MHD_HTTP_CONTENT_TOO_LARGE, "body_too_large", "the request's body is too large");
}

static void dispatch(struct http_request *request)
{
    const char *outer_scope = request_scope_enter(http_request_id(request));
    char allowed[128];
    struct http_route *route = find_route(request, allowed, sizeof(allowed));

    request->state = HTTP_HANDLING;
    if (route)
        request->route = route;
    if (!route && !allowed[0]) {
        http_reply_error(request, MHD_HTTP_NOT_FOUND, "not_found", "no such path");
    } else if (!route) {
        http_reply_header(request, MHD_HTTP_HEADER_ALLOW, allowed);
        http_reply_error(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
                         "the path exists, but not for this method");
    } else if (request->body_dropped > 0) {
        reply_too_large(request);
    } else if (!http_request_decode_params(request)) {
        http_reply_error(request, MHD_HTTP_BAD_REQUEST, "bad_escape",
                         "a percent escape in the path is broken or no UTF-8");
    } else {
        route->handler(request, route->context);
    }
    request_scope_leave(outer_scope);
}

/* Called with the request line, before the handler: the one place where the path is still as it was sent. */
static void *on_request_line(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct http_server *server = context;
    struct http_request *request = alloc_zero(1, sizeof(*request));

    request->server = server;
    request->connection = connection;
    request->client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    request->route = &server->unmatched;
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

    watch(request->server, request->client);
    result = MHD_queue_response(request->connection, request->status, request->response);
    MHD_destroy_response(request->response);
    request->response = NULL;
    return result;
}

/* The first call, with only the headers. An answer given here makes MHD close the connection when the request is not
 * over yet, so there is one only for a body that is not worth reading: hopelessly large, or not sent before we agree to
 * it. */
static enum MHD_Result on_headers(struct http_request *request, const char *method)
{
    const char *length = http_request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t declared = length ? strtoull(length, NULL, 10) : 0;
    uint64_t max = request->server->options.max_body_bytes;

    request->method = method;
    if (declared <= max ||
        (declared <= max + MAX_DROPPED_BODY && !http_request_header(request, MHD_HTTP_HEADER_EXPECT)))
        return MHD_YES;
    reply_too_large(request);
    return queue_answer(request);
}

/* MHD_NO closes the connection: for a client that goes on sending into a body that is long refused. */
static enum MHD_Result take_body(struct http_request *request, const char *bytes, size_t len_bytes)
{
    size_t room = request->server->options.max_body_bytes - request->body.len;

    if (request->body_dropped > 0 || len_bytes > room || buffer_append(&request->body, bytes, len_bytes) != 0)
        request->body_dropped += len_bytes;
    return request->body_dropped > MAX_DROPPED_BODY ? MHD_NO : MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_len, void **request_slot)
{
    struct http_request *request = *request_slot;

    if (!request->method)
        return on_headers(request, method);
    if (*upload_len > 0) {
        size_t len_bytes = *upload_len;

        *upload_len = 0;
        return take_body(request, upload, len_bytes);
    }
    /* Nobody is there any more to handle it. Closed without an answer, the edge asks another instance. */
    if (request->server->is_ending && request->state == HTTP_RECEIVING)
        return MHD_NO;
    unwatch(request->server, request->client);
    if (request->state == HTTP_RECEIVING)
        dispatch(request);
    if (request->state == HTTP_ANSWERED)
        return queue_answer(request);
    request->state = HTTP_WAITING;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_slot,
                         enum MHD_RequestTerminationCode why)
{
    struct http_request *request = *request_slot;

    *request_slot = NULL;
    if (!request)
        return;
    /* MHD neither watches nor times out a suspended connection, and stops only when there is none. */
    assert(request->state != HTTP_WAITING && request->state != HTTP_HANDLING);
    watch(request->server, request->client);
    LIST_REMOVE(request, entry);
    http_request_clear(request);
    free(request);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **client_slot,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *server = context;
    struct http_connection *client = *client_slot;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *client_slot = client = alloc_zero(1, sizeof(*client));
        client->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        watch(server, client);
    } else if (client) {
        unwatch(server, client);
        free(client);
        *client_slot = NULL;
    }
}

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

static void set_defaults(struct http_server_options *options)
{
    options->max_body_bytes = options->max_body_bytes ? options->max_body_bytes : DEFAULT_MAX_BODY;
    options->max_connections = options->max_connections ? options->max_connections : DEFAULT_MAX_CONNECTIONS;
    options->idle_timeout_s = options->idle_timeout_s ? options->idle_timeout_s : DEFAULT_IDLE_S;
    options->connection_bytes = options->connection_bytes ? options->connection_bytes : DEFAULT_CONNECTION;
}

static struct MHD_Daemon *start_daemon(struct http_server *server, int fd)
{
    const struct http_server_options *options = &server->options;

    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO, 0, NULL, NULL, on_request, server,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
                            on_connection, server, MHD_OPTION_CONNECTION_LIMIT, options->max_connections,
                            MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            options->connection_bytes, MHD_OPTION_END);
}

struct http_server *http_server_create(struct event_base *loop, const struct config_listen *listen_at,
                                       const struct http_server_options *options)
{
    const struct timeval tick = {0, TICK_MS * 1000};
    struct http_server *server = alloc_zero(1, sizeof(*server));
    int fd = open_listener(listen_at, &server->port);

    if (fd < 0) {
        free(server);
        return NULL;
    }
    if (options)
        server->options = *options;
    set_defaults(&server->options);
    server->loop = loop;
    server->unmatched.method = alloc_string("*");
    server->unmatched.pattern = alloc_string("*");
    STAILQ_INIT(&server->routes);
    LIST_INIT(&server->requests);
    TAILQ_INIT(&server->watched);
    server->daemon = start_daemon(server, fd);
    if (!server->daemon)
        abort();
    int epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->readable = event_new(loop, epoll_fd, EV_READ | EV_PERSIST, on_readable, server);
    server->tick = event_new(loop, -1, EV_PERSIST, on_tick, server);
    if (!server->readable || !server->tick || event_add(server->readable, NULL) || event_add(server->tick, &tick))
        abort();
    return server;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_route(struct http_server *server, const char *method, const char *pattern, http_handler_fn handler,
                       void *context)
{
    struct http_route *route = alloc_zero(1, sizeof(*route));

    route->method = alloc_string(method);
    route->pattern = alloc_string(pattern);
    route->handler = handler;
    route->context = context;
    STAILQ_INSERT_TAIL(&server->routes, route, entry);
}

void http_server_quiesce(struct http_server *server)
{
    if (server->is_quiesced)
        return;
    server->is_quiesced = true;
    MHD_socket fd = MHD_quiesce_daemon(server->daemon);
    if (fd >= 0)
        close(fd);
}

static void free_routes(struct http_server *server)
{
    struct http_route *route;

    while ((route = STAILQ_FIRST(&server->routes))) {
        STAILQ_REMOVE_HEAD(&server->routes, entry);
        free(route->method);
        free(route->pattern);
        free(route);
    }
    free(server->unmatched.method);
    free(server->unmatched.pattern);
}

bool http_server_is_idle(const struct http_server *server)
{
    return LIST_EMPTY(&server->requests);
}

void http_server_destroy(struct http_server *server)
{
    struct http_request *request;

    if (!server)
        return;
    http_server_quiesce(server);
    server->is_ending = true;
    /* MHD wants no suspended connection when it stops. */
    LIST_FOREACH(request, &server->requests, entry)
    {
        if (request->state == HTTP_WAITING)
            http_reply_error(request, MHD_HTTP_SERVICE_UNAVAILABLE, "shutting_down", "the service is stopping");
    }
    /* One run queues these answers, the next one sends them. */
    MHD_run(server->daemon);
    MHD_run(server->daemon);
    event_free(server->readable);
    event_free(server->tick);
    MHD_stop_daemon(server->daemon);
    free_routes(server);
    free(server);
}
