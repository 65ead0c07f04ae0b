/* A websocket's life: handshake and token, what it is sent, its end. Worker thread only. */
#include "connection.h"
#include "chat.h"
#include "worker.h"

#include "libcommon/access_token.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"
#include "libcommon/request_scope.h"

#include <stdio.h>

#define ARGUMENT_MAX 2048
/* lws keeps the name of this kind of write to itself. */
#define WRITE_CLOSE       ((enum lws_write_protocol)4)
#define CLOSE_TIMEOUT_S   3
#define PATH_PREFIX       "/chat/v1/broadcasts/"
#define PRIVATE_MAX_BYTES 65536 /* without a backlog there are only acknowledgements and errors in it */

const char *chat_role_name(enum chat_role role)
{
    static const char *const names[] = {"viewer", "viewer", "moderator", "broadcaster", "operator"};

    return names[role];
}

/* --- the handshake --- */

/* The id in the path; -1 when it is none of ours. */
static int read_path(struct lws *wsi, char id[ID_SIZE])
{
    char path[sizeof(PATH_PREFIX) + ID_SIZE];

    if (lws_hdr_copy(wsi, path, sizeof(path), WSI_TOKEN_GET_URI) <= 0 ||
        strncmp(path, PATH_PREFIX, sizeof(PATH_PREFIX) - 1) != 0)
        return -1;
    strcpy(id, path + sizeof(PATH_PREFIX) - 1);
    return id_is_valid(id) ? 0 : -1;
}

/* NULL when absent. lws hands over a query argument with its name in front. */
static const char *read_argument(struct lws *wsi, const char *name_equals, char *buffer, size_t size)
{
    const char *value = lws_get_urlarg_by_name(wsi, name_equals, buffer, (int)size);

    return value && value[0] ? value : NULL;
}

/* 0, or the access_token_error of a token that was given and is not good. */
static int read_token(struct connection *connection, struct lws *wsi)
{
    char text[ARGUMENT_MAX];
    struct access_token token;
    const char *given = read_argument(wsi, "token=", text, sizeof(text));
    int error;

    if (!given)
        return 0;
    error = access_token_verify_for(connection->broadcast_id, given, connection->worker->chat->config.jwt_secret,
                                    clock_wall_ms() / 1000, &token);
    if (error == 0 && !id_is_valid(token.subject))
        error = ACCESS_TOKEN_FORGED;
    if (error != 0)
        return error;
    strcpy(connection->user_id, token.subject);
    snprintf(connection->token_role, sizeof(connection->token_role), "%s", token.role);
    connection->name = alloc_string(token.name);
    return 0;
}

static void read_request_id(struct connection *connection, struct lws *wsi)
{
    char text[REQUEST_ID_SIZE];
    int len = lws_hdr_custom_copy(wsi, text, sizeof(text), "x-request-id:", 13);

    if (len > 0 && request_id_is_valid(text))
        connection->request_id = alloc_string(text);
}

static void read_position(struct connection *connection, struct lws *wsi)
{
    char text[ARGUMENT_MAX]; /* lws stops looking at the first argument that does not fit, whatever its name */
    const char *given = read_argument(wsi, "last=", text, sizeof(text));
    char *end;

    if (given)
        chat_event_id_parse(given, &connection->last);
    connection->wanted_room = -1;
    given = read_argument(wsi, "room=", text, sizeof(text));
    if (given && strlen(given) < 8) {
        long room = strtol(given, &end, 10);

        if (*end == '\0' && room >= 0)
            connection->wanted_room = (int)room;
    }
}

static bool is_full(const struct chat *chat)
{
    return atomic_load(&chat->connection_count) > chat->config.max_connections ||
           atomic_load(&chat->queued_bytes) > chat->config.memory_mb * 1024 * 1024;
}

static void refuse(struct connection *connection, int code, const char *error, int64_t retry_after_ms)
{
    char *text = error_text("", error, retry_after_ms);

    connection_close(connection, code, text);
    free(text);
}

