/* Whether a subscription works is known only from what arrives on it: a PING of its own connection may reach no further
 * than the kernel, and a deposed master answers it. So the ping is a message to our own channel, published through a
 * second connection to the master that Sentinel names now. The connection is never repaired: a doubt replaces it, and
 * the owner re-reads its state.
 *
 * Every SUBSCRIBE'd name is confirmed once, so `unconfirmed` counts down to the moment from which nothing is missed. */
#include "libcommon/subscriber.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/channel_set.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_connection.h"
#include "libcommon/redis_dial.h"
#include "libcommon/redis_link.h"

#include <assert.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define SUBSCRIBE_BATCH 500 /* names in one command */

struct subscriber {
    struct event_base *loop;
    struct redis_url url;
    struct subscriber_options options;
    char *ping_channel;
    enum subscriber_state state;
    struct channel_set *channels; /* what the owner wants; without the ping channel */
    struct redis_dial *dial;
    struct redis_connection *connection; /* NULL until the hand-shake is done */
    char address[280];                   /* of the connection */
    struct redis_link *publisher;
    size_t unconfirmed;
    bool was_live; /* ever */
    struct backoff backoff;
    struct event *timer; /* what it means depends on the state: see on_timer */
    int64_t last_heard_ms;
    int64_t suspect_since_ms;
    char why[160];
    struct log_limiter failure_limiter;
    int depth; /* owner's callbacks on the stack */
    struct metric *heals, *state_metric;
};

static void start_dial(struct subscriber *subscriber);

static void arm(struct subscriber *subscriber, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms > 0 ? delay_ms / 1000 : 0, delay_ms > 0 ? delay_ms % 1000 * 1000 : 0};

    evtimer_add(subscriber->timer, &delay);
}

const char *subscriber_state_name(enum subscriber_state state)
{
    switch (state) {
    case SUBSCRIBER_CONNECTING:
        return "connecting";
    case SUBSCRIBER_LIVE:
        return "live";
    case SUBSCRIBER_SUSPECT:
        return "suspect";
    case SUBSCRIBER_BACKING_OFF:
        return "backing_off";
    }
    return "unknown";
}

/* The only place that changes the state. */
static void change_state(struct subscriber *subscriber, enum subscriber_state next, const char *why)
{
    static const bool legal[4][4] = {
        [SUBSCRIBER_CONNECTING] = {[SUBSCRIBER_LIVE] = true, [SUBSCRIBER_BACKING_OFF] = true},
        [SUBSCRIBER_LIVE] = {[SUBSCRIBER_SUSPECT] = true, [SUBSCRIBER_BACKING_OFF] = true},
        [SUBSCRIBER_SUSPECT] = {[SUBSCRIBER_LIVE] = true, [SUBSCRIBER_BACKING_OFF] = true},
        [SUBSCRIBER_BACKING_OFF] = {[SUBSCRIBER_CONNECTING] = true},
    };
    enum subscriber_state old = subscriber->state;

    if (!legal[old][next])
        abort();
    subscriber->state = next;
    if (subscriber->state_metric)
        metric_set(subscriber->state_metric, (double)next);
    /* live <-> suspect is the daily routine of a quiet channel, and a Redis that is away repeats the other two. */
    bool is_routine = next == SUBSCRIBER_SUSPECT || old == SUBSCRIBER_SUSPECT || next == SUBSCRIBER_CONNECTING;
    enum log_level level = next == SUBSCRIBER_BACKING_OFF ? LOG_LEVEL_WARN
                           : is_routine                   ? LOG_LEVEL_DEBUG
                                                          : LOG_LEVEL_INFO;
    if (old == SUBSCRIBER_CONNECTING && next == SUBSCRIBER_BACKING_OFF)
        log_limited(&subscriber->failure_limiter, level, "subscriber.connect_failed", log_str("why", why));
    else
        log_write(level, "subscriber.state_changed",
                  LOG_FIELDS(log_str("old", subscriber_state_name(old)), log_str("new", subscriber_state_name(next)),
                             log_str("address", subscriber->address), log_str("why", why)));
}

