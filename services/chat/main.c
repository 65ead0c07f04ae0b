/* chat: see README.md. */
#include "audience_log.h"
#include "chat.h"
#include "connection.h"
#include "room.h"
#include "table.h"
#include "worker.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/request_scope.h"
#include "libcommon/service.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define TICK_MS       50
#define SENDERS_SWEEP 60000
/* For what clients say, in one turn of the loop: what comes from Redis for viewers waits behind it. */
#define TURN_US 250

static struct chat chat_state;

/* --- what the workers say --- */

static void on_message(struct chat *chat, struct message *message)
{
    struct connection *connection = message->connection;
    const char *outer_scope;

    switch (message->type) {
    case MESSAGE_JOIN:
        on_join(chat, connection);
        break;
    case MESSAGE_LEAVE:
        on_leave(chat, connection);
        break;
    case MESSAGE_COMMENT:
        outer_scope = request_scope_enter(connection->request_id);
        handle_comment(chat, message);
        request_scope_leave(outer_scope);
        break;
    case MESSAGE_DELETE:
        outer_scope = request_scope_enter(connection->request_id);
        handle_delete(chat, message);
        request_scope_leave(outer_scope);
        break;
    case MESSAGE_QUIET:
        chat->workers_quiet++;
        break;
    default:
        break;
    }
}

static void take_inbox(struct chat *chat)
{
    *chat->taken_last = message_queue_take(&chat->inbox);
    for (; *chat->taken_last; chat->taken_count++)
        chat->taken_last = &(*chat->taken_last)->next;
}

static void flush_log_writers(struct chat *chat)
{
    for (size_t i = 0; i < chat->shard_count; i++)
        log_writer_flush(chat->shards[i].log_writer);
}

static bool log_writers_are_idle(const struct chat *chat)
{
    for (size_t i = 0; i < chat->shard_count; i++)
        if (!log_writer_is_idle(chat->shards[i].log_writer))
            return false;
    return true;
}

static void handle_taken(struct chat *chat, int64_t until_us)
{
    struct message *message;

    while ((message = chat->taken) != NULL && clock_monotonic_us() < until_us) {
        chat->taken = message->next;
        if (!chat->taken)
            chat->taken_last = &chat->taken;
        chat->taken_count--;
        on_message(chat, message);
        message_free(message);
    }
    flush_log_writers(chat);
    join_step_touched(chat);
}

/* In a flood what clients say would keep the loop for itself; what comes from Redis, for all viewers, goes first. */
static void on_taken(evutil_socket_t fd, short what, void *context)
{
    static const struct timeval next_turn = {0, 0};
    struct chat *chat = context;

    handle_taken(chat, clock_monotonic_us() + TURN_US);
    if (chat->taken)
        evtimer_add(chat->taken_event, &next_turn);
}

/* What is taken now is handled in the loop's next turn, behind what Redis has sent up to then: whoever was told that a
 * setting is saved and then writes a comment, finds it decorated so. */
static void on_inbox(evutil_socket_t fd, short what, void *context)
{
    static const struct timeval next_turn = {0, 0};
    struct chat *chat = context;
    eventfd_t count;

    if (eventfd_read(fd, &count) != 0)
        return;
    take_inbox(chat);
    evtimer_add(chat->taken_event, &next_turn);
}

static void wake(void *context)
{
    eventfd_write(((struct chat *)context)->inbox_fd, 1);
}

/* --- what Redis says --- */

static void on_chat_redis_up(void *context)
{
    join_restate(context);
    join_step_touched(context);
}

static void on_state_resubscribed(bool first, void *context)
{
    settings_on_resubscribed(context);
    state_on_resubscribed(context);
}

static void on_chat_resubscribed(bool first, void *context)
{
    sync_on_resubscribed(context);
}

static void on_both_resubscribed(bool first, void *context)
{
    on_state_resubscribed(first, context);
    on_chat_resubscribed(first, context);
}

static void on_published(const char *channel, const char *message, size_t len_bytes, void *context)
{
    fanout_on_message(context, channel, message, len_bytes);
}

