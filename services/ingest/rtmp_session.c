/* See rtmp_session.h: the state machine, and every message that is not a command. */
#include "services/ingest/rtmp_session_internal.h"

#include "libcommon/alloc.h"

#include <stdlib.h>

#define OUT_MAX       (64 * 1024)
#define COMMAND_MAX   (64 * 1024) /* whoever has shown no key yet gets no more memory than that */
#define HELD_MAX      (1024 * 1024)
#define ACK_AT_LEAST  10000 /* a window below that would drown the line in acknowledgements */
#define AGGREGATE_TAG 11

static const bool legal[RTMP_STATES][RTMP_STATES] = {
    [RTMP_HANDSHAKE] = {[RTMP_CONNECTING] = true, [RTMP_OVER] = true},
    [RTMP_CONNECTING] = {[RTMP_CONNECTED] = true, [RTMP_OVER] = true},
    [RTMP_CONNECTED] = {[RTMP_OPENING] = true, [RTMP_OVER] = true},
    [RTMP_OPENING] = {[RTMP_PUBLISHING] = true, [RTMP_CONNECTED] = true, [RTMP_OVER] = true},
    [RTMP_PUBLISHING] = {[RTMP_CONNECTED] = true, [RTMP_OVER] = true},
};

const char *rtmp_state_name(enum rtmp_state state)
{
    static const char *const names[RTMP_STATES] = {"handshake", "connecting", "connected",
                                                   "opening",   "publishing", "over"};
    return names[state];
}

void rtmp_session_transition(struct rtmp_session *session, enum rtmp_state state)
{
    if (!legal[session->state][state])
        abort();
    session->state = state;
}

struct rtmp_session *rtmp_session_create(const struct rtmp_session_options *options,
                                         const struct rtmp_session_handlers *handlers, void *context)
{
    struct rtmp_session *session = alloc_zero(1, sizeof(*session));

    session->options = *options;
    session->handlers = *handlers;
    session->context = context;
    session->window_bytes = RTMP_WINDOW_BYTES;
    session->handshake = alloc_zero(1, sizeof(*session->handshake));
    rtmp_handshake_init(session->handshake);
    const struct rtmp_chunk_limits small = {.max_message_bytes = COMMAND_MAX,
                                            .max_chunk_bytes = options->limits.max_chunk_bytes,
                                            .max_buffered_bytes = 2 * COMMAND_MAX};
    session->reader = rtmp_chunk_reader_create(&small);
    buffer_init(&session->out, OUT_MAX);
    buffer_init(&session->held, HELD_MAX);
    return session;
}

void rtmp_session_destroy(struct rtmp_session *session)
{
    if (!session)
        return;
    free(session->handshake);
    rtmp_chunk_reader_destroy(session->reader);
    buffer_clear(&session->out);
    buffer_clear(&session->held);
    free(session);
}

enum rtmp_state rtmp_session_state(const struct rtmp_session *session)
{
    return session->state;
}

struct buffer *rtmp_session_out(struct rtmp_session *session)
{
    return &session->out;
}

size_t rtmp_session_buffered_bytes(const struct rtmp_session *session)
{
    return rtmp_chunk_buffered_bytes(session->reader) + session->held.len;
}

const char *rtmp_session_encoder(const struct rtmp_session *session)
{
    return session->encoder;
}

void rtmp_announce_chunk_size(struct rtmp_session *session)
{
    if (!session->announced)
        rtmp_send_control(&session->out, RTMP_SET_CHUNK_SIZE, RTMP_OUT_CHUNK_SIZE);
    session->announced = true;
}

void rtmp_session_close(struct rtmp_session *session, enum close_reason reason)
{
    const struct close_reason_text *text = close_reason_text(reason);

    if (session->state == RTMP_OVER)
        return;
    /* Before the handshake is through there is no way to say anything. */
    if (text->code && session->state != RTMP_HANDSHAKE) {
        bool is_stream = session->state == RTMP_OPENING || session->state == RTMP_PUBLISHING;
        const char *level = reason == CLOSE_UNPUBLISHED || reason == CLOSE_BROADCAST_ENDED ? "status" : "error";
        rtmp_announce_chunk_size(session);
        rtmp_send_status(&session->out, is_stream ? session->publish_stream : 0, "onStatus", 0, level, text->code,
                         text->description);
    }
    rtmp_session_transition(session, RTMP_OVER);
}