/* Whatever the doubt: drop the connection; connecting anew resubscribes and tells the owner. */
static void back_off(struct subscriber *subscriber, const char *why)
{
    snprintf(subscriber->why, sizeof(subscriber->why), "%s", why);
    change_state(subscriber, SUBSCRIBER_BACKING_OFF, subscriber->why);
    redis_dial_cancel(subscriber->dial);
    subscriber->dial = NULL;
    redis_connection_free(subscriber->connection);
    subscriber->connection = NULL;
    subscriber->unconfirmed = 0;
    arm(subscriber, backoff_next_ms(&subscriber->backoff));
}

/* --- asking whether it still works --- */

static void publish_ping(struct subscriber *subscriber)
{
    /* A publish that fails needs no handling here: what counts is whether the pong is heard in time. */
    redis_link_command(subscriber->publisher, NULL, NULL, 3,
                       (const char *[]){"PUBLISH", subscriber->ping_channel, "ping"}, NULL);
}

static void become_suspect(struct subscriber *subscriber, const char *why)
{
    change_state(subscriber, SUBSCRIBER_SUSPECT, why);
    arm(subscriber, subscriber->options.pong_ms);
    publish_ping(subscriber);
}

/* The publisher watches Sentinel; a subscription to another server than the master hears nothing, however alive. */
static bool is_elsewhere(const struct subscriber *subscriber)
{
    return subscriber->url.is_sentinel && redis_link_is_up(subscriber->publisher) &&
           strcmp(redis_link_address(subscriber->publisher), subscriber->address) != 0;
}

static void on_publisher_up(void *context)
{
    struct subscriber *subscriber = context;
    bool is_subscribed = subscriber->state == SUBSCRIBER_LIVE || subscriber->state == SUBSCRIBER_SUSPECT;

    if (is_subscribed && is_elsewhere(subscriber))
        back_off(subscriber, "Sentinel names another master");
    else if (subscriber->state == SUBSCRIBER_SUSPECT)
        publish_ping(subscriber);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct subscriber *subscriber = context;
    int64_t now_ms = clock_monotonic_ms();
    int64_t quiet_at_ms = subscriber->last_heard_ms + subscriber->options.quiet_ms;

    switch (subscriber->state) {
    case SUBSCRIBER_BACKING_OFF:
        change_state(subscriber, SUBSCRIBER_CONNECTING, "");
        start_dial(subscriber);
        break;
    case SUBSCRIBER_CONNECTING:
        back_off(subscriber, "the subscriptions were not confirmed in time");
        break;
    case SUBSCRIBER_LIVE:
        if (now_ms < quiet_at_ms) {
            arm(subscriber, quiet_at_ms - now_ms);
            break;
        }
        become_suspect(subscriber, "quiet");
        break;
    case SUBSCRIBER_SUSPECT:
        back_off(subscriber, "our own ping was not heard");
        break;
    }
}

/* --- what arrives --- */

static void on_confirmed(struct subscriber *subscriber)
{
    if (subscriber->unconfirmed > 0)
        subscriber->unconfirmed--;
    if (subscriber->state != SUBSCRIBER_CONNECTING)
        return;
    if (subscriber->unconfirmed > 0) {
        arm(subscriber, subscriber->options.connect_timeout_ms);
        return;
    }
    bool is_first = !subscriber->was_live;

    subscriber->was_live = true;
    subscriber->why[0] = '\0';
    change_state(subscriber, SUBSCRIBER_LIVE, "");
    backoff_reset(&subscriber->backoff);
    arm(subscriber, subscriber->options.quiet_ms);
    if (!is_first && subscriber->heals)
        metric_add(subscriber->heals, 1);
    if (subscriber->options.on_resubscribed) {
        subscriber->depth++;
        subscriber->options.on_resubscribed(is_first, subscriber->options.context);
        subscriber->depth--;
    }
    /* During a failover the two may have been given different answers; which of them is right shows at once. */
    if (is_elsewhere(subscriber))
        become_suspect(subscriber, "the publisher is connected elsewhere");
}

