/* waiting → dialling → up → waiting. Up, every command sent stands in a list of what is pending (redis_pending.h); one
 * timer looks at the oldest. A passed deadline drops the connection: a reply that came later would
 * be taken for the next command's. An idle link sends a PING of its own every second, so that `up` is true also when
 * nobody asks anything. */
#include "libcommon/redis_link.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_connection.h"
#include "libcommon/redis_dial.h"
#include "libcommon/redis_pending.h"
#include "libcommon/redis_script.h"
#include "libcommon/redis_sentinel.h"
#include "libcommon/tls_client.h"

#include <assert.h>
#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define IDLE_PING_MS      1000
#define SENTINEL_WATCH_MS 1000

enum link_state { LINK_WAITING, LINK_DIALLING, LINK_UP };

struct redis_link {
    struct event_base *loop;
    struct redis_url url;
    struct redis_link_options options;
    char *name;
    enum link_state state;
    struct redis_dial *dial;
    struct redis_connection *connection;
    struct redis_address address;
    char address_text[280];
    char why[400]; /* of the last failure, for redis_link_ready */
    struct backoff backoff;
    struct event *retry;
    struct redis_pending pending;
    struct event *check; /* looks at the oldest command's deadline, or at the silence; due at check_at_ms */
    int64_t check_at_ms;
    int64_t last_reply_ms;
    struct event *watch; /* behind Sentinel: is this still the master? */
    struct redis_sentinel_query *watch_query;
    struct redis_script_cache *scripts;
    struct log_limiter failure_limiter;
    int depth; /* own calls of the owner on the stack: on_up, on_down, refusals */
    struct {
        struct metric *up, *losses, *deadlines, *unreplicated;
    } metrics;
};

const char *const redis_link_schemes[] = {"redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-unix", NULL};

static void link_drop(struct redis_link *link, const char *why);
static void link_dial(struct redis_link *link);

const char *redis_link_strerror(int code)
{
    switch (code) {
    case 0:
        return "success";
    case REDIS_LINK_DOWN:
        return "not connected to Redis";
    case REDIS_LINK_LOST:
        return "the connection to Redis was lost";
    case REDIS_LINK_REFUSED:
        return "Redis refused the command";
    case REDIS_LINK_FULL:
        return "too much unanswered by Redis";
    default:
        return "unknown";
    }
}

static void arm(struct event *timer, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(timer, &delay);
}

static void set_metric(struct metric *metric, double value)
{
    if (metric)
        metric_set(metric, value);
}

static void count_metric(struct metric *metric)
{
    if (metric)
        metric_add(metric, 1);
}

static void arm_check(struct redis_link *link, int64_t at_ms, int64_t now_ms)
{
    link->check_at_ms = at_ms;
    arm(link->check, at_ms > now_ms ? at_ms - now_ms : 0);
}

static int64_t begin_deadline(struct redis_link *link, int64_t timeout_ms)
{
    int64_t now_ms = clock_monotonic_ms(), deadline_ms = now_ms + timeout_ms;

    if (deadline_ms < link->check_at_ms)
        arm_check(link, deadline_ms, now_ms);
    return deadline_ms;
}

static struct redis_command *push_sent(struct redis_link *link, int64_t timeout_ms, size_t bytes,
                                       redis_link_fn callback, void *context)
{
    return redis_pending_push(&link->pending, begin_deadline(link, timeout_ms), bytes, callback, context);
}

/* NULL: the command was refused and its callback called. */
static struct redis_command *push_command(struct redis_link *link, int64_t timeout_ms, size_t bytes,
                                          redis_link_fn callback, void *context)
{
    int refusal = 0;

    if (link->state != LINK_UP)
        refusal = REDIS_LINK_DOWN;
    else if (!redis_pending_has_room(&link->pending, bytes))
        refusal = REDIS_LINK_FULL;
    if (refusal == 0)
        return push_sent(link, timeout_ms, bytes, callback, context);
    if (callback) {
        link->depth++;
        callback(refusal, NULL, context);
        link->depth--;
    }
    return NULL;
}

