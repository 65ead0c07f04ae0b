/* See status_server.h. The life of a connection:
 *
 *   reading   -> bytes come into the server's one scratch buffer; whole requests are answered into the other one and
 *                written at once. A part of a request is kept in connection->in.
 *   writing   -> the socket took only a part: the rest is in connection->out, nothing is read until it has gone.
 *   lingering -> an answer that ends the connection was sent; what still comes is thrown away until the peer closes,
 *                since closing over unread bytes would make the kernel throw the answer away (RFC 9112, 9.6).
 *
 * Connections closed while a batch of events is worked on are freed behind it: a later event may still point to them.
 */
#include "services/burst-status/status_server.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"
#include "services/burst-status/status_answer.h"
#include "services/burst-status/status_listener.h"
#include "services/burst-status/status_request.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES     (16 * 1024)
#define OUT_BYTES      (64 * 1024)
#define EVENTS_BATCH   256
#define BATCHES_MAX    32 /* per turn of the loop: under load the loop's own cost is shared by many */
#define ACCEPT_BATCH   64
#define IDLE_MS        60000
#define STALLED_MS     10000
#define LINGER_MS      2000
#define KEPT_MAX_BYTES (256 * 1024 * 1024) /* what slow clients may make us keep, all together */
#define TICK_MS        500
#define RETRY_404_MIN  2 /* seconds */
#define RETRY_404_SPAN 4

enum connection_state { CONNECTION_READING, CONNECTION_WRITING, CONNECTION_LINGERING, CONNECTION_DEAD };

struct connection {
    TAILQ_ENTRY(connection) entry; /* in the list of `deadline_ms`, or among the dead */
    struct connection_list *list;
    int64_t deadline_ms;
    int fd;
    enum connection_state state;
    bool closes; /* once the answers are written */
    uint32_t in_len, out_len, out_sent;
    char *in, *out; /* NULL unless there is something to keep */
};
TAILQ_HEAD(connection_list, connection);

struct status_server {
    struct event_base *loop;
    struct status_server_options options;
    struct status_answers answers;
    int listener, epoll;
    uint16_t port;
    struct event *readable, *tick;
    /* One list per length of deadline, so that each is in order of its deadlines. */
    struct connection_list idle, stalled, lingering, dead;
    size_t connections;
    int64_t now_ms;    /* of this batch */
    size_t kept_bytes; /* of all connections' `in` and `out` */
    bool draining;
    uint64_t ok, missed, refused; /* since the last batch */
    struct metric *requests_ok, *requests_missed, *requests_refused, *connections_gauge, *kept_gauge, *evicted,
        *timed_out;
    char in[STATUS_REQUEST_HEAD_MAX + READ_BYTES + 1];
    char out[OUT_BYTES];
};

/* --- lives of connections --- */

static void set_deadline(struct status_server *server, struct connection *connection, struct connection_list *list,
                         int64_t within_ms)
{
    TAILQ_REMOVE(connection->list, connection, entry);
    connection->list = list;
    connection->deadline_ms = server->now_ms + within_ms;
    TAILQ_INSERT_TAIL(list, connection, entry);
}

static void close_connection(struct status_server *server, struct connection *connection)
{
    if (connection->state == CONNECTION_DEAD)
        return;
    close(connection->fd); /* leaves the epoll set by that */
    connection->fd = -1;
    connection->state = CONNECTION_DEAD;
    set_deadline(server, connection, &server->dead, 0);
    server->connections--;
}

static void release(struct status_server *server, char **kept, uint32_t *kept_len)
{
    server->kept_bytes -= *kept_len;
    free(*kept);
    *kept = NULL;
    *kept_len = 0;
}

/* A copy in place of what was kept before; false: slow clients have it all, and this one is closed. */
static bool keep(struct status_server *server, struct connection *connection, char **kept, uint32_t *kept_len,
                 const char *bytes, size_t len_bytes)
{
    release(server, kept, kept_len);
    if (len_bytes == 0)
        return true;
    if (server->kept_bytes + len_bytes > KEPT_MAX_BYTES) {
        metric_add(server->evicted, 1);
        close_connection(server, connection);
        return false;
    }
    *kept = alloc_zero(1, len_bytes);
    *kept_len = (uint32_t)len_bytes;
    memcpy(*kept, bytes, len_bytes);
    server->kept_bytes += len_bytes;
    return true;
}