static enum close_reason deliver(struct rtmp_session *session, enum flv_tag_type type, uint32_t timestamp_ms,
                                 const uint8_t *body, size_t len)
{
    struct flv_tag tag;

    if (session->state != RTMP_PUBLISHING || len == 0)
        return CLOSE_NONE;
    flv_body_parse(type, timestamp_ms, body, len, &tag);
    return session->handlers.on_media(&tag, session->context);
}

/* "@setDataFrame", "onMetaData", {…}: what follows the first string is a script tag's body. Some leave it away. */
static enum close_reason handle_data(struct rtmp_session *session, const struct rtmp_message *message)
{
    struct amf0_reader reader;
    struct amf0_value name;
    size_t skip = message->type == RTMP_DATA_AMF3 && message->len_bytes > 0 && message->body[0] == 0 ? 1 : 0;

    amf0_reader_init(&reader, message->body + skip, message->len_bytes - skip);
    const uint8_t *body = reader.at;
    if (amf0_read(&reader, &name) != 0 || name.type != AMF0_STRING)
        return CLOSE_NONE;
    if (amf0_string_is(name.string, name.string_len, "@setDataFrame")) {
        body = reader.at;
        if (amf0_read(&reader, &name) != 0 || name.type != AMF0_STRING)
            return CLOSE_NONE;
    }
    /* Cue points and captions have no reader behind us; metadata that does not parse would only confuse it. */
    if (!amf0_string_is(name.string, name.string_len, "onMetaData") || amf0_skip(&reader) != 0)
        return CLOSE_NONE;
    return deliver(session, FLV_TAG_SCRIPT, message->timestamp_ms, body, (size_t)(reader.end - body));
}

/* Several FLV tags in one message; their times count from the message's. */
static enum close_reason handle_aggregate(struct rtmp_session *session, const struct rtmp_message *message)
{
    const uint8_t *at = message->body;
    size_t left = message->len_bytes;
    uint32_t first_ms = 0;

