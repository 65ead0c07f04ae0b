/* Everything starts from a zero timer, so that even a connect that fails at once reports on the loop and not inside
 * redis_connection_open. `depth` counts the handlers on the stack; freeing waits for it to come back to zero. */
#include "libcommon/redis_connection.h"

#include "libcommon/alloc.h"
#include "libcommon/resolver.h"
#include "libcommon/tls_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_ADDRESSES          4
#define MAX_READ_BYTES         (256 * 1024)
#define LIBEVENT_READ_BYTES    4096
#define COPY_BYTES             4096
#define TCP_USER_TIMEOUT_MS    5000
#define KEEPALIVE_IDLE_SECONDS 5

struct redis_connection {
    struct event_base *loop;
    struct redis_connection_handlers handlers;
    void *context;
    struct redis_address address;
    struct redis_tls tls;
    struct event *start;
    struct resolver_request *resolving;
    struct sockaddr_storage candidates[MAX_ADDRESSES];
    socklen_t candidate_lens[MAX_ADDRESSES];
    size_t candidate_count, candidate_next;
    struct event *connecting; /* owns connecting_fd */
    int connecting_fd;
    struct bufferevent *stream;
    struct event *resume; /* ends a pause in reading; NULL without pauses */
    int64_t pause_ms;
    redisReader *reader;
    redisReply *delivered; /* during on_reply */
    int depth;
    bool closed; /* on_closed was called */
    bool freed;
};

static void connect_next(struct redis_connection *connection, int previous_error);

static void enter(struct redis_connection *connection)
{
    connection->depth++;
}

static void leave(struct redis_connection *connection)
{
    connection->depth--;
    if (connection->depth > 0 || !connection->freed)
        return;
    redisReaderFree(connection->reader);
    event_free(connection->start);
    free(connection);
}

static void release_line(struct redis_connection *connection)
{
    resolver_cancel(connection->resolving);
    connection->resolving = NULL;
    if (connection->connecting) {
        event_free(connection->connecting);
        connection->connecting = NULL;
        close(connection->connecting_fd);
    }
    if (connection->stream)
        bufferevent_free(connection->stream);
    connection->stream = NULL;
    if (connection->resume)
        event_free(connection->resume);
    connection->resume = NULL;
}

static void report_closed(struct redis_connection *connection, const char *why)
{
    if (connection->closed || connection->freed)
        return;
    connection->closed = true;
    release_line(connection);
    enter(connection);
    connection->handlers.on_closed(why, connection->context);
    leave(connection);
}

/* A line that dies without a word is found by those above (pings, deadlines); these make the kernel notice as well. */
static void set_socket_options(int fd)
{
    const int on = 1, idle = KEEPALIVE_IDLE_SECONDS, interval = 1, count = 3;
    const unsigned user_timeout = TCP_USER_TIMEOUT_MS;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
}

/* --- an open line --- */

/* Hands out every whole reply. False: the connection ended meanwhile. */
static bool deliver_replies(struct redis_connection *connection)
{
    for (;;) {
        void *reply = NULL;

        if (redisReaderGetReply(connection->reader, &reply) != REDIS_OK) {
            report_closed(connection, "not the Redis protocol");
            return false;
        }
        if (!reply)
            return true;
        connection->delivered = reply;
        connection->handlers.on_reply(reply, connection->context);
        freeReplyObject(connection->delivered); /* NULL is fine: it was taken */
        connection->delivered = NULL;
        if (connection->freed || connection->closed)
            return false;
    }
}

/* False: the connection ended with it. */
static bool take(struct redis_connection *connection, const char *bytes, size_t len)
{
    if (redisReaderFeed(connection->reader, bytes, len) == REDIS_OK)
        return deliver_replies(connection);
    report_closed(connection, "out of memory for a reply");
    return false;
}

/* libevent takes at most 4 KiB from a socket in a turn of the loop, whatever it is told, and under a flood of messages
 * that is less than has come by the next turn. What else is there is taken past it; an end is left for it to find. */
static void take_rest(struct redis_connection *connection)
{
    char bytes[32 * 1024];
    ssize_t len;

    for (size_t taken = 0; taken < MAX_READ_BYTES; taken += (size_t)len) {
        len = recv(bufferevent_getfd(connection->stream), bytes, sizeof(bytes), MSG_DONTWAIT);
        if (len <= 0 || !take(connection, bytes, (size_t)len) || (size_t)len < sizeof(bytes))
            break;
    }
}