static void free_dead(struct status_server *server)
{
    struct connection *connection;

    while ((connection = TAILQ_FIRST(&server->dead))) {
        TAILQ_REMOVE(&server->dead, connection, entry);
        release(server, &connection->in, &connection->in_len);
        release(server, &connection->out, &connection->out_len);
        free(connection);
    }
}

static void wait_for(struct status_server *server, struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};

    if (epoll_ctl(server->epoll, EPOLL_CTL_MOD, connection->fd, &event) != 0)
        close_connection(server, connection);
}

static void start_lingering(struct status_server *server, struct connection *connection)
{
    shutdown(connection->fd, SHUT_WR);
    release(server, &connection->in, &connection->in_len);
    connection->state = CONNECTION_LINGERING;
    set_deadline(server, connection, &server->lingering, LINGER_MS);
}

/* --- answering --- */

static size_t answer(struct status_server *server, const struct status_request *request, char *out)
{
    const struct status_answers *answers = &server->answers;
    struct retry_policy *policy = server->options.policy;
    bool keep_alive = request->keep_alive && !server->draining;
    bool with_body = request->method != STATUS_HEAD;

    if (request->error != 0) {
        server->refused++;
        return status_answer_error(answers, out, request->error, 0, keep_alive, with_body);
    }
    if (request->method == STATUS_OPTIONS)
        return status_answer_options(answers, out, keep_alive);
    const struct status_entry *entry =
        request->id ? status_table_find(server->options.table, request->id, request->id_len) : NULL;
    if (entry) {
        server->ok++;
        uint32_t retry_ms = retry_policy_draw(policy, entry->state, server->now_ms - entry->since_ms);
        return status_answer_state(answers, out, entry, retry_ms, keep_alive, with_body);
    }
    server->missed++;
    /* Whoever asks for what is not there is spread as well, in whole seconds, as the header has it. */
    unsigned retry_s = RETRY_404_MIN + retry_policy_draw(policy, BROADCAST_SUSPENDED, 0) % RETRY_404_SPAN;
    bool is_gone = !request->id || server->options.knows_all(server->options.context);
    return status_answer_error(answers, out, is_gone ? 404 : 503, retry_s, keep_alive, with_body);
}

/* Writes what is in server->out. 0 all gone; 1 the rest is kept and the connection waits; -1 closed. */
static int write_out(struct status_server *server, struct connection *connection, size_t len_bytes)
{
    ssize_t sent = len_bytes ? send(connection->fd, server->out, len_bytes, MSG_NOSIGNAL) : 0;

    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        close_connection(server, connection);
        return -1;
    }
    size_t gone = sent > 0 ? (size_t)sent : 0;
    if (gone == len_bytes)
        return 0;
    connection->out_sent = 0;
    if (!keep(server, connection, &connection->out, &connection->out_len, server->out + gone, len_bytes - gone))
        return -1;
    connection->state = CONNECTION_WRITING;
    set_deadline(server, connection, &server->stalled, STALLED_MS);
    wait_for(server, connection, EPOLLOUT);
    return 1;
}

/* Answers all whole requests in `bytes`; keeps the rest. The connection may be dead, writing or lingering afterwards.
 */
static void work_on(struct status_server *server, struct connection *connection, const char *bytes, size_t len_bytes)
{
    size_t at = 0, out_len = 0;
    bool was_partial = connection->in_len > 0;

    while (at < len_bytes && !connection->closes) {
        struct status_request request;

        if (status_request_parse(bytes + at, len_bytes - at, &request) == STATUS_REQUEST_INCOMPLETE)
            break;
        if (out_len + STATUS_ANSWER_MAX > OUT_BYTES) {
            if (write_out(server, connection, out_len) != 0) {
                if (connection->state == CONNECTION_WRITING)
                    (void)keep(server, connection, &connection->in, &connection->in_len, bytes + at, len_bytes - at);
                return;
            }
            out_len = 0;
        }
        out_len += answer(server, &request, server->out + out_len);
        at += request.len;
        connection->closes = !request.keep_alive || server->draining;
    }
    bool answered = at > 0;
    size_t rest = connection->closes ? 0 : len_bytes - at;
    if (!keep(server, connection, &connection->in, &connection->in_len, bytes + at, rest))
        return;
    if (write_out(server, connection, out_len) != 0)
        return;
    if (connection->closes)
        start_lingering(server, connection);
    else if (rest > 0 && (answered || !was_partial))
        set_deadline(server, connection, &server->stalled, STALLED_MS); /* for the whole head, however it drips */
    else if (rest == 0)
        set_deadline(server, connection, &server->idle, IDLE_MS);
}

