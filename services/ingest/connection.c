/* open -> lingering -> gone. While nothing but commands comes, the socket is read when it is readable; while media
 * comes, once per turn of the wheel. After a refusal the connection lingers until the peer has read the status: closing
 * at once would reset the line and lose it. */
#include "services/ingest/connection.h"

#include "services/ingest/address_table.h"
#include "services/ingest/ingest.h"
#include "services/ingest/line.h"
#include "services/ingest/publisher.h"
#include "services/ingest/rtmp_session.h"
#include "services/ingest/wheel.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define READ_BYTES (256 * 1024)
/* A backlog is read over several visits (6 MB/s a publisher), so that no visit holds the loop for long. */
#define READS_PER_VISIT     2
#define READS_PER_VISIT_TLS 32 /* a TLS record is 16 KiB at most */
#define LINGER_MS           2000
#define OUT_STUCK_BYTES     (32 * 1024)

struct connection {
    struct wheel_item item; /* first: visits come with it */
    struct ingest *ingest;
    struct line line;
    struct rtmp_session *rtmp;
    struct publisher *publisher; /* from `publish` to its end */
    struct event *readable, *writable;
    uint8_t address[ADDRESS_KEY_SIZE];
    char peer[INET6_ADDRSTRLEN];
    bool has_published, is_lingering, is_finished;
    enum rtmp_state seen_state; /* of the last visit or read */
    int64_t state_since_ms, read_ms, linger_until_ms;
};

/* One buffer for all: what is read is handed on before the next read. */
static uint8_t read_buffer[READ_BYTES];

static void destroy(struct connection *connection)
{
    struct ingest *ingest = connection->ingest;

    if (connection->publisher)
        publisher_close(connection->publisher, CLOSE_LOST);
    event_free(connection->readable);
    event_free(connection->writable);
    line_close(&connection->line);
    rtmp_session_destroy(connection->rtmp);
    wheel_remove(ingest->wheel, &connection->item);
    address_table_remove(ingest->addresses, connection->address);
    metric_add(ingest->metrics.connections, -1);
    free(connection);
}

/* --- out --- */

/* False: the line is lost. */
static bool flush(struct connection *connection)
{
    struct buffer *out = rtmp_session_out(connection->rtmp);

    while (out->len > 0) {
        ssize_t sent = line_write(&connection->line, out->data, out->len);
        if (sent == LINE_AGAIN) {
            event_add(connection->writable, NULL);
            return true;
        }
        if (sent <= 0)
            return false;
        buffer_consume(out, (size_t)sent);
    }
    if (connection->is_lingering && !connection->is_finished) {
        line_finish(&connection->line);
        connection->is_finished = true;
    }
    return true;
}

/* --- the end --- */

static void report(struct connection *connection, enum close_reason reason)
{
    static struct log_limiter refused = LOG_LIMITER(1000), closed = LOG_LIMITER(200);
    const char *why = close_reason_text(reason)->name;
    const char *id = connection->publisher ? publisher_id(connection->publisher) : "";

    ingest_count(connection->ingest, reason, connection->has_published);
    if (connection->has_published)
        log_limited(&closed, LOG_LEVEL_INFO, "connection.closed", log_str("reason", why), log_str("broadcast", id),
                    log_str("peer", connection->peer), log_str("encoder", rtmp_session_encoder(connection->rtmp)));
    else if (reason != CLOSE_LOST && reason != CLOSE_UNPUBLISHED)
        log_limited(&refused, LOG_LEVEL_WARN, "connection.refused", log_str("reason", why),
                    log_str("peer", connection->peer), log_str("encoder", rtmp_session_encoder(connection->rtmp)),
                    log_str("state", rtmp_state_name(connection->seen_state)));
}

/* The connection may be gone when this returns. */
static void end(struct connection *connection, enum close_reason reason)
{
    if (connection->is_lingering)
        return;
    /* It said goodbye before (unpublish), so this is no loss. */
    if (reason == CLOSE_LOST && connection->has_published && !connection->publisher)
        ingest_count(connection->ingest, CLOSE_UNPUBLISHED, true);
    else
        report(connection, reason);
    rtmp_session_close(connection->rtmp, reason);
    if (connection->publisher)
        publisher_close(connection->publisher, reason);
    connection->publisher = NULL;
    connection->is_lingering = true;
    connection->linger_until_ms = clock_monotonic_ms() + LINGER_MS;
    if (reason == CLOSE_LOST || close_reason_text(reason)->code == NULL || !flush(connection)) {
        destroy(connection);
        return;
    }
    event_add(connection->readable, NULL);
}