static int on_established(struct worker *worker, struct lws *wsi, struct connection **user)
{
    struct chat *chat = worker->chat;
    struct connection *connection = alloc_zero(1, sizeof(*connection));
    int64_t now_ms = clock_monotonic_ms();
    int error;

    connection->worker = worker;
    connection->wsi = wsi;
    connection->private_last = &connection->private_first;
    connection->progress_ms = connection->heard_ms = now_ms;
    token_bucket_init(&connection->bucket, chat->config.rate_burst, now_ms);
    *user = connection;
    worker->connection_count++;
    atomic_fetch_add(&chat->connection_count, 1);
    metric_add(chat->metrics.connections, 1);
    wheel_add(worker, connection);
    if (read_path(wsi, connection->broadcast_id) != 0)
        return -1;
    read_request_id(connection, wsi);
    read_position(connection, wsi);
    error = read_token(connection, wsi);
    if (is_full(chat) || worker->drain_until_ms) {
        metric_add(chat->metrics.refused_full, 1);
        refuse(connection, CLOSE_FULL, "full", chat->config.retry_after_ms);
    } else if (error != 0) {
        refuse(connection, CLOSE_TOKEN, access_token_error_code(error), 0);
    } else {
        connection->is_joined = true;
        message_queue_push(&chat->inbox, message_create(MESSAGE_JOIN, connection));
    }
    return 0;
}

/* --- sending --- */

/* False: it had more to take than it may, and is closed. */
static bool queue(struct connection *connection, const char *text, size_t len)
{
    struct private_frame *frame;

    if (connection->close_code)
        return true;
    /* A backlog alone may be longer than the bound; a second frame behind a full queue may not. */
    if (connection->private_bytes > PRIVATE_MAX_BYTES) {
        connection_kill(connection);
        return false;
    }
    frame = alloc_zero(1, sizeof(*frame) + LWS_PRE + len + 1);
    memcpy(frame->bytes + LWS_PRE, text, len);
    frame->len = len;
    *connection->private_last = frame;
    connection->private_last = &frame->next;
    connection->private_bytes += len;
    atomic_fetch_add_explicit(&connection->worker->chat->queued_bytes, (long long)len, memory_order_relaxed);
    return true;
}

void connection_send(struct connection *connection, const char *text, size_t len)
{
    if (queue(connection, text, len))
        worker_want_writable(connection, clock_monotonic_ms());
}

void connection_send_now(struct connection *connection, const char *text, size_t len, int64_t now_ms)
{
    if (queue(connection, text, len))
        connection_write_now(connection, now_ms);
}

static void drop_private(struct connection *connection)
{
    struct private_frame *frame = connection->private_first;

    connection->private_first = frame->next;
    if (!connection->private_first)
        connection->private_last = &connection->private_first;
    connection->private_bytes -= frame->len;
    atomic_fetch_sub_explicit(&connection->worker->chat->queued_bytes, (long long)frame->len, memory_order_relaxed);
    free(frame);
}

void connection_close(struct connection *connection, int code, const char *text)
{
    if (connection->close_code)
        return;
    if (text)
        connection_send(connection, text, strlen(text));
    connection->close_code = code;
    /* A peer that does not read does not stay. */
    lws_set_timeout(connection->wsi, PENDING_TIMEOUT_USER_REASON_BASE, CLOSE_TIMEOUT_S);
    worker_want_writable(connection, clock_monotonic_ms());
}

