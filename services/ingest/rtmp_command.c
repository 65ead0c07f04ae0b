/* The commands of a publisher, one handler each, in a table. What does not concern a publisher is answered politely and
 * goes on; only an unknown application and a missing key end the session here. */
#include "services/ingest/rtmp_session_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

struct command {
    double transaction;
    uint32_t stream_id;
    struct amf0_reader arguments;
};

typedef enum close_reason (*command_fn)(struct rtmp_session *session, struct command *command);

/* --- names --- */

/* The next path segment, without its slashes; empty at the end (or at a query). */
static size_t next_segment(const char **at, char *out, size_t out_size)
{
    *at += strspn(*at, "/");
    size_t len = strcspn(*at, "/?");
    size_t copied = len < out_size - 1 ? len : out_size - 1;

    memcpy(out, *at, copied);
    out[copied] = '\0';
    *at += len;
    return len;
}

bool rtmp_app_parse(const char *text, const char *app, char key[RTMP_KEY_MAX])
{
    char segment[RTMP_KEY_MAX];

    key[0] = '\0';
    next_segment(&text, segment, sizeof(segment));
    if (strcmp(segment, app) != 0)
        return false;
    /* An instance ("_definst_", "_definst_2") is no key; the last segment that is none of these is. */
    while (next_segment(&text, segment, sizeof(segment)) > 0) {
        if (strncmp(segment, "_definst", 8) != 0)
            snprintf(key, RTMP_KEY_MAX, "%s", segment);
    }
    return true;
}

void rtmp_stream_name_parse(const char *name, char key[RTMP_KEY_MAX])
{
    char segment[RTMP_KEY_MAX];

    key[0] = '\0';
    while (next_segment(&name, segment, sizeof(segment)) > 0)
        snprintf(key, RTMP_KEY_MAX, "%s", segment);
}

/* --- answers --- */

static void send_result(struct rtmp_session *session, const struct command *command, double value)
{
    struct buffer body;

    if (command->transaction == 0)
        return;
    buffer_init(&body, RTMP_OUT_CHUNK_SIZE);
    amf0_write_string(&body, "_result");
    amf0_write_number(&body, command->transaction);
    amf0_write_null(&body);
    amf0_write_number(&body, value);
    rtmp_send_command(&session->out, 0, &body);
    buffer_clear(&body);
}

static void send_connected(struct rtmp_session *session, const struct command *command, double object_encoding)
{
    struct buffer body;

    buffer_init(&body, RTMP_OUT_CHUNK_SIZE);
    amf0_write_string(&body, "_result");
    amf0_write_number(&body, command->transaction);
    amf0_write_object_begin(&body);
    amf0_write_name(&body, "fmsVer");
    amf0_write_string(&body, "FMS/3,0,1,123");
    amf0_write_name(&body, "capabilities");
    amf0_write_number(&body, 31);
    amf0_write_object_end(&body);
    amf0_write_object_begin(&body);
    amf0_write_name(&body, "level");
    amf0_write_string(&body, "status");
    amf0_write_name(&body, "code");
    amf0_write_string(&body, "NetConnection.Connect.Success");
    amf0_write_name(&body, "description");
    amf0_write_string(&body, "Connection succeeded.");
    amf0_write_name(&body, "objectEncoding");
    amf0_write_number(&body, object_encoding);
    amf0_write_object_end(&body);
    rtmp_send_command(&session->out, 0, &body);
    buffer_clear(&body);
}

/* onFCPublish, onFCUnpublish: old encoders wait for them. */
static void send_fc_status(struct rtmp_session *session, const char *command, const char *code)
{
    rtmp_send_status(&session->out, 0, command, 0, "status", code, "");
}

/* --- connect --- */

struct connect_arguments {
    char app[512];
    char tc_url[512];
    bool has_app;
    double object_encoding;
};

static int read_connect_member(struct rtmp_session *session, struct amf0_reader *reader, const char *name, size_t len,
                               struct connect_arguments *arguments)
{
    struct amf0_reader before = *reader;
    struct amf0_value value;