/* --- in --- */

/* Media is read by the wheel, nothing while a key is looked up, everything else when it comes. */
static void follow_state(struct connection *connection)
{
    enum rtmp_state state = rtmp_session_state(connection->rtmp);

    if (state == connection->seen_state)
        return;
    /* Handshake and connect share their time. */
    if (connection->seen_state != RTMP_HANDSHAKE || state != RTMP_CONNECTING)
        connection->state_since_ms = clock_monotonic_ms();
    connection->seen_state = state;
    if (state == RTMP_OPENING || state == RTMP_PUBLISHING)
        event_del(connection->readable);
    else
        event_add(connection->readable, NULL);
}

/* False: the connection is over (and perhaps gone). */
static bool read_line(struct connection *connection)
{
    int reads = connection->line.ssl ? READS_PER_VISIT_TLS : READS_PER_VISIT;

    while (reads-- > 0 && rtmp_session_state(connection->rtmp) != RTMP_OPENING) {
        ssize_t got = line_read(&connection->line, read_buffer, READ_BYTES);
        if (got == LINE_AGAIN)
            break;
        if (got <= 0) {
            end(connection, CLOSE_LOST);
            return false;
        }
        connection->read_ms = clock_monotonic_ms();
        metric_add(connection->ingest->metrics.received_bytes, (double)got);
        enum close_reason reason = rtmp_session_feed(connection->rtmp, read_buffer, (size_t)got);
        if (reason != CLOSE_NONE) {
            end(connection, reason);
            return false;
        }
        /* A short read emptied the socket; of TLS only the record. */
        if (!connection->line.ssl && got < READ_BYTES)
            break;
    }
    follow_state(connection);
    if (rtmp_session_out(connection->rtmp)->len > OUT_STUCK_BYTES) {
        end(connection, CLOSE_NOT_READING);
        return false;
    }
    if (!flush(connection)) {
        end(connection, CLOSE_LOST);
        return false;
    }
    if (connection->line.read_wants_write)
        event_add(connection->writable, NULL);
    return true;
}

static void on_readable(evutil_socket_t fd, short events, void *context)
{
    struct connection *connection = context;

    if (!connection->is_lingering) {
        read_line(connection);
        return;
    }
    ssize_t got = line_read(&connection->line, read_buffer, READ_BYTES);
    if (got != LINE_AGAIN && got <= 0)
        destroy(connection);
}

static void on_writable(evutil_socket_t fd, short events, void *context)
{
    struct connection *connection = context;

    if (!flush(connection)) {
        if (connection->is_lingering)
            destroy(connection);
        else
            end(connection, CLOSE_LOST);
    } else if (connection->line.read_wants_write && !connection->is_lingering) {
        read_line(connection);
    }
}

/* --- publishing --- */

static void on_publisher_open(void *context)
{
    struct connection *connection = context;

    connection->has_published = true;
    connection->read_ms = clock_monotonic_ms();
    log_info("session.opened", log_str("broadcast", publisher_id(connection->publisher)),
             log_int("session", publisher_session(connection->publisher)), log_str("peer", connection->peer),
             log_str("encoder", rtmp_session_encoder(connection->rtmp)));
    enum close_reason reason = rtmp_session_accept(connection->rtmp);
    if (reason != CLOSE_NONE) {
        end(connection, reason);
        return;
    }
    follow_state(connection);
    if (!flush(connection))
        end(connection, CLOSE_LOST);
}

static void on_publisher_over(enum close_reason reason, void *context)
{
    end(context, reason);
}

static void on_publish(const char *key, void *context)
{
    static const struct publisher_handlers handlers = {on_publisher_open, on_publisher_over};
    struct connection *connection = context;

    connection->publisher = publisher_create(connection->ingest, key, &handlers, connection);
}

static enum close_reason on_media(const struct flv_tag *tag, void *context)
{
    struct connection *connection = context;

    return publisher_add(connection->publisher, tag);
}