void connection_kill(struct connection *connection)
{
    connection->close_code = CLOSE_SLOW;
    lws_set_timeout(connection->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

static int write_text(struct connection *connection, unsigned char *bytes, size_t len)
{
    return lws_write(connection->wsi, bytes, len, LWS_WRITE_TEXT) < 0 ? -1 : 0;
}

/* Returning -1 after lws_close_reason() would do, but for the libuv plugin (4.1.6): it closes such a connection a
 * second time before the close frame has left, and the peer learns no code. */
static int write_close(struct connection *connection)
{
    unsigned char frame[LWS_PRE + 2];

    if (connection->is_close_sent)
        return 0;
    connection->is_close_sent = true;
    frame[LWS_PRE] = (unsigned char)(connection->close_code >> 8);
    frame[LWS_PRE + 1] = (unsigned char)connection->close_code;
    return lws_write(connection->wsi, frame + LWS_PRE, 2, WRITE_CLOSE) < 0 ? -1 : 0;
}

static int write_ping(struct connection *connection)
{
    unsigned char ping[LWS_PRE + 1];

    connection->ping_due = false;
    return lws_write(connection->wsi, ping + LWS_PRE, 0, LWS_WRITE_PING) < 0 ? -1 : 0;
}

static int write_private(struct connection *connection)
{
    struct private_frame *own = connection->private_first;
    int result = write_text(connection, own->bytes + LWS_PRE, own->len);

    drop_private(connection);
    return result;
}

static bool has_frame(const struct connection *connection)
{
    return connection->audience && !connection->is_held && audience_has_next(connection->audience, connection);
}

static int write_frame(struct connection *connection)
{
    struct frame *frame = audience_next(connection->audience, connection);

    metric_add(connection->worker->chat->metrics.delivered, (double)frame->events);
    return write_text(connection, frame->bytes + LWS_PRE, frame->len);
}

/* One lws_write per callback: its own frames first, then the room's, unless a last word closes the connection. */
static int on_writable(struct connection *connection)
{
    int result = 0;

    connection->progress_ms = clock_monotonic_ms();
    if (connection->ping_due)
        result = write_ping(connection);
    else if (connection->private_first)
        result = write_private(connection);
    else if (connection->close_code)
        result = write_close(connection);
    else if (has_frame(connection))
        result = write_frame(connection);
    if (result == 0 &&
        (connection->private_first || (connection->close_code && !connection->is_close_sent) || has_frame(connection)))
        lws_callback_on_writable(connection->wsi);
    return result;
}

/* What lws could not hand to the kernel it sends before all else when the socket is writable: nothing may be written
 * until then, or it would be copied behind that without a bound. */
void connection_write_now(struct connection *connection, int64_t now_ms)
{
    int result = 0;

    while (result == 0 && (connection->private_first || has_frame(connection))) {
        if (connection->ping_due || connection->close_code || connection->is_peer_closing ||
            lws_partial_buffered(connection->wsi)) {
            worker_want_writable(connection, now_ms);
            return;
        }
        connection->progress_ms = now_ms;
        result = connection->private_first ? write_private(connection) : write_frame(connection);
    }
    if (result != 0)
        connection_kill(connection);
}

/* --- receiving --- */

static int on_receive(struct connection *connection, const char *bytes, size_t len)
{
    struct lws *wsi = connection->wsi;
    bool is_whole = lws_is_first_fragment(wsi) && lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;

    connection->heard_ms = clock_monotonic_ms();
    if (connection->close_code)
        return 0;
    if (lws_frame_is_binary(wsi)) {
        refuse(connection, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE, "invalid", 0);
        return 0;
    }
    if (is_whole && !connection->received) {
        receive_message(connection, bytes, len);
        return 0;
    }
    if (connection->received_len + len > CHAT_MESSAGE_MAX_BYTES) {
        refuse(connection, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "too_long", 0);
        return 0;
    }
    if (!connection->received)
        connection->received = alloc_zero(1, CHAT_MESSAGE_MAX_BYTES);
    memcpy(connection->received + connection->received_len, bytes, len);
    connection->received_len += len;
    if (lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0) {
        receive_message(connection, connection->received, connection->received_len);
        free(connection->received);
        connection->received = NULL;
        connection->received_len = 0;
    }
    return 0;
}

/* --- the end --- */

static void on_closed(struct connection *connection)
{
    struct worker *worker = connection->worker;

    connection->wsi = NULL;
    wheel_remove(worker, connection);
    if (connection->audience)
        worker_audience_leave(connection);
    while (connection->private_first)
        drop_private(connection);
    free(connection->received);
    connection->received = NULL;
    worker->connection_count--;
    atomic_fetch_sub(&worker->chat->connection_count, 1);
    metric_add(worker->chat->metrics.connections, -1);
    if (connection->is_joined)
        message_queue_push(&worker->chat->inbox, message_create(MESSAGE_LEAVE, connection));
    else
        connection_free(connection);
}

void connection_free(struct connection *connection)
{
    free(connection->request_id);
    free(connection->name);
    free(connection);
}

int connection_on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct connection **slot = user;
    struct connection *connection = slot ? *slot : NULL;

    switch (reason) {
    case LWS_CALLBACK_ESTABLISHED:
        return on_established(lws_context_user(lws_get_context(wsi)), wsi, slot);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return connection ? on_writable(connection) : 0;
    case LWS_CALLBACK_RECEIVE:
        return connection ? on_receive(connection, in, len) : 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        if (connection)
            connection->is_peer_closing = true;
        /* The answer to our own close frame: nothing is left to say. */
        return connection && connection->is_close_sent ? -1 : 0;
    case LWS_CALLBACK_RECEIVE_PONG:
        if (connection)
            connection->heard_ms = clock_monotonic_ms();
        return 0;
    case LWS_CALLBACK_CLOSED:
        if (connection) {
            *slot = NULL;
            on_closed(connection);
        }
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, len);
    }
}
