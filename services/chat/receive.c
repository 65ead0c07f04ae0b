/* A whole message of a client: its form and its rate are checked here, on the worker; what settings say of it, on the
 * loop (handle_*.c). */
#include "chat.h"
#include "worker.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"

#include <libwebsockets.h>

static void answer_error(struct connection *connection, const char *ref, const char *code, int64_t retry_after_ms)
{
    char *text = error_text(ref, code, retry_after_ms);

    connection_send(connection, text, strlen(text));
    free(text);
}

void receive_message(struct connection *connection, const char *bytes, size_t len)
{
    struct chat *chat = connection->worker->chat;
    struct chat_client_message said;
    const char *code = chat_client_message_parse(bytes, len, &said);
    int64_t retry_after_ms = 0, now_ms = clock_monotonic_ms();
    struct message *message;

    metric_add(chat->metrics.offered, 1);
    if (!code && !connection->user_id[0])
        code = "read_only";
    /* What cannot be read costs as much as what can: otherwise rubbish would be the cheap way to keep us busy. */
    if (!token_bucket_take(&connection->bucket, chat->config.rate_burst, chat->config.rate_per_10s, now_ms,
                           &retry_after_ms))
        code = "rate_limited";
    if (code) {
        answer_error(connection, said.ref, code, retry_after_ms);
        chat_client_message_clear(&said);
        return;
    }
    message = message_create(said.verb == CHAT_VERB_COMMENT ? MESSAGE_COMMENT : MESSAGE_DELETE, connection);
    strcpy(message->ref, said.ref);
    message->at_ms = now_ms;
    message->text = said.verb == CHAT_VERB_COMMENT ? said.text : alloc_string(said.id);
    message->len = strlen(message->text);
    message_queue_push(&chat->inbox, message);
}