static size_t args_bytes(int count, const char *const *args, const size_t *lens)
{
    size_t bytes = 0;

    for (int i = 0; i < count; i++)
        bytes += lens ? lens[i] : strlen(args[i]);
    return bytes;
}

/* --- what a replica has --- */

/* The link's own questions: never refused, never held. */
static void ask(struct redis_link *link, int64_t timeout_ms, redis_link_fn callback, int count, const char *const *args)
{
    push_sent(link, timeout_ms, 0, callback, link)->is_prompt = true;
    redis_connection_send(link->connection, count, args, NULL);
}

static void on_role(int code, const struct redisReply *reply, void *context)
{
    struct redis_link *link = context;

    if (code != 0)
        return;
    if (redis_settle_hear_role(&link->pending.settle, reply))
        log_info("redis.replicated", log_str("link", link->name), log_str("address", link->address_text),
                 log_int("replicas", link->pending.settle.following));
    set_metric(link->metrics.unreplicated, !link->pending.settle.has_replica);
}

static void ask_role(struct redis_link *link)
{
    ask(link, link->options.command_timeout_ms, on_role, 1, (const char *[]){"ROLE"});
}

static void settle_more(struct redis_link *link);

static void on_settled(int code, const struct redisReply *reply, void *context)
{
    struct redis_link *link = context;
    struct redis_held_list free_to_go = STAILQ_HEAD_INITIALIZER(free_to_go);

    if (code == REDIS_LINK_LOST)
        return;
    if (redis_settle_answered(&link->pending.settle, reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0,
                              clock_monotonic_ms(), &free_to_go)) {
        log_warn("redis.alone", log_str("link", link->name), log_str("address", link->address_text),
                 log_str("why", "no replica has what was written: answers do not wait for one any more"));
        set_metric(link->metrics.unreplicated, 1);
    }
    redis_pending_answer_held(&link->pending, &free_to_go);
    settle_more(link);
}

static void settle_more(struct redis_link *link)
{
    char wait_ms[16];

    if (!redis_settle_must_ask(&link->pending.settle))
        return;
    snprintf(wait_ms, sizeof(wait_ms), "%d", REDIS_SETTLE_ASK_MS);
    ask(link, REDIS_SETTLE_ASK_MS + link->options.command_timeout_ms, on_settled, 3,
        (const char *[]){"WAIT", "1", wait_ms});
}

/* --- while up --- */

static void on_check(evutil_socket_t fd, short events, void *context)
{
    struct redis_link *link = context;
    const struct redis_command *oldest = redis_pending_oldest(&link->pending);
    int64_t now_ms = clock_monotonic_ms();

    if (oldest && now_ms >= oldest->deadline_ms) {
        count_metric(link->metrics.deadlines);
        link_drop(link, "no answer in time");
        return;
    }
    if (oldest) {
        arm_check(link, oldest->deadline_ms, now_ms);
        return;
    }
    int64_t silent_ms = now_ms - link->last_reply_ms;
    if (silent_ms < IDLE_PING_MS) {
        arm_check(link, link->last_reply_ms + IDLE_PING_MS, now_ms);
        return;
    }
    arm_check(link, now_ms + link->options.command_timeout_ms, now_ms);
    redis_link_command(link, NULL, NULL, 1, (const char *[]){"PING"}, NULL);
}

/* Redis may have lost its scripts (restart, failover, SCRIPT FLUSH): once more with the text. True: it was sent again.
 */
