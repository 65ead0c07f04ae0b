#include "worker.h"
#include "chat.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_BACKLOG  4096
#define ACCEPTS_AT_ONCE 64
#define RX_BUFFER_BYTES 1024 /* per connection, held by lws; longer messages come in pieces */
/* lws hands the kernel at most so much of a write and keeps a copy of the rest for a later turn. Left out it is
 * RX_BUFFER_BYTES, and a frame of a busy room would go in ten pieces. */
#define TX_PACKET_BYTES  (128 * 1024)
#define SECOND_MS        1000
#define DRAIN_TICK_MS    50
#define REST_FRAMES      2    /* so many times frame_ms a worker rests from frames at most */
#define LONG_FRAME_BYTES 8192 /* from here on the bytes cost more than the write */

/* --- listening --- */

/* One socket per worker on the same port: the kernel spreads the connections over them. */
static int open_listener(struct chat *chat, uint16_t *port)
{
    char service[8];
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof(bound);
    int on = 1, send_bytes = (int)chat->config.socket_send_kb * 1024, fd = -1, saved;

    snprintf(service, sizeof(service), "%u", *port);
    if (getaddrinfo(chat->config.listen.host, service, &hints, &found) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* The send buffer is inherited by accepted sockets: without a bound the kernel lets a slow reader hold megabytes.
     */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_len) != 0)
        goto fail;
    *port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                              : ((struct sockaddr_in *)&bound)->sin_port);
    freeaddrinfo(found);
    return fd;
fail:
    saved = errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    errno = saved;
    return -1;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = poll->data;

    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(worker->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            static struct log_limiter limiter = LOG_LIMITER(1000);

            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR && worker->index == 0)
                log_limited(&limiter, LOG_LEVEL_WARN, "accept.failed", log_str("why", strerror(errno)));
            return;
        }
        /* Closes the socket itself when it fails. */
        lws_adopt_socket_vhost(worker->vhost, fd);
    }
}

/* --- audiences --- */

static void audience_key(uint64_t id, char key[24])
{
    snprintf(key, 24, "%llx", (unsigned long long)id);
}

struct audience *worker_audience(struct worker *worker, uint64_t id, bool create)
{
    char key[24];
    struct audience *audience;

    audience_key(id, key);
    audience = table_get(worker->audiences, key);
    if (!audience && create) {
        audience = audience_create(worker, id);
        table_set(worker->audiences, key, audience);
    }
    return audience;
}

static void forget_dirty(struct worker *worker, struct audience *audience)
{
    struct audience **link = &worker->dirty;

    while (*link && *link != audience)
        link = &(*link)->dirty_next;
    if (*link)
        *link = audience->dirty_next;
}

void worker_audience_leave(struct connection *connection)
{
    struct audience *audience = connection->audience;
    char key[24];

    audience_remove(audience, connection);
    if (audience->count > 0)
        return;
    audience_key(audience->id, key);
    table_take(connection->worker->audiences, key);
    if (audience->is_dirty)
        forget_dirty(connection->worker, audience);
    audience_destroy(audience);
}

void worker_mark_dirty(struct audience *audience)
{
    if (audience->is_dirty)
        return;
    audience->is_dirty = true;
    audience->dirty_next = audience->worker->dirty;
    audience->worker->dirty = audience;
}

void worker_want_writable(struct connection *connection, int64_t now_ms)
{
    /* Who had nothing to take up to now is not slow. */
    if (connection->audience && connection->cursor + 1 >= connection->audience->next_frame &&
        !connection->private_first)
        connection->progress_ms = now_ms;
    lws_callback_on_writable(connection->wsi);
}

static void on_frame_timer(uv_timer_t *timer)
{
    worker_flush(timer->data);
}

/* Short frames cost what their writes cost, whatever is in them. With more viewers than it can write to in frame_ms, a
 * worker would do nothing but write; so it lets as much time go by as a round took, and the next frames hold more. */
static void rest(struct worker *worker, int64_t began_ms)
{
    int64_t now_ms = clock_monotonic_ms(), most_ms = REST_FRAMES * worker->chat->config.frame_ms;

    worker->rest_until_ms = now_ms + (now_ms - began_ms < most_ms ? now_ms - began_ms : most_ms);
}

void worker_flush(struct worker *worker)
{
    int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;
    size_t longest = 0;

    for (struct audience **link = &worker->dirty; *link;) {
        struct audience *audience = *link;
        int64_t due_ms = audience_due_ms(audience, now_ms);

        if (due_ms > now_ms) {
            next_ms = due_ms < next_ms ? due_ms : next_ms;
            link = &audience->dirty_next;
            continue;
        }
        *link = audience->dirty_next;
        audience->is_dirty = false;
        size_t bytes = audience_flush(audience, now_ms);

        longest = bytes > longest ? bytes : longest;
    }
    if (longest > 0 && longest < LONG_FRAME_BYTES)
        rest(worker, now_ms);
    if (worker->dirty)
        uv_timer_start(&worker->frame_timer, on_frame_timer, (uint64_t)(next_ms - now_ms), 0);
}

/* --- the end --- */