    if (amf0_read(reader, &value) != 0)
        return -1;
    if (amf0_string_is(name, len, "app") && value.type == AMF0_STRING) {
        amf0_copy_string(&value, arguments->app, sizeof(arguments->app));
        arguments->has_app = true;
    } else if (amf0_string_is(name, len, "tcUrl") && value.type == AMF0_STRING) {
        amf0_copy_string(&value, arguments->tc_url, sizeof(arguments->tc_url));
    } else if (amf0_string_is(name, len, "flashVer") && value.type == AMF0_STRING) {
        amf0_copy_string(&value, session->encoder, sizeof(session->encoder));
    } else if (amf0_string_is(name, len, "objectEncoding") && value.type == AMF0_NUMBER) {
        arguments->object_encoding = value.number;
    } else if (value.type == AMF0_OBJECT || value.type == AMF0_STRICT_ARRAY) {
        *reader = before;
        return amf0_skip(reader);
    }
    return 0;
}

/* "rtmp://host:port/live?x" -> "/live?x" */
static const char *path_of_url(const char *url)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;

    return path ? path : "";
}

static enum close_reason handle_connect(struct rtmp_session *session, struct command *command)
{
    struct connect_arguments arguments = {0};
    struct amf0_value object;
    const char *name;
    size_t name_len;
    int more;

    if (session->state != RTMP_CONNECTING || amf0_read(&command->arguments, &object) != 0 || object.type != AMF0_OBJECT)
        return CLOSE_PROTOCOL;
    while ((more = amf0_read_member(&command->arguments, &name, &name_len)) == 1) {
        if (read_connect_member(session, &command->arguments, name, name_len, &arguments) != 0)
            return CLOSE_PROTOCOL;
    }
    if (more < 0)
        return CLOSE_PROTOCOL;
    const char *app = arguments.has_app ? arguments.app : path_of_url(arguments.tc_url);
    if (!rtmp_app_parse(app, session->options.app, session->app_key)) {
        const struct close_reason_text *text = close_reason_text(CLOSE_UNKNOWN_APP);
        rtmp_announce_chunk_size(session);
        rtmp_send_status(&session->out, 0, "_error", command->transaction, "error", text->code, text->description);
        rtmp_session_transition(session, RTMP_OVER);
        return CLOSE_UNKNOWN_APP;
    }
    rtmp_send_control(&session->out, RTMP_WINDOW_ACK_SIZE, RTMP_WINDOW_BYTES);
    rtmp_send_peer_bandwidth(&session->out, RTMP_WINDOW_BYTES);
    rtmp_announce_chunk_size(session);
    send_connected(session, command, arguments.object_encoding);
    rtmp_session_transition(session, RTMP_CONNECTED);
    return CLOSE_NONE;
}

/* --- streams --- */

static enum close_reason handle_create_stream(struct rtmp_session *session, struct command *command)
{
    send_result(session, command, ++session->streams);
    return CLOSE_NONE;
}

static enum close_reason handle_publish(struct rtmp_session *session, struct command *command)
{
    struct amf0_value null, name = {.type = AMF0_NULL};
    char text[512], key[RTMP_KEY_MAX];

    if (session->state == RTMP_PUBLISHING)
        return CLOSE_NONE; /* once more for the stream that it already has */
    if (session->state != RTMP_CONNECTED)
        return CLOSE_PROTOCOL;
    if (amf0_read(&command->arguments, &null) != 0)
        return CLOSE_PROTOCOL;
    /* Whether the type is "live", "record" or missing makes no difference here. */
    if (amf0_read(&command->arguments, &name) != 0)
        name.type = AMF0_NULL;
    amf0_copy_string(&name, text, sizeof(text));
    rtmp_stream_name_parse(text, key);
    /* Sent together with createStream, before its answer: the stream it means can only be the one just made. */
    session->publish_stream = command->stream_id ? command->stream_id : session->streams ? session->streams : 1;
    rtmp_session_transition(session, RTMP_OPENING);
    if (key[0] == '\0')
        snprintf(key, sizeof(key), "%s", session->app_key);
    if (key[0] == '\0')
        return CLOSE_BAD_KEY;
    session->handlers.on_publish(key, session->context);
    return CLOSE_NONE;
}