/* --- events --- */

static void on_readable(struct status_server *server, struct connection *connection)
{
    size_t kept = connection->in_len;

    if (connection->state == CONNECTION_LINGERING)
        kept = 0;
    else if (kept > 0)
        memcpy(server->in, connection->in, kept);
    ssize_t got = recv(connection->fd, server->in + kept, READ_BYTES, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        close_connection(server, connection);
        return;
    }
    if (got > 0 && connection->state == CONNECTION_READING)
        work_on(server, connection, server->in, kept + (size_t)got);
}

static void on_writable(struct status_server *server, struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->out + connection->out_sent,
                        connection->out_len - connection->out_sent, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR)
            close_connection(server, connection);
        return;
    }
    connection->out_sent += (uint32_t)sent;
    if (connection->out_sent < connection->out_len)
        return;
    release(server, &connection->out, &connection->out_len);
    connection->out_sent = 0;
    wait_for(server, connection, EPOLLIN);
    if (connection->state == CONNECTION_DEAD)
        return;
    if (connection->closes) {
        start_lingering(server, connection);
        return;
    }
    connection->state = CONNECTION_READING;
    set_deadline(server, connection, &server->idle, IDLE_MS);
    if (connection->in_len > 0) {
        size_t len = connection->in_len;
        assert(len <= sizeof(server->in));
        memcpy(server->in, connection->in, len);
        release(server, &connection->in, &connection->in_len);
        work_on(server, connection, server->in, len);
    }
}

static void add_connection(struct status_server *server, int fd)
{
    struct connection *connection;

    if (server->connections >= server->options.max_connections) {
        metric_add(server->evicted, 1);
        /* The longest idle one, else the one that has kept us waiting longest. */
        connection = TAILQ_FIRST(&server->lingering);
        if (!connection)
            connection = TAILQ_FIRST(&server->idle);
        if (!connection)
            connection = TAILQ_FIRST(&server->stalled);
        close_connection(server, connection);
    }
    connection = alloc_zero(1, sizeof(*connection));
    connection->fd = fd;
    connection->list = &server->stalled;
    connection->deadline_ms = server->now_ms + STALLED_MS;
    TAILQ_INSERT_TAIL(&server->stalled, connection, entry);
    server->connections++;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        close_connection(server, connection);
}

static void on_acceptable(struct status_server *server)
{
    for (int i = 0; i < ACCEPT_BATCH && server->listener >= 0; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            add_connection(server, fd);
        } else if ((errno == EMFILE || errno == ENFILE) && !TAILQ_EMPTY(&server->idle)) {
            metric_add(server->evicted, 1);
            close_connection(server, TAILQ_FIRST(&server->idle));
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break;
        }
    }
}

static void report(struct status_server *server)
{
    uint64_t all = server->ok + server->missed + server->refused;

    if (all > 0) {
        metric_add(server->requests_ok, (double)server->ok);
        metric_add(server->requests_missed, (double)server->missed);
        metric_add(server->requests_refused, (double)server->refused);
        server->ok = server->missed = server->refused = 0;
    }
    retry_policy_count(server->options.policy, all, server->now_ms);
}

static void after_batch(struct status_server *server)
{
    free_dead(server);
    report(server);
    if (server->draining && server->connections == 0)
        server->options.on_drained(server->options.context);
}

static void on_batch(evutil_socket_t fd, short what, void *context)
{
    struct status_server *server = context;
    struct epoll_event events[EVENTS_BATCH];
    int count = 1;

    for (int round = 0; round < BATCHES_MAX && count > 0; round++) {
        count = epoll_wait(server->epoll, events, EVENTS_BATCH, 0);
        server->now_ms = clock_monotonic_ms();
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;

            if (!connection)
                on_acceptable(server);
            else if (connection->state == CONNECTION_WRITING)
                on_writable(server, connection);
            else if (connection->state != CONNECTION_DEAD)
                on_readable(server, connection);
        }
        after_batch(server);
    }
}

