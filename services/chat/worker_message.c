/* What the loop says to a worker. A connection that is closed already hears nothing; it is freed at MESSAGE_GONE. */
#include "chat.h"
#include "worker.h"

#include "libcommon/clock.h"

static void on_welcome(struct worker *worker, struct message *message, int64_t now_ms)
{
    struct connection *connection = message->connection;
    struct audience *audience = worker_audience(worker, message->audience, true);

    /* Whoever comes back gets the events before its last one out of the log: they must not be in its first frame too.
     */
    if (message->flag)
        audience_flush(audience, now_ms);
    connection->is_held = message->flag;
    audience_add(audience, connection);
    connection_send_now(connection, message->text, message->len, now_ms);
}

static void on_backlog(struct message *message, int64_t now_ms)
{
    struct connection *connection = message->connection;

    if (message->text)
        connection_send(connection, message->text, message->len);
    connection->is_held = false;
    worker_want_writable(connection, now_ms);
}

static void on_events(struct worker *worker, struct message *message, int64_t now_ms)
{
    struct audience *audience = worker_audience(worker, message->audience, false);

    if (audience)
        audience_post(audience, message->batch, now_ms);
}

static void on_message(struct worker *worker, struct message *message, int64_t now_ms)
{
    struct connection *connection = message->connection;

    if (message->type == MESSAGE_GONE) {
        connection_free(connection);
        return;
    }
    if (connection && !connection->wsi)
        return;
    switch (message->type) {
    case MESSAGE_WELCOME:
        on_welcome(worker, message, now_ms);
        break;
    case MESSAGE_BACKLOG:
        on_backlog(message, now_ms);
        break;
    case MESSAGE_PRIVATE:
        connection_send_now(connection, message->text, message->len, now_ms);
        break;
    case MESSAGE_CLOSE:
        connection_close(connection, message->code, message->text);
        break;
    case MESSAGE_EVENTS:
        on_events(worker, message, now_ms);
        break;
    case MESSAGE_DRAIN:
        worker_drain(worker, now_ms + message->code + 1);
        break;
    case MESSAGE_QUIT:
        worker->is_quitting = true;
        break;
    default:
        break;
    }
}

void worker_on_messages(struct worker *worker)
{
    struct message *message = message_queue_take(&worker->queue), *next;
    int64_t now_ms = clock_monotonic_ms();

    for (; message; message = next) {
        next = message->next;
        on_message(worker, message, now_ms);
        message_free(message);
    }
    worker_flush(worker);
}
