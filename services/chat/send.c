/* What the loop says to one connection. */
#include "chat.h"
#include "connection.h"
#include "worker.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char *sentence_of(const char *code)
{
    static const struct {
        const char *code, *sentence;
    } sentences[] = {
        {"rate_limited", "too many messages: wait a moment"},
        {"too_long", "the message is too long"},
        {"invalid", "this is no message that is understood here"},
        {"muted", "you may not write in this broadcast"},
        {"blocked", "the broadcaster does not take this"},
        {"over", "the broadcast is over"},
        {"slow_mode", "slow mode: wait before the next comment"},
        {"duplicate", "you have just said that"},
        {"unavailable", "not taken: try again"},
        {"read_only", "sign in to write"},
        {"forbidden", "this is for the broadcaster and moderators"},
        {"banned", "you may not connect to this broadcast"},
        {"full", "this server is full: come back later"},
        {"not_found", "there is no such broadcast"},
        {"token_expired", "the token has expired"},
        {"token_invalid", "the token is not good"},
        {"token_elsewhere", "the token is for another broadcast"},
    };

    for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]); i++)
        if (strcmp(sentences[i].code, code) == 0)
            return sentences[i].sentence;
    return code;
}

char *error_text(const char *ref, const char *code, int64_t retry_after_ms)
{
    json_t *root = json_pack("{s:s,s:s,s:s}", "type", "error", "code", code, "message", sentence_of(code));
    char *text;

    if (ref[0])
        json_object_set_new(root, "ref", json_string(ref));
    if (retry_after_ms > 0)
        json_object_set_new(root, "retry_after_ms", json_integer(retry_after_ms));
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!text)
        abort();
    return text;
}

static void push(struct connection *connection, enum message_type type, int code, char *text)
{
    struct message *message = message_create(type, connection);

    message->code = code;
    message->text = text;
    message->len = text ? strlen(text) : 0;
    message_queue_push(&connection->worker->queue, message);
}

void send_private(struct connection *connection, char *text)
{
    push(connection, MESSAGE_PRIVATE, 0, text);
}

void send_close(struct connection *connection, int code, char *text)
{
    push(connection, MESSAGE_CLOSE, code, text);
}

void send_error(struct connection *connection, const char *ref, const char *code, int64_t retry_after_ms)
{
    send_private(connection, error_text(ref, code, retry_after_ms));
}