static bool retry_script(struct redis_link *link, struct redis_command *command, const struct redisReply *reply)
{
    size_t len;

    if (!command->script || reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "NOSCRIPT", 8) != 0)
        return false;
    char *text = redis_script_call_format(command->script, true, &len);
    redis_script_call_free(command->script);
    command->script = NULL; /* not a third time */
    redis_pending_push_again(&link->pending, command, begin_deadline(link, link->options.command_timeout_ms));
    redis_connection_send_take(link->connection, text, len);
    return true;
}

static void on_reply(const struct redisReply *reply, void *context)
{
    struct redis_link *link = context;
    struct redis_command *command = redis_pending_take_oldest(&link->pending);
    int code = reply->type == REDIS_REPLY_ERROR ? REDIS_LINK_REFUSED : 0;
    /* Told before the callback runs, which may replace the connection's state. */
    bool is_deposed = code != 0 && link->url.is_sentinel && strncmp(reply->str, "READONLY", 8) == 0;

    if (!command) {
        link_drop(link, "a reply that nobody asked for");
        return;
    }
    link->last_reply_ms = clock_monotonic_ms();
    if (retry_script(link, command, reply))
        return;
    if (redis_pending_must_hold(&link->pending, command, code)) {
        redis_pending_hold(&link->pending, command, code, redis_connection_take_reply(link->connection));
        settle_more(link);
    } else {
        redis_pending_answer(&link->pending, command, code, reply);
    }
    if (is_deposed && link->state == LINK_UP)
        link_drop(link, "the master has become a replica");
}

static void on_closed(const char *why, void *context)
{
    link_drop(context, why);
}

static void on_watch_answer(const struct redis_address *master, const char *why, void *context)
{
    struct redis_link *link = context;

    link->watch_query = NULL;
    if (link->state != LINK_UP)
        return;
    /* A deposed master that Sentinel cannot reach goes on answering us: only Sentinel can tell. */
    if (master && !redis_address_equal(master, &link->address)) {
        link_drop(link, "Sentinel names another master");
        return;
    }
    ask_role(link);
    arm(link->watch, SENTINEL_WATCH_MS * 3 / 4 + random_below(SENTINEL_WATCH_MS / 2));
}

static void on_watch(evutil_socket_t fd, short events, void *context)
{
    struct redis_link *link = context;

    link->watch_query =
        redis_sentinel_ask(link->loop, &link->url, link->options.connect_timeout_ms, on_watch_answer, link);
}

/* --- connecting and losing --- */

static void on_retry(evutil_socket_t fd, short events, void *context)
{
    link_dial(context);
}

static void link_up(struct redis_link *link, struct redis_connection *connection, const struct redis_address *address)
{
    static const struct redis_connection_handlers handlers = {NULL, on_reply, on_closed};
    int64_t now_ms = clock_monotonic_ms();

    redis_connection_set_handlers(connection, &handlers, link);
    redis_connection_set_reply_pause(connection, link->options.reply_pause_ms);
    link->connection = connection;
    link->address = *address;
    redis_address_format(address, link->address_text, sizeof(link->address_text));
    link->state = LINK_UP;
    link->why[0] = '\0';
    link->last_reply_ms = now_ms;
    redis_script_cache_forget(link->scripts);
    backoff_reset(&link->backoff);
    arm_check(link, now_ms + IDLE_PING_MS, now_ms);
    set_metric(link->metrics.up, 1);
    if (link->url.is_sentinel) {
        arm(link->watch, SENTINEL_WATCH_MS);
        ask_role(link); /* before the first command: answered before it, too */
    }
    log_info("redis.connected", log_str("link", link->name), log_str("address", link->address_text));
    if (link->options.on_up) {
        link->depth++;
        link->options.on_up(link->options.context);
        link->depth--;
    }
}

static void on_dialled(struct redis_connection *connection, const struct redis_address *address, const char *why,
                       void *context)
{
    struct redis_link *link = context;

    link->dial = NULL;
    if (connection) {
        link_up(link, connection, address);
        return;
    }
    link->state = LINK_WAITING;
    snprintf(link->why, sizeof(link->why), "%s", why);
    log_limited(&link->failure_limiter, LOG_LEVEL_WARN, "redis.connect_failed", log_str("link", link->name),
                log_str("why", why));
    arm(link->retry, backoff_next_ms(&link->backoff));
}

