/* The commands of the hand-shake leave together; the replies come in the order in which they were sent. */
#include "libcommon/redis_dial.h"

#include "libcommon/alloc.h"
#include "libcommon/redis_connection.h"
#include "libcommon/redis_sentinel.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

enum step { STEP_AUTH, STEP_SELECT, STEP_SETNAME, STEP_PING, STEP_ROLE };
static const char *const step_names[] = {"AUTH", "SELECT", "CLIENT SETNAME", "PING", "ROLE"};

struct redis_dial {
    struct event_base *loop;
    const struct redis_url *url;
    char name[64];
    int64_t timeout_ms;
    redis_dial_fn callback;
    void *context;
    struct event *deadline;
    struct redis_sentinel_query *query;
    struct redis_connection *connection;
    struct redis_address address;
    bool has_address;
    enum step steps[5];
    size_t step_count, steps_done;
};

void redis_dial_cancel(struct redis_dial *dial)
{
    if (!dial)
        return;
    redis_sentinel_cancel(dial->query);
    redis_connection_free(dial->connection);
    event_free(dial->deadline);
    free(dial);
}

static void finish(struct redis_dial *dial, bool good, const char *why)
{
    struct redis_connection *connection = good ? dial->connection : NULL;
    struct redis_address address = dial->address;
    bool has_address = dial->has_address;
    redis_dial_fn callback = dial->callback;
    void *context = dial->context;
    char reason[400];

    snprintf(reason, sizeof(reason), "%s", why);
    if (good)
        dial->connection = NULL;
    redis_dial_cancel(dial);
    callback(connection, has_address ? &address : NULL, reason, context);
}

static void on_deadline(evutil_socket_t fd, short events, void *context)
{
    struct redis_dial *dial = context;

    /* A Redis without TLS waits for the end of what it takes for a command. */
    finish(dial, false,
           dial->step_count > 0   ? "no answer to the hand-shake in time"
           : dial->url->tls.is_on ? "connect timed out (does the server speak TLS on this port?)"
                                  : "connect timed out");
}

static void send_step(struct redis_dial *dial, enum step step, int count, const char *const *args)
{
    dial->steps[dial->step_count++] = step;
    redis_connection_send(dial->connection, count, args, NULL);
}

static void on_open(void *context)
{
    struct redis_dial *dial = context;
    char db[16];

    if (dial->url->password[0])
        send_step(dial, STEP_AUTH, 2, (const char *[]){"AUTH", dial->url->password});
    if (dial->url->db > 0) {
        snprintf(db, sizeof(db), "%d", dial->url->db);
        send_step(dial, STEP_SELECT, 2, (const char *[]){"SELECT", db});
    }
    send_step(dial, STEP_SETNAME, 3, (const char *[]){"CLIENT", "SETNAME", dial->name});
    send_step(dial, STEP_PING, 1, (const char *[]){"PING"});
    if (dial->url->is_sentinel)
        send_step(dial, STEP_ROLE, 1, (const char *[]){"ROLE"});
}

static void on_reply(const struct redisReply *reply, void *context)
{
    struct redis_dial *dial = context;
    char why[160];

    if (dial->steps_done >= dial->step_count) {
        finish(dial, false, "a reply that nobody asked for");
        return;
    }
    enum step step = dial->steps[dial->steps_done];
    if (reply->type == REDIS_REPLY_ERROR) {
        snprintf(why, sizeof(why), "%s: %.120s", step_names[step], reply->str);
        finish(dial, false, why);
        return;
    }
    if (step == STEP_ROLE && (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 || !reply->element[0]->str ||
                              strcmp(reply->element[0]->str, "master") != 0)) {
        finish(dial, false, "the server that Sentinel names is not a master");
        return;
    }
    if (++dial->steps_done == dial->step_count)
        finish(dial, true, "");
}

static void on_closed(const char *why, void *context)
{
    finish(context, false, why);
}

static void dial_address(struct redis_dial *dial, const struct redis_address *address)
{
    static const struct redis_connection_handlers handlers = {on_open, on_reply, on_closed};
    const struct timeval timeout = {dial->timeout_ms / 1000, dial->timeout_ms % 1000 * 1000};

    dial->address = *address;
    dial->has_address = true;
    dial->connection = redis_connection_open(dial->loop, address, &dial->url->tls, &handlers, dial);
    evtimer_add(dial->deadline, &timeout);
}

static void on_sentinel_answer(const struct redis_address *master, const char *why, void *context)
{
    struct redis_dial *dial = context;

    dial->query = NULL;
    if (master)
        dial_address(dial, master);
    else
        finish(dial, false, why);
}

struct redis_dial *redis_dial_start(struct event_base *loop, const struct redis_url *url, const char *name,
                                    int64_t timeout_ms, redis_dial_fn callback, void *context)
{
    struct redis_dial *dial = alloc_zero(1, sizeof(*dial));

    dial->loop = loop;
    dial->url = url;
    dial->timeout_ms = timeout_ms;
    dial->callback = callback;
    dial->context = context;
    /* Redis refuses spaces and control characters in a client's name. */
    for (size_t i = 0; name[i] && i + 1 < sizeof(dial->name); i++)
        dial->name[i] = name[i] > ' ' && name[i] < 127 ? name[i] : '-';
    dial->deadline = evtimer_new(loop, on_deadline, dial);
    if (!dial->deadline)
        abort();
    if (url->is_sentinel)
        dial->query = redis_sentinel_ask(loop, url, timeout_ms, on_sentinel_answer, dial);
    else
        dial_address(dial, &url->addresses[0]);
    return dial;
}