static void expire(struct status_server *server, struct connection_list *list, bool counts)
{
    struct connection *connection;

    while ((connection = TAILQ_FIRST(list)) && connection->deadline_ms <= server->now_ms) {
        if (counts)
            metric_add(server->timed_out, 1);
        close_connection(server, connection);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct status_server *server = context;

    server->now_ms = clock_monotonic_ms();
    status_answers_set_time(&server->answers, time(NULL));
    expire(server, &server->idle, false);
    expire(server, &server->stalled, true);
    expire(server, &server->lingering, false);
    metric_set(server->connections_gauge, (double)server->connections);
    metric_set(server->kept_gauge, (double)server->kept_bytes);
    after_batch(server);
}

/* --- life of the server --- */

static void make_metrics(struct status_server *server, struct metrics *metrics)
{
    static const char requests[] = "hanabi_status_requests_total", help[] = "requests answered on the public port";

    server->requests_ok = metrics_counter(metrics, requests, help, "answer=\"state\"");
    server->requests_missed = metrics_counter(metrics, requests, help, "answer=\"unknown\"");
    server->requests_refused = metrics_counter(metrics, requests, help, "answer=\"refused\"");
    server->connections_gauge = metrics_gauge(metrics, "hanabi_status_connections", "open on the public port", NULL);
    server->kept_gauge =
        metrics_gauge(metrics, "hanabi_status_kept_bytes", "parts of requests and answers of slow clients", NULL);
    server->evicted =
        metrics_counter(metrics, "hanabi_status_evicted_total", "connections closed to make room for new ones", NULL);
    server->timed_out = metrics_counter(metrics, "hanabi_status_timed_out_total",
                                        "connections closed in the middle of a request or an answer", NULL);
}

struct status_server *status_server_create(struct event_base *loop, const struct config_listen *listen,
                                           const struct status_server_options *options)
{
    struct status_server *server = alloc_zero(1, sizeof(*server));
    struct epoll_event event = {.events = EPOLLIN};
    const struct timeval tick = {0, TICK_MS * 1000};

    server->loop = loop;
    server->options = *options;
    server->now_ms = clock_monotonic_ms();
    TAILQ_INIT(&server->idle);
    TAILQ_INIT(&server->stalled);
    TAILQ_INIT(&server->lingering);
    TAILQ_INIT(&server->dead);
    status_answers_set_time(&server->answers, time(NULL));
    make_metrics(server, options->metrics);
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->listener = status_listener_open(listen, &server->port);
    if (server->epoll < 0 || server->listener < 0 ||
        epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listener, &event) != 0)
        goto failed;
    server->readable = event_new(loop, server->epoll, EV_READ | EV_PERSIST, on_batch, server);
    server->tick = event_new(loop, -1, EV_PERSIST, on_tick, server);
    event_add(server->readable, NULL);
    event_add(server->tick, &tick);
    return server;
failed:
    status_server_destroy(server);
    return NULL;
}

static void close_listener(struct status_server *server)
{
    if (server->listener >= 0)
        close(server->listener);
    server->listener = -1;
}

void status_server_destroy(struct status_server *server)
{
    struct connection_list *lists[] = {&server->idle, &server->stalled, &server->lingering};
    int error = errno;

    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        while (!TAILQ_EMPTY(lists[i]))
            close_connection(server, TAILQ_FIRST(lists[i]));
    free_dead(server);
    if (server->readable)
        event_free(server->readable);
    if (server->tick)
        event_free(server->tick);
    close_listener(server);
    if (server->epoll >= 0)
        close(server->epoll);
    free(server);
    errno = error;
}

uint16_t status_server_port(const struct status_server *server)
{
    return server->port;
}

void status_server_drain(struct status_server *server)
{
    struct connection *connection, *next;

    server->draining = true;
    close_listener(server);
    server->now_ms = clock_monotonic_ms();
    while (!TAILQ_EMPTY(&server->idle))
        close_connection(server, TAILQ_FIRST(&server->idle));
    for (connection = TAILQ_FIRST(&server->stalled); connection; connection = next) {
        next = TAILQ_NEXT(connection, entry);
        if (connection->state == CONNECTION_READING && connection->in_len == 0) /* has not said anything yet */
            close_connection(server, connection);
    }
    /* The tick, not this call, says that it is over: the caller's state is not in the middle of anything then. */
}