static void link_dial(struct redis_link *link)
{
    link->state = LINK_DIALLING;
    link->dial =
        redis_dial_start(link->loop, &link->url, link->name, link->options.connect_timeout_ms, on_dialled, link);
}

static void link_disconnect(struct redis_link *link)
{
    link->state = LINK_WAITING;
    redis_connection_free(link->connection);
    link->connection = NULL;
    link->address_text[0] = '\0';
    redis_sentinel_cancel(link->watch_query);
    link->watch_query = NULL;
    event_del(link->watch);
    event_del(link->check);
    set_metric(link->metrics.up, 0);
}

static void link_drop(struct redis_link *link, const char *why)
{
    log_warn("redis.lost", log_str("link", link->name), log_str("address", link->address_text), log_str("why", why),
             log_int("unanswered_bytes", (int64_t)link->pending.bytes));
    snprintf(link->why, sizeof(link->why), "%s", why);
    count_metric(link->metrics.losses);
    link_disconnect(link);
    arm(link->retry, backoff_next_ms(&link->backoff));
    redis_pending_lose_all(&link->pending);
    if (link->options.on_down) {
        link->depth++;
        link->options.on_down(link->options.context);
        link->depth--;
    }
}

static struct event *new_timer(struct redis_link *link, event_callback_fn callback)
{
    struct event *timer = evtimer_new(link->loop, callback, link);

    if (!timer)
        abort();
    return timer;
}

static void make_metrics(struct redis_link *link)
{
    struct metrics *registry = link->options.metrics;
    char labels[128];

    if (!registry)
        return;
    snprintf(labels, sizeof(labels), "link=\"%.64s\"", link->name);
    link->metrics.up = metrics_gauge(registry, "hanabi_redis_up", "1 while connected to Redis", labels);
    link->metrics.losses = metrics_counter(registry, "hanabi_redis_losses_total",
                                           "connections to Redis that broke or were given up", labels);
    link->metrics.deadlines = metrics_counter(registry, "hanabi_redis_deadlines_total",
                                              "connections given up since a command was not answered in time", labels);
    link->pending.bytes_gauge =
        metrics_gauge(registry, "hanabi_redis_pending_bytes", "arguments sent and not yet answered", labels);
    link->metrics.unreplicated = metrics_gauge(registry, "hanabi_redis_unreplicated",
                                               "1 while behind Sentinel no replica has what is acknowledged", labels);
}

struct redis_link *redis_link_create(struct event_base *loop, const char *url, const struct redis_link_options *options)
{
    struct redis_link *link = alloc_zero(1, sizeof(*link));
    struct redis_link_options *o = &link->options;

    if (redis_url_parse(url, &link->url, NULL, 0) != 0) {
        free(link);
        return NULL;
    }
    *o = *options;
    o->connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 1000;
    o->command_timeout_ms = o->command_timeout_ms > 0 ? o->command_timeout_ms : 2000;
    o->max_pending_bytes = o->max_pending_bytes > 0 ? o->max_pending_bytes : 32u << 20;
    backoff_init(&link->backoff, o->backoff_min_ms > 0 ? o->backoff_min_ms : 50,
                 o->backoff_max_ms > 0 ? o->backoff_max_ms : redis_url_backoff_max_ms(&link->url));
    link->loop = loop;
    link->name = alloc_string(o->name ? o->name : "redis");
    link->failure_limiter = LOG_LIMITER(5000);
    snprintf(link->why, sizeof(link->why), "connecting");
    redis_pending_init(&link->pending, o->max_pending_bytes, link->url.is_sentinel);
    link->scripts = redis_script_cache_create();
    link->retry = new_timer(link, on_retry);
    link->check = new_timer(link, on_check);
    link->watch = new_timer(link, on_watch);
    make_metrics(link);
    link_dial(link);
    return link;
}