static void unpublish(struct rtmp_session *session)
{
    if (session->state != RTMP_PUBLISHING)
        return;
    const struct close_reason_text *text = close_reason_text(CLOSE_UNPUBLISHED);
    rtmp_send_status(&session->out, session->publish_stream, "onStatus", 0, "status", text->code, text->description);
    rtmp_session_transition(session, RTMP_CONNECTED);
    session->handlers.on_unpublish(session->context);
}

static enum close_reason handle_delete_stream(struct rtmp_session *session, struct command *command)
{
    unpublish(session);
    return CLOSE_NONE;
}

static enum close_reason handle_fc_publish(struct rtmp_session *session, struct command *command)
{
    send_fc_status(session, "onFCPublish", "NetStream.Publish.Start");
    send_result(session, command, 0);
    return CLOSE_NONE;
}

static enum close_reason handle_fc_unpublish(struct rtmp_session *session, struct command *command)
{
    unpublish(session);
    send_fc_status(session, "onFCUnpublish", "NetStream.Unpublish.Success");
    send_result(session, command, 0);
    return CLOSE_NONE;
}

static enum close_reason handle_play(struct rtmp_session *session, struct command *command)
{
    rtmp_send_status(&session->out, command->stream_id, "onStatus", 0, "error", "NetStream.Play.Failed",
                     "This server takes broadcasts in; viewers watch over HTTP.");
    return CLOSE_NONE;
}

static enum close_reason handle_with_zero(struct rtmp_session *session, struct command *command)
{
    send_result(session, command, 0);
    return CLOSE_NONE;
}

static const struct {
    const char *name;
    command_fn handle;
} commands[] = {
    {"connect", handle_connect},
    {"createStream", handle_create_stream},
    {"publish", handle_publish},
    {"releaseStream", handle_with_zero},
    {"FCPublish", handle_fc_publish},
    {"FCUnpublish", handle_fc_unpublish},
    {"deleteStream", handle_delete_stream},
    {"closeStream", handle_delete_stream},
    {"getStreamLength", handle_with_zero},
    {"FCSubscribe", handle_with_zero},
    {"_checkbw", handle_with_zero},
    {"checkBandwidth", handle_with_zero},
    {"play", handle_play},
};

/* Answers to calls of ours, of which there are none, and what needs no answer. */
static bool is_ignored(const struct amf0_value *name)
{
    static const char *const names[] = {"_result", "_error", "onStatus", "setBufferTime"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (amf0_string_is(name->string, name->string_len, names[i]))
            return true;
    }
    return false;
}

enum close_reason rtmp_handle_command(struct rtmp_session *session, const struct rtmp_message *message)
{
    struct command command = {.stream_id = message->stream_id};
    struct amf0_value name, transaction;

    amf0_reader_init(&command.arguments, message->body, message->len_bytes);
    if (amf0_read(&command.arguments, &name) != 0 || name.type != AMF0_STRING)
        return CLOSE_PROTOCOL;
    if (amf0_read(&command.arguments, &transaction) == 0 && transaction.type == AMF0_NUMBER)
        command.transaction = transaction.number;
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!amf0_string_is(name.string, name.string_len, commands[i].name))
            continue;
        /* Everything but connect wants to be connected. */
        if (session->state == RTMP_CONNECTING && commands[i].handle != handle_connect)
            return CLOSE_PROTOCOL;
        return commands[i].handle(session, &command);
    }
    if (command.transaction != 0 && !is_ignored(&name))
        rtmp_send_status(&session->out, 0, "_error", command.transaction, "error", "NetConnection.Call.Failed",
                         "Unknown command.");
    return CLOSE_NONE;
}