/* The same share of those who are left at every tick, so that they do not all come back in the same moment. */
static void on_drain_timer(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    int64_t ticks_left = (worker->drain_until_ms - clock_monotonic_ms()) / DRAIN_TICK_MS;
    size_t share = ticks_left > 0 ? worker->connection_count / (size_t)ticks_left + 1 : worker->connection_count;

    for (unsigned slot = 0; slot < WHEEL_SLOTS && share > 0; slot++)
        for (struct connection *one = worker->wheel[slot]; one && share > 0; one = one->wheel_next)
            if (!one->close_code) {
                connection_close(one, LWS_CLOSE_STATUS_GOINGAWAY, NULL);
                share--;
            }
    if (worker->connection_count == 0 && !worker->is_quiet) {
        worker->is_quiet = true;
        message_queue_push(&worker->chat->inbox, message_create(MESSAGE_QUIET, NULL));
    }
}

void worker_drain(struct worker *worker, int64_t until_ms)
{
    if (worker->listen_fd >= 0) {
        uv_poll_stop(&worker->listen_poll);
        close(worker->listen_fd);
        worker->listen_fd = -1;
    }
    worker->drain_until_ms = until_ms;
    uv_timer_start(&worker->drain_timer, on_drain_timer, DRAIN_TICK_MS, DRAIN_TICK_MS);
}

static void on_second_timer(uv_timer_t *timer)
{
    wheel_turn(timer->data, clock_monotonic_ms());
}

/* --- the thread --- */

static void on_async(uv_async_t *async)
{
    struct worker *worker = async->data;

    worker_on_messages(worker);
    if (worker->is_quitting)
        uv_stop(&worker->loop);
}

static void wake(void *context)
{
    uv_async_send(&((struct worker *)context)->async);
}

static void *run(void *context)
{
    struct worker *worker = context;
    char name[16];

    snprintf(name, sizeof(name), "chat-ws-%u", worker->index);
    pthread_setname_np(pthread_self(), name);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    /* Closing all connections tells their LEAVE messages, which nobody reads any more, then the loop runs dry. */
    uv_close((uv_handle_t *)&worker->listen_poll, NULL);
    uv_close((uv_handle_t *)&worker->frame_timer, NULL);
    uv_close((uv_handle_t *)&worker->drain_timer, NULL);
    uv_close((uv_handle_t *)&worker->second_timer, NULL);
    lws_context_destroy(worker->context);
    uv_close((uv_handle_t *)&worker->async, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    /* With a loop of ours the first call only closed the handles; the second one frees. */
    lws_context_destroy(worker->context);
    return NULL;
}

static struct lws_context *create_context(struct worker *worker)
{
    static const lws_retry_bo_t no_pings = {0}; /* the wheel does that: lws' own timers cost O(n) per connection */
    static const struct lws_protocols protocols[] = {
        {"chat", connection_on_event, sizeof(struct connection *), RX_BUFFER_BYTES, 0, NULL, TX_PACKET_BYTES},
        {NULL, NULL, 0, 0, 0, NULL, 0},
    };
    void *loops[] = {&worker->loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_VALIDATE_UTF8,
        .foreign_loops = loops, /* ours: then lws installs no signal handlers */
        .user = worker,
        .retry_and_idle_policy = &no_pings,
        .gid = -1,
        .uid = -1,
        .timeout_secs = 10,
        .server_string = "hanabi",
    };

    return lws_create_context(&info);
}

struct worker *worker_create(struct chat *chat, unsigned index, uint16_t *port)
{
    struct worker *worker = alloc_zero(1, sizeof(*worker));
    int saved;

    worker->chat = chat;
    worker->index = index;
    worker->listen_fd = open_listener(chat, port);
    if (worker->listen_fd < 0) {
        saved = errno;
        free(worker);
        errno = saved;
        return NULL;
    }
    worker->audiences = table_create();
    uv_loop_init(&worker->loop);
    uv_async_init(&worker->loop, &worker->async, on_async);
    uv_timer_init(&worker->loop, &worker->frame_timer);
    uv_timer_init(&worker->loop, &worker->drain_timer);
    uv_timer_init(&worker->loop, &worker->second_timer);
    uv_poll_init(&worker->loop, &worker->listen_poll, worker->listen_fd);
    worker->async.data = worker->frame_timer.data = worker->drain_timer.data = worker;
    worker->second_timer.data = worker->listen_poll.data = worker;
    message_queue_init(&worker->queue, wake, worker);
    lws_set_log_level(0, NULL);
    worker->context = create_context(worker);
    if (!worker->context)
        abort();
    worker->vhost = lws_get_vhost_by_name(worker->context, "default");
    uv_timer_start(&worker->second_timer, on_second_timer, SECOND_MS, SECOND_MS);
    uv_poll_start(&worker->listen_poll, UV_READABLE, on_acceptable);
    worker->is_started = pthread_create(&worker->thread, NULL, run, worker) == 0;
    if (!worker->is_started)
        abort();
    return worker;
}

static void free_audience(void *value)
{
    audience_destroy(value);
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
}

void worker_destroy(struct worker *worker)
{
    struct message *message = message_queue_take(&worker->queue), *next;

    for (; message; message = next) {
        next = message->next;
        if (message->type == MESSAGE_GONE)
            connection_free(message->connection);
        message_free(message);
    }
    uv_loop_close(&worker->loop);
    if (worker->listen_fd >= 0)
        close(worker->listen_fd);
    message_queue_clear(&worker->queue);
    table_destroy(worker->audiences, free_audience);
    free(worker);
}