void redis_link_destroy(struct redis_link *link)
{
    if (!link)
        return;
    assert(link->depth == 0 && link->pending.depth == 0);
    link_disconnect(link);
    redis_dial_cancel(link->dial);
    redis_pending_lose_all(&link->pending);
    event_free(link->retry);
    event_free(link->check);
    event_free(link->watch);
    redis_script_cache_destroy(link->scripts);
    free(link->name);
    free(link);
}

int redis_link_check_url(const char *url, char *error, size_t error_size)
{
    struct redis_url parsed;

    if (redis_url_parse(url, &parsed, error, error_size) != 0)
        return -1;
    return parsed.tls.is_on ? tls_client_check_ca(parsed.tls.ca, error, error_size) : 0;
}

bool redis_link_is_up(const struct redis_link *link)
{
    return link->state == LINK_UP;
}

const char *redis_link_address(const struct redis_link *link)
{
    return link->address_text;
}

bool redis_link_ready(void *context, char *why, size_t why_size)
{
    const struct redis_link *link = context;

    if (link->state == LINK_UP)
        return true;
    snprintf(why, why_size, "%s", link->why);
    return false;
}

size_t redis_link_pending_bytes(const struct redis_link *link)
{
    return link->pending.bytes;
}

/* --- sending --- */

void redis_link_command_within(struct redis_link *link, int64_t timeout_ms, redis_link_fn callback, void *context,
                               int count, const char *const *args, const size_t *lens)
{
    if (push_command(link, timeout_ms, args_bytes(count, args, lens), callback, context))
        redis_connection_send(link->connection, count, args, lens);
}

void redis_link_command(struct redis_link *link, redis_link_fn callback, void *context, int count,
                        const char *const *args, const size_t *lens)
{
    redis_link_command_within(link, link->options.command_timeout_ms, callback, context, count, args, lens);
}

void redis_link_command_settled(struct redis_link *link, redis_link_fn callback, void *context, int count,
                                const char *const *args, const size_t *lens)
{
    struct redis_command *command =
        push_command(link, link->options.command_timeout_ms, args_bytes(count, args, lens), callback, context);

    if (!command)
        return;
    command->must_settle = true;
    redis_connection_send(link->connection, count, args, lens);
}

void redis_link_commandf(struct redis_link *link, redis_link_fn callback, void *context, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    int len = redisvFormatCommand(&text, format, arguments);
    va_end(arguments);
    /* -1: memory is out; -2: the format is broken, which only a programmer can do. */
    if (len < 0)
        abort();
    if (push_command(link, link->options.command_timeout_ms, (size_t)len, callback, context))
        redis_connection_send_take(link->connection, text, (size_t)len);
    else
        redisFreeCommand(text);
}

void redis_link_command_memory(struct redis_link *link, redis_link_fn callback, void *context, void *memory,
                               size_t offset, size_t len_bytes)
{
    if (push_command(link, link->options.command_timeout_ms, len_bytes, callback, context))
        redis_connection_send_memory(link->connection, memory, offset, len_bytes);
    else
        free(memory);
}

void redis_link_script(struct redis_link *link, const struct redis_script *script, redis_link_fn callback,
                       void *context, int count, const char *const *args, const size_t *lens)
{
    struct redis_command *command =
        push_command(link, link->options.command_timeout_ms, args_bytes(count, args, lens), callback, context);
    size_t len;

    if (!command)
        return;
    command->must_settle = !script->answers_early;
    command->is_prompt = script->answers_early;
    command->script = redis_script_call_create(link->scripts, script, count, args, lens);
    char *text = redis_script_call_format(command->script, false, &len);
    redis_connection_send_take(link->connection, text, len);
}