static void on_readable(struct bufferevent *stream, void *context)
{
    struct redis_connection *connection = context;
    struct evbuffer *input = bufferevent_get_input(stream);
    size_t len, total = 0;
    bool is_open = true;

    enter(connection);
    while (is_open && (len = evbuffer_get_contiguous_space(input)) > 0) {
        is_open = take(connection, (const char *)evbuffer_pullup(input, (ev_ssize_t)len), len);
        total += len;
        if (is_open)
            evbuffer_drain(input, len);
    }
    if (is_open && total >= LIBEVENT_READ_BYTES && !connection->tls.is_on)
        take_rest(connection);
    if (connection->resume) {
        const struct timeval pause = {connection->pause_ms / 1000, connection->pause_ms % 1000 * 1000};

        bufferevent_disable(stream, EV_READ);
        evtimer_add(connection->resume, &pause);
    }
    leave(connection);
}

static void on_resume(evutil_socket_t fd, short events, void *context)
{
    struct redis_connection *connection = context;

    bufferevent_enable(connection->stream, EV_READ);
}

void redis_connection_set_reply_pause(struct redis_connection *connection, int64_t pause_ms)
{
    connection->pause_ms = pause_ms;
    if (pause_ms <= 0 || connection->resume || !connection->stream)
        return;
    connection->resume = evtimer_new(connection->loop, on_resume, connection);
    if (!connection->resume)
        abort();
}

static void report_open(struct redis_connection *connection)
{
    enter(connection);
    if (connection->handlers.on_open)
        connection->handlers.on_open(connection->context);
    leave(connection);
}

static void on_stream_event(struct bufferevent *stream, short events, void *context)
{
    struct redis_connection *connection = context;
    int socket_error = EVUTIL_SOCKET_ERROR();
    unsigned long tls_error = connection->tls.is_on ? bufferevent_get_openssl_error(stream) : 0;
    char why[160];

    if (events & BEV_EVENT_CONNECTED) {
        report_open(connection);
    } else if (tls_error) {
        tls_client_explain(bufferevent_openssl_get_ssl(stream), tls_error, why, sizeof(why));
        report_closed(connection, why);
    } else if (events & BEV_EVENT_EOF || socket_error == 0) {
        report_closed(connection, "closed by the server");
    } else {
        report_closed(connection, strerror(socket_error));
    }
}

static void open_stream(struct redis_connection *connection, int fd)
{
    char why[400];
    struct ssl_st *session = NULL;

    if (connection->tls.is_on) {
        session = tls_client_session(connection->tls.ca, connection->address.host, why, sizeof(why));
        if (!session) {
            close(fd);
            report_closed(connection, why);
            return;
        }
    }
    connection->stream = session ? bufferevent_openssl_socket_new(connection->loop, fd, session,
                                                                  BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE)
                                 : bufferevent_socket_new(connection->loop, fd, BEV_OPT_CLOSE_ON_FREE);
    if (!connection->stream)
        abort();
    if (session)
        bufferevent_openssl_set_allow_dirty_shutdown(connection->stream, 1);
    bufferevent_set_max_single_read(connection->stream, MAX_READ_BYTES);
    bufferevent_set_max_single_write(connection->stream, MAX_READ_BYTES);
    bufferevent_setcb(connection->stream, on_readable, NULL, on_stream_event, connection);
    bufferevent_enable(connection->stream, EV_READ | EV_WRITE);
    if (!connection->tls.is_on)
        report_open(connection);
}

/* --- connecting --- */

static void on_connect_result(evutil_socket_t fd, short events, void *context)
{
    struct redis_connection *connection = context;
    int error = 0;
    socklen_t len = sizeof(error);

    event_free(connection->connecting);
    connection->connecting = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0) {
        open_stream(connection, fd);
        return;
    }
    close(fd);
    connect_next(connection, error);
}

/* A name may have several addresses (localhost: ::1 and 127.0.0.1) of which only one is served. */
static void connect_next(struct redis_connection *connection, int previous_error)
{
    int error = previous_error;

    while (connection->candidate_next < connection->candidate_count) {
        size_t i = connection->candidate_next++;
        const struct sockaddr *address = (const struct sockaddr *)&connection->candidates[i];
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0) {
            error = errno;
            continue;
        }
        if (address->sa_family != AF_UNIX)
            set_socket_options(fd);
        if (connect(fd, address, connection->candidate_lens[i]) == 0 || errno == EINPROGRESS) {
            connection->connecting_fd = fd;
            connection->connecting = event_new(connection->loop, fd, EV_WRITE, on_connect_result, connection);
            if (!connection->connecting)
                abort();
            event_add(connection->connecting, NULL);
            return;
        }
        error = errno;
        close(fd);
    }
    report_closed(connection, error ? strerror(error) : "no address");
}