    while (left >= AGGREGATE_TAG) {
        size_t size = (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        uint32_t time_ms = (uint32_t)at[7] << 24 | (uint32_t)at[4] << 16 | (uint32_t)at[5] << 8 | at[6];
        if (size > left - AGGREGATE_TAG)
            return CLOSE_BAD_MEDIA;
        if (at == message->body)
            first_ms = time_ms;
        if (at[0] == FLV_TAG_AUDIO || at[0] == FLV_TAG_VIDEO) {
            enum close_reason reason = deliver(session, (enum flv_tag_type)at[0],
                                               message->timestamp_ms + (time_ms - first_ms), at + AGGREGATE_TAG, size);
            if (reason != CLOSE_NONE)
                return reason;
        }
        size_t whole = AGGREGATE_TAG + size + FLV_TAG_TRAILER_SIZE;
        if (whole >= left) /* the last back pointer may be missing */
            break;
        at += whole;
        left -= whole;
    }
    return CLOSE_NONE;
}

static uint32_t body_u32(const struct rtmp_message *message, size_t at)
{
    const uint8_t *bytes = message->body + at;

    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void handle_control(struct rtmp_session *session, const struct rtmp_message *message)
{
    if (message->type == RTMP_WINDOW_ACK_SIZE && message->len_bytes >= 4) {
        uint32_t window = body_u32(message, 0);
        session->window_bytes = window < ACK_AT_LEAST ? ACK_AT_LEAST : window;
    } else if (message->type == RTMP_SET_PEER_BANDWIDTH && message->len_bytes >= 5) {
        rtmp_send_control(&session->out, RTMP_WINDOW_ACK_SIZE, body_u32(message, 0));
    } else if (message->type == RTMP_USER_CONTROL && message->len_bytes >= 6 && message->body[1] == RTMP_PING_REQUEST &&
               message->body[0] == 0) {
        rtmp_send_user_event(&session->out, RTMP_PING_RESPONSE, body_u32(message, 2));
    }
}

static enum close_reason handle_message(struct rtmp_session *session, struct rtmp_message *message)
{
    switch (message->type) {
    case RTMP_AUDIO:
    case RTMP_VIDEO:
        return deliver(session, (enum flv_tag_type)message->type, message->timestamp_ms, message->body,
                       message->len_bytes);
    case RTMP_AGGREGATE:
        return handle_aggregate(session, message);
    case RTMP_DATA_AMF0:
    case RTMP_DATA_AMF3:
        return handle_data(session, message);
    case RTMP_COMMAND_AMF3:
        /* One byte says which AMF follows, and everybody sends AMF0. */
        if (message->len_bytes > 0 && message->body[0] == 0) {
            message->body++;
            message->len_bytes--;
        }
        return rtmp_handle_command(session, message);
    case RTMP_COMMAND_AMF0:
        return rtmp_handle_command(session, message);
    default:
        handle_control(session, message);
        return CLOSE_NONE;
    }
}

static enum close_reason chunk_error(enum rtmp_chunk_result result)
{
    switch (result) {
    case RTMP_CHUNK_MESSAGE_TOO_BIG:
        return CLOSE_MESSAGE_SIZE;
    case RTMP_CHUNK_SIZE_REFUSED:
        return CLOSE_CHUNK_SIZE;
    case RTMP_CHUNK_TOO_MUCH:
        return CLOSE_BUFFERED;
    default:
        return CLOSE_PROTOCOL;
    }
}

static void acknowledge(struct rtmp_session *session)
{
    /* At half the window, so that a sender that waits at a full one never does. */
    if (session->received - session->acknowledged < session->window_bytes / 2)
        return;
    session->acknowledged = session->received;
    rtmp_send_control(&session->out, RTMP_ACKNOWLEDGEMENT, (uint32_t)session->received);
}

/* Messages until the bytes end, the session is over, or an answer to `publish` has to come first. */
static enum close_reason feed_messages(struct rtmp_session *session, const uint8_t *bytes, size_t len)
{
    struct rtmp_message message;
    enum rtmp_chunk_result result;
    size_t taken;

    while (session->state != RTMP_OPENING && session->state != RTMP_OVER) {
        result = rtmp_chunk_read(session->reader, bytes, len, &taken, &message);
        bytes += taken;
        len -= taken;
        enum close_reason reason = CLOSE_NONE;
        if (result == RTMP_CHUNK_MESSAGE)
            reason = handle_message(session, &message);
        else if (result < 0)
            reason = chunk_error(result);
        if (reason != CLOSE_NONE) {
            rtmp_session_close(session, reason);
            return reason;
        }
        if (result == RTMP_CHUNK_MORE)
            return CLOSE_NONE;
    }
    if (session->state == RTMP_OPENING && buffer_append(&session->held, bytes, len) != 0) {
        rtmp_session_close(session, CLOSE_BUFFERED);
        return CLOSE_BUFFERED;
    }
    return CLOSE_NONE;
}

enum close_reason rtmp_session_feed(struct rtmp_session *session, const uint8_t *bytes, size_t len_bytes)
{
    size_t taken = 0;

    session->received += len_bytes;
    if (session->state == RTMP_HANDSHAKE) {
        int done = rtmp_handshake_feed(session->handshake, bytes, len_bytes, &taken, &session->out);
        if (done < 0) {
            rtmp_session_close(session, CLOSE_HANDSHAKE_INVALID);
            return CLOSE_HANDSHAKE_INVALID;
        }
        if (done == 0)
            return CLOSE_NONE;
        free(session->handshake);
        session->handshake = NULL;
        rtmp_session_transition(session, RTMP_CONNECTING);
    }
    enum close_reason reason = feed_messages(session, bytes + taken, len_bytes - taken);
    if (session->state != RTMP_OVER)
        acknowledge(session);
    return reason;
}

enum close_reason rtmp_session_accept(struct rtmp_session *session)
{
    size_t len;

    rtmp_session_transition(session, RTMP_PUBLISHING);
    rtmp_chunk_reader_set_limits(session->reader, &session->options.limits);
    rtmp_send_user_event(&session->out, RTMP_STREAM_BEGIN, session->publish_stream);
    rtmp_send_status(&session->out, session->publish_stream, "onStatus", 0, "status", "NetStream.Publish.Start",
                     "Publishing.");
    uint8_t *waited = buffer_take(&session->held, &len);
    enum close_reason reason = len > 0 ? feed_messages(session, waited, len) : CLOSE_NONE;
    free(waited);
    return reason;
}
