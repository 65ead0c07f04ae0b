/* Keep-alive and slow readers, without a timer per connection: every second one slot of the wheel is looked at, and the
 * connections are spread over as many slots as there are seconds between pings (at most 64). */
#include "chat.h"
#include "worker.h"

#include "libcommon/clock.h"
#include "libcommon/metrics.h"

static unsigned slots_in_use(const struct worker *worker)
{
    int64_t ping_s = worker->chat->config.ping_s, slow_s = worker->chat->config.slow_ms / 2000;
    int64_t slots = ping_s < slow_s ? ping_s : slow_s;

    if (slots < 1)
        slots = 1;
    return slots > WHEEL_SLOTS ? WHEEL_SLOTS : (unsigned)slots;
}

void wheel_add(struct worker *worker, struct connection *connection)
{
    connection->wheel_slot = worker->wheel_next++ % slots_in_use(worker);
    connection->wheel_previous = NULL;
    connection->wheel_next = worker->wheel[connection->wheel_slot];
    if (connection->wheel_next)
        connection->wheel_next->wheel_previous = connection;
    worker->wheel[connection->wheel_slot] = connection;
}

void wheel_remove(struct worker *worker, struct connection *connection)
{
    if (connection->wheel_previous)
        connection->wheel_previous->wheel_next = connection->wheel_next;
    else
        worker->wheel[connection->wheel_slot] = connection->wheel_next;
    if (connection->wheel_next)
        connection->wheel_next->wheel_previous = connection->wheel_previous;
}

static bool has_something_to_take(const struct connection *connection)
{
    return connection->private_first || connection->ping_due ||
           (connection->audience && !connection->is_held && audience_has_next(connection->audience, connection));
}

static void look_at(struct connection *connection, int64_t now_ms)
{
    const struct chat_config *config = &connection->worker->chat->config;
    int64_t silent_ms = now_ms - connection->heard_ms;

    if (has_something_to_take(connection) && now_ms - connection->progress_ms > config->slow_ms) {
        metric_add(connection->worker->chat->metrics.slow_closed, 1);
        connection_kill(connection);
    } else if (silent_ms > config->ping_s * 2500) {
        connection_kill(connection);
    } else if (silent_ms >= config->ping_s * 1000) {
        connection->ping_due = true;
        worker_want_writable(connection, now_ms);
    }
}

void wheel_turn(struct worker *worker, int64_t now_ms)
{
    struct connection *next;

    worker->wheel_now = (worker->wheel_now + 1) % slots_in_use(worker);
    for (struct connection *connection = worker->wheel[worker->wheel_now]; connection; connection = next) {
        next = connection->wheel_next;
        look_at(connection, now_ms);
    }
}