static void on_message(struct subscriber *subscriber, const char *channel, const redisReply *message)
{
    if (strcmp(channel, subscriber->ping_channel) == 0) {
        if (subscriber->state == SUBSCRIBER_SUSPECT) {
            change_state(subscriber, SUBSCRIBER_LIVE, "pong");
            arm(subscriber, subscriber->options.quiet_ms);
        }
        return;
    }
    /* A message may still be under way after its channel was removed. */
    if (!channel_set_has(subscriber->channels, channel))
        return;
    subscriber->depth++;
    subscriber->options.on_message(channel, message->str, message->len, subscriber->options.context);
    subscriber->depth--;
}

/* ["subscribe", channel, count], ["unsubscribe", …], ["message", channel, payload]. */
static void on_reply(const struct redisReply *reply, void *context)
{
    struct subscriber *subscriber = context;
    char why[160];

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3 || !reply->element[0]->str ||
        !reply->element[1]->str) {
        snprintf(why, sizeof(why), "subscribing: %.120s", reply->type == REDIS_REPLY_ERROR ? reply->str : "odd reply");
        back_off(subscriber, why);
        return;
    }
    subscriber->last_heard_ms = clock_monotonic_ms();
    const char *kind = reply->element[0]->str;
    if (strcmp(kind, "message") == 0 && reply->element[2]->type == REDIS_REPLY_STRING)
        on_message(subscriber, reply->element[1]->str, reply->element[2]);
    else if (strcmp(kind, "subscribe") == 0)
        on_confirmed(subscriber);
}

static void on_closed(const char *why, void *context)
{
    back_off(context, why);
}

/* --- connecting --- */

static void send_subscribe(struct subscriber *subscriber, const char *const *names, size_t count)
{
    const char *args[1 + SUBSCRIBE_BATCH] = {"SUBSCRIBE"};

    for (size_t done = 0; done < count;) {
        size_t batch = count - done < SUBSCRIBE_BATCH ? count - done : SUBSCRIBE_BATCH;

        memcpy(args + 1, names + done, batch * sizeof(*names));
        redis_connection_send(subscriber->connection, (int)batch + 1, args, NULL);
        done += batch;
    }
    subscriber->unconfirmed += count;
}

static void on_dialled(struct redis_connection *connection, const struct redis_address *address, const char *why,
                       void *context)
{
    static const struct redis_connection_handlers handlers = {NULL, on_reply, on_closed};
    struct subscriber *subscriber = context;
    size_t count = channel_set_count(subscriber->channels);

    subscriber->dial = NULL;
    if (!connection) {
        back_off(subscriber, why);
        return;
    }
    redis_connection_set_handlers(connection, &handlers, subscriber);
    subscriber->connection = connection;
    redis_address_format(address, subscriber->address, sizeof(subscriber->address));
    subscriber->last_heard_ms = clock_monotonic_ms();

    const char **names = alloc_zero(count + 1, sizeof(*names));
    names[0] = subscriber->ping_channel;
    channel_set_list(subscriber->channels, names + 1);
    send_subscribe(subscriber, names, count + 1);
    free(names);
    arm(subscriber, subscriber->options.connect_timeout_ms);
}

static void start_dial(struct subscriber *subscriber)
{
    subscriber->address[0] = '\0';
    subscriber->dial = redis_dial_start(subscriber->loop, &subscriber->url, subscriber->ping_channel,
                                        subscriber->options.connect_timeout_ms, on_dialled, subscriber);
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value > 0 ? value : fallback;
}