static void on_unpublish(void *context)
{
    struct connection *connection = context;

    log_info("session.closed", log_str("broadcast", publisher_id(connection->publisher)),
             log_int("session", publisher_session(connection->publisher)), log_str("peer", connection->peer));
    publisher_close(connection->publisher, CLOSE_UNPUBLISHED);
    connection->publisher = NULL;
}

/* --- deadlines --- */

static enum close_reason overdue(const struct connection *connection, int64_t now_ms)
{
    const struct ingest_config *config = connection->ingest->config;

    switch (connection->seen_state) {
    case RTMP_HANDSHAKE:
    case RTMP_CONNECTING:
        return now_ms - connection->state_since_ms > config->handshake_ms ? CLOSE_HANDSHAKE_TIMEOUT : CLOSE_NONE;
    case RTMP_CONNECTED:
        return now_ms - connection->state_since_ms >
                       (connection->has_published ? config->idle_ms : config->handshake_ms)
                   ? CLOSE_IDLE
                   : CLOSE_NONE;
    default:
        return now_ms - connection->read_ms > config->idle_ms ? CLOSE_IDLE : CLOSE_NONE;
    }
}

static void visit(struct wheel_item *item, int64_t now_ms)
{
    struct connection *connection = (struct connection *)item;

    if (connection->is_lingering) {
        if (now_ms >= connection->linger_until_ms)
            destroy(connection);
        return;
    }
    if (connection->seen_state == RTMP_PUBLISHING && !read_line(connection))
        return;
    if (connection->publisher)
        publisher_tick(connection->publisher, now_ms);
    enum close_reason reason = overdue(connection, now_ms);
    if (reason != CLOSE_NONE)
        end(connection, reason);
}

/* --- the beginning --- */

static void format_peer(const struct sockaddr *peer, char out[INET6_ADDRSTRLEN])
{
    const void *bytes = peer->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)peer)->sin6_addr
                                                    : (const void *)&((const struct sockaddr_in *)peer)->sin_addr;

    if (!inet_ntop(peer->sa_family, bytes, out, INET6_ADDRSTRLEN))
        snprintf(out, INET6_ADDRSTRLEN, "?");
}

void connection_accept(struct ingest *ingest, int fd, const struct sockaddr *peer, SSL_CTX *tls)
{
    static const struct rtmp_session_handlers handlers = {on_publish, on_media, on_unpublish};
    const struct ingest_config *config = ingest->config;
    const size_t max_message = (size_t)config->max_message_kb * 1024;
    const struct rtmp_session_options options = {
        .limits = {.max_message_bytes = max_message,
                   .max_chunk_bytes = (size_t)config->max_chunk_bytes,
                   .max_buffered_bytes = max_message + max_message / 4},
        .app = config->app,
    };
    struct connection *connection = alloc_zero(1, sizeof(*connection));

    connection->ingest = ingest;
    address_key(peer, connection->address);
    if (line_open(&connection->line, fd, tls) != 0) {
        address_table_remove(ingest->addresses, connection->address);
        free(connection);
        return;
    }
    format_peer(peer, connection->peer);
    connection->read_ms = connection->state_since_ms = clock_monotonic_ms();
    connection->rtmp = rtmp_session_create(&options, &handlers, connection);
    connection->seen_state = RTMP_HANDSHAKE;
    connection->readable = event_new(ingest->loop, fd, EV_READ | EV_PERSIST, on_readable, connection);
    connection->writable = event_new(ingest->loop, fd, EV_WRITE, on_writable, connection);
    if (!connection->readable || !connection->writable)
        abort();
    event_add(connection->readable, NULL);
    connection->item.visit = visit;
    wheel_add(ingest->wheel, &connection->item);
    metric_add(ingest->metrics.connections, 1);
}

static enum close_reason closing_reason;

static void close_one(struct wheel_item *item, int64_t now_ms)
{
    end((struct connection *)item, closing_reason);
}

static void destroy_one(struct wheel_item *item, int64_t now_ms)
{
    destroy((struct connection *)item);
}

void connections_close_all(struct ingest *ingest, enum close_reason reason, bool at_once)
{
    closing_reason = reason;
    wheel_visit_all(ingest->wheel, close_one);
    if (at_once)
        wheel_visit_all(ingest->wheel, destroy_one);
}