/* --- the clock --- */

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct chat *chat = context;
    int64_t now_ms = clock_monotonic_ms();

    sync_retry(chat, now_ms);
    settings_tick(chat, now_ms);
    settings_sweeper_tick(chat->settings_sweeper, now_ms);
    presence_tick(chat, now_ms);
    reaper_tick(chat, now_ms);
    if (now_ms >= chat->second_due_ms) {
        chat->second_due_ms = now_ms + 1000;
        join_tick(chat);
        metric_set(chat->metrics.queue_bytes, (double)atomic_load(&chat->queued_bytes));
    }
    if (now_ms >= chat->sweep_due_ms) {
        chat->sweep_due_ms = now_ms + SENDERS_SWEEP;
        senders_sweep(chat);
    }
    join_step_touched(chat);
    flush_log_writers(chat);
    audience_log_tick(chat, now_ms);
    if (chat->is_draining && chat->workers_quiet == chat->worker_count && table_count(chat->broadcasts) == 0 &&
        log_writers_are_idle(chat) && audience_log_is_idle(chat))
        service_drained(chat->service);
}

/* --- start and end --- */

static void make_metrics(struct chat *chat)
{
    static const double seconds[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10};
    struct metrics *all = service_metrics(chat->service);
    struct chat_metrics *m = &chat->metrics;

    m->connections = metrics_gauge(all, "hanabi_chat_connections", "open websockets", NULL);
    m->rooms = metrics_gauge(all, "hanabi_chat_rooms", "rooms with a viewer here", NULL);
    m->broadcasts = metrics_gauge(all, "hanabi_chat_broadcasts", "broadcasts with a viewer here", NULL);
    m->offered = metrics_counter(all, "hanabi_chat_offered_total", "messages that clients sent", NULL);
    m->accepted = metrics_counter(all, "hanabi_chat_accepted_total", "events that stand in the log", NULL);
    m->delivered = metrics_counter(all, "hanabi_chat_delivered_total", "events handed to viewers", NULL);
    m->thinned = metrics_counter(all, "hanabi_chat_thinned_total", "comments beyond a room's budget", NULL);
    m->skipped = metrics_counter(all, "hanabi_chat_skipped_total", "frames or events that somebody slow lost", NULL);
    m->shed = metrics_counter(all, "hanabi_chat_shed_total", "comments refused after waiting too long", NULL);
    m->slow_closed = metrics_counter(all, "hanabi_chat_slow_closed_total", "viewers closed who took nothing", NULL);
    m->refused_full = metrics_counter(all, "hanabi_chat_refused_total", "connections refused: full", NULL);
    m->queue_bytes = metrics_gauge(all, "hanabi_chat_queue_bytes", "frames in rings and private queues", NULL);
    m->delivery_seconds = metrics_histogram(all, "hanabi_chat_delivery_seconds", "from the log to the frame", NULL,
                                            seconds, sizeof(seconds) / sizeof(seconds[0]));
    m->append_seconds = metrics_histogram(all, "hanabi_chat_append_seconds", "a call that appends to logs", NULL,
                                          seconds, sizeof(seconds) / sizeof(seconds[0]));
    m->setting_version = metrics_gauge(all, "hanabi_chat_setting_version", "settings known up to", NULL);
    m->setting_lag = metrics_gauge(all, "hanabi_chat_setting_lag", "versions heard of and not known yet", NULL);
    m->setting_gaps = metrics_counter(all, "hanabi_chat_setting_gaps_total", "gaps in the versions", NULL);
    m->settings = metrics_gauge(all, "hanabi_chat_settings", "settings in memory", NULL);
    m->reaped = metrics_counter(all, "hanabi_chat_reaped_total", "dead processes whose places were given back", NULL);
    m->resynced = metrics_counter(all, "hanabi_chat_recovered_total", "events read after a lost subscription", NULL);
}

static bool shards_are_up(void *context, char *why, size_t why_size)
{
    struct chat *chat = context;

    for (size_t i = 0; i < chat->shard_count; i++)
        if (!redis_link_ready(chat->shards[i].redis, why, why_size))
            return false;
    return true;
}

static bool shards_are_heard(void *context, char *why, size_t why_size)
{
    struct chat *chat = context;

    for (size_t i = 0; i < chat->shard_count; i++)
        if (!subscriber_ready(chat->shards[i].subscriber, why, why_size))
            return false;
    return true;
}