static void take_addresses(struct redis_connection *connection, const struct addrinfo *list)
{
    for (; list && connection->candidate_count < MAX_ADDRESSES; list = list->ai_next) {
        size_t i = connection->candidate_count++;

        memcpy(&connection->candidates[i], list->ai_addr, list->ai_addrlen);
        connection->candidate_lens[i] = list->ai_addrlen;
    }
}

static void on_resolved(int code, const struct addrinfo *addresses, void *context)
{
    struct redis_connection *connection = context;

    connection->resolving = NULL;
    if (code != 0) {
        report_closed(connection, gai_strerror(code));
        return;
    }
    take_addresses(connection, addresses);
    connect_next(connection, 0);
}

static void on_start(evutil_socket_t fd, short events, void *context)
{
    struct redis_connection *connection = context;
    const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char service[8];

    if (connection->address.port == 0) {
        struct sockaddr_un *address = (struct sockaddr_un *)&connection->candidates[0];

        address->sun_family = AF_UNIX;
        memcpy(address->sun_path, connection->address.host, strnlen(connection->address.host, 107));
        connection->candidate_lens[0] = sizeof(*address);
        connection->candidate_count = 1;
        connect_next(connection, 0);
        return;
    }
    snprintf(service, sizeof(service), "%d", connection->address.port & 0xffff);
    if (getaddrinfo(connection->address.host, service, &numeric, &list) == 0) {
        take_addresses(connection, list);
        freeaddrinfo(list);
        connect_next(connection, 0);
        return;
    }
    connection->resolving =
        resolver_start(connection->loop, connection->address.host, connection->address.port, on_resolved, connection);
    if (!connection->resolving)
        report_closed(connection, "the name look-up could not be started");
}

struct redis_connection *redis_connection_open(struct event_base *loop, const struct redis_address *address,
                                               const struct redis_tls *tls,
                                               const struct redis_connection_handlers *handlers, void *context)
{
    struct redis_connection *connection = alloc_zero(1, sizeof(*connection));
    const struct timeval at_once = {0, 0};

    connection->loop = loop;
    connection->handlers = *handlers;
    connection->context = context;
    connection->address = *address;
    connection->tls = *tls;
    connection->reader = redisReaderCreate();
    connection->start = event_new(loop, -1, 0, on_start, connection);
    if (!connection->reader || !connection->start)
        abort();
    event_add(connection->start, &at_once);
    return connection;
}

void redis_connection_free(struct redis_connection *connection)
{
    if (!connection || connection->freed)
        return;
    connection->freed = true;
    release_line(connection);
    event_del(connection->start);
    enter(connection);
    leave(connection);
}

struct redisReply *redis_connection_take_reply(struct redis_connection *connection)
{
    struct redisReply *reply = connection->delivered;

    connection->delivered = NULL;
    return reply;
}

void redis_connection_set_handlers(struct redis_connection *connection,
                                   const struct redis_connection_handlers *handlers, void *context)
{
    connection->handlers = *handlers;
    connection->context = context;
}

/* --- sending --- */

static void free_sent_command(const void *data, size_t len, void *extra)
{
    redisFreeCommand((char *)(uintptr_t)data);
}

void redis_connection_send_take(struct redis_connection *connection, char *command, size_t len_bytes)
{
    if (!connection->stream) {
        redisFreeCommand(command);
        return;
    }
    struct evbuffer *output = bufferevent_get_output(connection->stream);
    /* Small commands share a chunk, large ones (a segment in an XADD) are not copied once more. */
    if (len_bytes > COPY_BYTES && evbuffer_add_reference(output, command, len_bytes, free_sent_command, NULL) == 0)
        return;
    if (evbuffer_add(output, command, len_bytes) != 0)
        abort();
    redisFreeCommand(command);
}

static void free_sent_memory(const void *data, size_t len, void *memory)
{
    free(memory);
}

void redis_connection_send_memory(struct redis_connection *connection, void *memory, size_t offset, size_t len_bytes)
{
    if (!connection->stream) {
        free(memory);
        return;
    }
    if (evbuffer_add_reference(bufferevent_get_output(connection->stream), (const char *)memory + offset, len_bytes,
                               free_sent_memory, memory) != 0)
        abort();
}

void redis_connection_send(struct redis_connection *connection, int count, const char *const *args, const size_t *lens)
{
    char *command = NULL;
    long long len = redisFormatCommandArgv(&command, count, (const char **)(uintptr_t)args, lens);

    if (len < 0)
        abort();
    redis_connection_send_take(connection, command, (size_t)len);
}