static void make_metrics(struct subscriber *subscriber)
{
    struct metrics *registry = subscriber->options.metrics;

    if (!registry)
        return;
    subscriber->heals = metrics_counter(registry, "hanabi_subscriber_heals_total",
                                        "resubscribed after messages may have been missed", NULL);
    subscriber->state_metric =
        metrics_gauge(registry, "hanabi_subscriber_state", "0 connecting, 1 live, 2 suspect, 3 backing off", NULL);
}

struct subscriber *subscriber_create(struct event_base *loop, const char *url, const struct subscriber_options *options)
{
    struct subscriber *subscriber = alloc_zero(1, sizeof(*subscriber));
    struct subscriber_options *o = &subscriber->options;

    if (redis_url_parse(url, &subscriber->url, NULL, 0) != 0) {
        free(subscriber);
        return NULL;
    }
    *o = *options;
    o->quiet_ms = or_default(o->quiet_ms, 5000);
    o->pong_ms = or_default(o->pong_ms, 2000);
    o->connect_timeout_ms = or_default(o->connect_timeout_ms, 1000);
    o->backoff_min_ms = or_default(o->backoff_min_ms, 50);
    o->backoff_max_ms = or_default(o->backoff_max_ms, redis_url_backoff_max_ms(&subscriber->url));
    backoff_init(&subscriber->backoff, o->backoff_min_ms, o->backoff_max_ms);
    subscriber->loop = loop;
    subscriber->ping_channel = alloc_string(o->ping_channel);
    o->ping_channel = subscriber->ping_channel;
    subscriber->failure_limiter = LOG_LIMITER(5000);
    subscriber->channels = channel_set_create();
    snprintf(subscriber->why, sizeof(subscriber->why), "connecting");
    subscriber->timer = evtimer_new(loop, on_timer, subscriber);
    if (!subscriber->timer)
        abort();
    make_metrics(subscriber);
    subscriber->state = SUBSCRIBER_CONNECTING;
    subscriber->publisher = redis_link_create(loop, url,
                                              &(struct redis_link_options){.name = "subscriber-ping",
                                                                           .connect_timeout_ms = o->connect_timeout_ms,
                                                                           .command_timeout_ms = o->pong_ms,
                                                                           .backoff_min_ms = o->backoff_min_ms,
                                                                           .backoff_max_ms = o->backoff_max_ms,
                                                                           .metrics = o->metrics,
                                                                           .on_up = on_publisher_up,
                                                                           .context = subscriber});
    start_dial(subscriber);
    return subscriber;
}

void subscriber_destroy(struct subscriber *subscriber)
{
    if (!subscriber)
        return;
    assert(subscriber->depth == 0);
    redis_link_destroy(subscriber->publisher);
    redis_dial_cancel(subscriber->dial);
    redis_connection_free(subscriber->connection);
    event_free(subscriber->timer);
    channel_set_destroy(subscriber->channels);
    free(subscriber->ping_channel);
    free(subscriber);
}

void subscriber_add(struct subscriber *subscriber, const char *channel)
{
    if (strcmp(channel, subscriber->ping_channel) == 0 || !channel_set_add(subscriber->channels, channel))
        return;
    if (subscriber->connection)
        send_subscribe(subscriber, &channel, 1);
}

void subscriber_remove(struct subscriber *subscriber, const char *channel)
{
    if (!channel_set_remove(subscriber->channels, channel) || !subscriber->connection)
        return;
    redis_connection_send(subscriber->connection, 2, (const char *[]){"UNSUBSCRIBE", channel}, NULL);
}

enum subscriber_state subscriber_get_state(const struct subscriber *subscriber)
{
    return subscriber->state;
}

bool subscriber_ready(void *context, char *why, size_t why_size)
{
    const struct subscriber *subscriber = context;

    /* Suspect is a question, not an answer; at the end of it the state is one of the others. */
    if (subscriber->state == SUBSCRIBER_LIVE || subscriber->state == SUBSCRIBER_SUSPECT)
        return true;
    snprintf(why, why_size, "%s", subscriber->why[0] ? subscriber->why : "connecting");
    return false;
}