static void open_shards(struct chat *chat, const char *urls, struct redis_link_options link,
                        struct subscriber_options subscriber)
{
    struct event_base *loop = service_loop(chat->service);
    char url[REDIS_SHARD_URL_SIZE], name[32] = "chat";

    link.name = name;
    link.on_up = on_chat_redis_up;
    while (redis_shards_next_url(&urls, url)) {
        struct chat_shard *shard = &chat->shards[chat->shard_count];

        if (chat->shard_count > 0) {
            snprintf(name, sizeof(name), "chat-%zu", chat->shard_count);
            subscriber.metrics = NULL; /* the series are those of the first */
        }
        shard->redis = redis_link_create(loop, url, &link);
        shard->subscriber = subscriber_create(loop, url, &subscriber);
        shard->log_writer = log_writer_create(chat, shard->redis);
        chat->shard_count++;
    }
    service_add_dependency(chat->service, "redis", shards_are_up, chat);
    service_add_dependency(chat->service, "subscription", shards_are_heard, chat);
}

static int connect_redis(struct chat *chat)
{
    const struct chat_config *config = &chat->config;
    bool is_same = !config->chat_redis_url[0];
    const char *chat_urls = is_same ? config->redis_url : config->chat_redis_url;
    struct redis_link_options link = {.metrics = service_metrics(chat->service), .context = chat};
    struct subscriber_options subscriber = {.ping_channel = chat->ping_channel,
                                            .metrics = service_metrics(chat->service),
                                            .on_message = on_published,
                                            .context = chat};
    char why[200];

    if (redis_link_check_url(config->redis_url, why, sizeof(why)) != 0 ||
        redis_shards_check(chat_urls, why, sizeof(why)) != 0) {
        log_error("service.bad_url", log_str("what", "HANABI_REDIS_URL or HANABI_CHAT_REDIS_URL"), log_str("why", why));
        return -1;
    }
    snprintf(chat->ping_channel, sizeof(chat->ping_channel), CHANNEL_PING "%s", service_instance(chat->service));
    subscriber.on_resubscribed = is_same ? on_both_resubscribed : on_chat_resubscribed;
    open_shards(chat, chat_urls, link, subscriber);
    chat->state_redis = chat->shards[0].redis;
    chat->state_subscriber = chat->shards[0].subscriber;
    if (!is_same) {
        link.name = "state";
        subscriber.on_resubscribed = on_state_resubscribed;
        chat->state_redis = redis_link_create(service_loop(chat->service), config->redis_url, &link);
        chat->state_subscriber = subscriber_create(service_loop(chat->service), config->redis_url, &subscriber);
        service_add_dependency(chat->service, "state_redis", redis_link_ready, chat->state_redis);
        service_add_dependency(chat->service, "state_subscription", subscriber_ready, chat->state_subscriber);
    }
    subscriber_add(chat->state_subscriber, CHANNEL_SETTING);
    subscriber_add(chat->state_subscriber, CHANNEL_BROADCAST);
    return 0;
}

/* One descriptor per viewer: as many as the system lets us have, and no more viewers than that; some are left for those
 * who are told that it is full. */
static void raise_file_limit(struct chat *chat)
{
    struct rlimit limit;
    int64_t possible;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    possible = limit.rlim_max > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_max - (int64_t)limit.rlim_max / 20 - 100;
    if (chat->config.max_connections <= possible)
        return;
    log_warn("chat.few_descriptors", log_int("limit", (int64_t)limit.rlim_max),
             log_int("max_connections", chat->config.max_connections), log_int("connections", possible));
    chat->config.max_connections = possible;
}

static int start_workers(struct chat *chat)
{
    uint16_t port = chat->config.listen.port;

    for (unsigned i = 0; i < (unsigned)chat->config.workers; i++) {
        chat->workers[i] = worker_create(chat, i, &port);
        if (!chat->workers[i]) {
            log_error("chat.listen_failed", log_str("host", chat->config.listen.host), log_int("port", port),
                      log_str("why", strerror(errno)));
            return -1;
        }
        chat->worker_count++;
    }
    log_info("chat.listening", log_str("host", chat->config.listen.host), log_int("port", port),
             log_int("workers", chat->config.workers));
    return 0;
}

static int start(struct service *service, void *state)
{
    struct chat *chat = state;
    struct db_options db = {.workers = 2, .metrics = service_metrics(service)};
    const struct timeval tick = {0, TICK_MS * 1000};

    chat->service = service;
    chat->broadcasts = table_create();
    chat->senders = table_create();
    chat->taken_last = &chat->taken;
    chat->inbox_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    message_queue_init(&chat->inbox, wake, chat);
    make_metrics(chat);
    raise_file_limit(chat);
    chat->audience_log = audience_log_create(chat);
    chat->settings = settings_create(chat);
    chat->settings_sweeper = settings_sweeper_create(chat);
    chat->db = db_create(service_loop(service), chat->config.mysql_url, &db);
    if (!chat->db) {
        log_error("service.bad_url", log_str("what", "HANABI_MYSQL_URL"));
        return -1;
    }
    service_add_dependency(service, "settings", settings_ready, chat->settings);
    if (connect_redis(chat) != 0)
        return -1;
    chat->inbox_event = event_new(service_loop(service), chat->inbox_fd, EV_READ | EV_PERSIST, on_inbox, chat);
    event_add(chat->inbox_event, NULL);
    chat->taken_event = evtimer_new(service_loop(service), on_taken, chat);
    chat->tick_event = event_new(service_loop(service), -1, EV_PERSIST, on_tick, chat);
    event_add(chat->tick_event, &tick);
    return start_workers(chat);
}

static void push_to_workers(struct chat *chat, enum message_type type, int code)
{
    for (size_t i = 0; i < chat->worker_count; i++) {
        struct message *message = message_create(type, NULL);

        message->code = code;
        message_queue_push(&chat->workers[i]->queue, message);
    }
}

static void drain(struct service *service, void *state)
{
    struct chat *chat = state;

    chat->is_draining = true;
    push_to_workers(chat, MESSAGE_DRAIN, (int)chat->config.drain_spread_ms);
}

/* Workers first: what they still say stays in the inbox, and closing the links calls back with every comment that was
 * under way. Connections are freed by whoever holds the last word on them. */
static void stop(struct service *service, void *state)
{
    struct chat *chat = state;

    chat->is_stopping = true;
    push_to_workers(chat, MESSAGE_QUIT, 0);
    for (size_t i = 0; i < chat->worker_count; i++)
        worker_join(chat->workers[i]);
    if (chat->shard_count > 0) {
        take_inbox(chat);
        handle_taken(chat, INT64_MAX);
    }
    if (chat->db)
        db_destroy(chat->db);
    if (chat->state_subscriber != chat->shards[0].subscriber)
        subscriber_destroy(chat->state_subscriber);
    if (chat->state_redis != chat->shards[0].redis)
        redis_link_destroy(chat->state_redis);
    for (size_t i = 0; i < chat->shard_count; i++) {
        subscriber_destroy(chat->shards[i].subscriber);
        redis_link_destroy(chat->shards[i].redis);
        log_writer_destroy(chat->shards[i].log_writer);
    }
    audience_log_destroy(chat->audience_log);
    settings_sweeper_destroy(chat->settings_sweeper);
    settings_destroy(chat->settings);
    table_destroy(chat->broadcasts, broadcast_free);
    table_destroy(chat->senders, free);
    for (size_t i = 0; i < chat->worker_count; i++)
        worker_destroy(chat->workers[i]);
    message_queue_clear(&chat->inbox);
    if (chat->inbox_event)
        event_free(chat->inbox_event);
    if (chat->taken_event)
        event_free(chat->taken_event);
    if (chat->tick_event)
        event_free(chat->tick_event);
    close(chat->inbox_fd);
}

int main(int argc, char **argv)
{
    static const struct service_definition definition = {
        .name = "chat",
        .summary = "comments from viewers to viewers, over WebSocket",
        .config_rows = chat_config_rows,
        .config = &chat_state.config,
        .state = &chat_state,
        .start = start,
        .drain = drain,
        .stop = stop,
    };

    return service_main(&definition, argc, argv);
}
