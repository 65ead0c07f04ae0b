/* See state_feed.h.
 *
 * The snapshot walks KEY_BROADCASTS by score (the time of the last change). An id that changes meanwhile moves to the
 * end, never to a place already passed; so the walk misses nothing, and what it sees twice the version sorts out. */
#include "services/burst-status/state_feed.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define PAGE           500
#define RETRY_MIN_MS   100
#define RETRY_MAX_MS   2000
#define EXPIRE_EVERY_S 60

struct state_feed {
    struct status_table *table;
    struct redis_link *link;
    struct subscriber *subscriber;
    struct event *retry, *expire;
    struct backoff backoff;
    struct metric *by_state[BROADCAST_ARCHIVED + 1];
    struct metric *entries, *snapshots, *snapshot_failures, *full;
    struct log_limiter full_limiter;

    bool knows_all;    /* a snapshot has been complete */
    bool is_due;       /* events may have been missed since the last snapshot began */
    bool is_running;   /* a snapshot is under way */
    bool has_failed;   /* one of its commands has */
    bool is_destroyed; /* late callbacks of the link do nothing */
    size_t waiting;    /* answers of the page still to come */
    size_t page_len;
    char page_until[32]; /* score of the page's last id, where the next page begins */
    size_t page_skip;    /* ids of that same score that have been seen */
};

/* One id of a page, until its hash has been read. */
struct snapshot_row {
    struct state_feed *feed;
    int64_t changed_at_ms;
    char id[ID_SIZE];
};

static void read_page(struct state_feed *feed);

static void show_counts(struct state_feed *feed)
{
    metric_set(feed->entries, (double)status_table_count(feed->table));
    for (enum broadcast_state state = BROADCAST_SCHEDULED; state <= BROADCAST_ARCHIVED; state++)
        metric_set(feed->by_state[state], (double)status_table_count_state(feed->table, state));
}

static void put(struct state_feed *feed, const char *id, enum broadcast_state state, int64_t version, int64_t age_ms)
{
    int64_t since_ms = clock_monotonic_ms() - (age_ms > 0 ? age_ms : 0);

    if (status_table_update(feed->table, id, state, version, since_ms) == STATUS_FULL) {
        metric_add(feed->full, 1);
        log_limited(&feed->full_limiter, LOG_LEVEL_ERROR, "broadcast.refused", log_str("broadcast", id),
                    log_str("reason", "HANABI_STATUS_MAX_BROADCASTS reached"));
    }
    show_counts(feed);
}

/* --- the snapshot --- */

static void start_snapshot(struct state_feed *feed)
{
    if (feed->is_running || !feed->is_due || feed->is_destroyed || !redis_link_is_up(feed->link))
        return;
    feed->is_running = true;
    feed->is_due = false;
    feed->has_failed = false;
    strcpy(feed->page_until, "-inf");
    feed->page_skip = 0;
    read_page(feed);
}

static void finish_snapshot(struct state_feed *feed)
{
    feed->is_running = false;
    if (feed->has_failed) {
        int64_t delay_ms = backoff_next_ms(&feed->backoff);
        const struct timeval delay = {(time_t)(delay_ms / 1000), (suseconds_t)(delay_ms % 1000 * 1000)};

        feed->is_due = true;
        metric_add(feed->snapshot_failures, 1);
        evtimer_add(feed->retry, &delay);
        return;
    }
    backoff_reset(&feed->backoff);
    metric_add(feed->snapshots, 1);
    if (!feed->knows_all)
        log_info("states.loaded", log_int("broadcasts", (int64_t)status_table_count(feed->table)));
    feed->knows_all = true;
    start_snapshot(feed); /* one that became due meanwhile */
}

static void on_row(int code, const struct redisReply *reply, void *context)
{
    struct snapshot_row *row = context;
    struct state_feed *feed = row->feed;

    if (code != 0) {
        feed->has_failed = true;
    } else if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str &&
               reply->element[1]->str) {
        enum broadcast_state state = broadcast_state_from_name(reply->element[0]->str);
        if (state != BROADCAST_UNKNOWN)
            put(feed, row->id, state, strtoll(reply->element[1]->str, NULL, 10), clock_wall_ms() - row->changed_at_ms);
    }
    free(row);
    if (--feed->waiting > 0 || feed->is_destroyed)
        return;
    if (feed->has_failed || feed->page_len < PAGE)
        finish_snapshot(feed);
    else
        read_page(feed);
}

/* Asks for the hashes of a page: {id, score, id, score, …}. */
static void read_rows(struct state_feed *feed, const struct redisReply *reply)
{
    size_t count = reply->elements / 2, same = 0;

    for (size_t i = 0; i < count; i++) {
        const char *id = reply->element[2 * i]->str, *score = reply->element[2 * i + 1]->str;
        char key[KEY_MAX];

        same = strcmp(score, reply->element[2 * (count - 1) + 1]->str) == 0 ? same + 1 : 0;
        if (!id_is_valid(id))
            continue;
        struct snapshot_row *row = alloc_zero(1, sizeof(*row));
        row->feed = feed;
        row->changed_at_ms = strtoll(score, NULL, 10);
        strcpy(row->id, id);
        feed->waiting++;
        redis_link_commandf(feed->link, on_row, row, "HMGET %s state version", key_of(key, KEY_BROADCAST, id));
    }
    /* The next page begins at the last score of this one, behind the ids of it that have been seen. */
    const char *last = reply->element[2 * (count - 1) + 1]->str;
    feed->page_skip = strcmp(last, feed->page_until) == 0 ? feed->page_skip + count : same;
    snprintf(feed->page_until, sizeof(feed->page_until), "%s", last);
}

static void on_page(int code, const struct redisReply *reply, void *context)
{
    struct state_feed *feed = context;

    if (feed->is_destroyed)
        return;
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY) {
        feed->has_failed = true;
        finish_snapshot(feed);
        return;
    }
    feed->page_len = reply->elements / 2;
    if (feed->page_len == 0) {
        finish_snapshot(feed);
        return;
    }
    feed->waiting = 1; /* this function's own, so that callbacks inside the loop do not end the page */
    read_rows(feed, reply);
    if (--feed->waiting == 0) {
        if (feed->has_failed || feed->page_len < PAGE)
            finish_snapshot(feed);
        else
            read_page(feed);
    }
}

static void read_page(struct state_feed *feed)
{
    redis_link_commandf(feed->link, on_page, feed, "ZRANGEBYSCORE %s %s +inf WITHSCORES LIMIT %lld %lld",
                        KEY_BROADCASTS, feed->page_until, (long long)feed->page_skip, (long long)PAGE);
}

/* --- events --- */

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct state_feed *feed = context;
    struct broadcast_state_event event;

    if (strcmp(channel, CHANNEL_BROADCAST) != 0 || broadcast_state_event_parse(message, len_bytes, &event) != 0)
        return;
    put(feed, event.id, event.state, event.version, 0);
}

static void on_resubscribed(bool first, void *context)
{
    struct state_feed *feed = context;

    feed->is_due = true;
    start_snapshot(feed);
}

static void on_up(void *context)
{
    start_snapshot(context);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    start_snapshot(context);
}

static void on_expire(evutil_socket_t fd, short what, void *context)
{
    struct state_feed *feed = context;

    status_table_expire(feed->table, clock_monotonic_ms());
    show_counts(feed);
}

/* --- life --- */

static void make_metrics(struct state_feed *feed, struct metrics *metrics)
{
    for (enum broadcast_state state = BROADCAST_SCHEDULED; state <= BROADCAST_ARCHIVED; state++) {
        char labels[40];

        snprintf(labels, sizeof(labels), "state=\"%s\"", broadcast_state_name(state));
        feed->by_state[state] =
            metrics_gauge(metrics, "hanabi_status_states", "broadcasts in memory, by state", labels);
    }
    feed->entries = metrics_gauge(metrics, "hanabi_status_broadcasts", "broadcasts in memory", NULL);
    feed->snapshots = metrics_counter(metrics, "hanabi_status_snapshots_total", "complete reads of all states", NULL);
    feed->snapshot_failures =
        metrics_counter(metrics, "hanabi_status_snapshot_failures_total", "reads of all states that broke off", NULL);
    feed->full = metrics_counter(metrics, "hanabi_status_refused_broadcasts_total",
                                 "broadcasts not taken in because memory is full", NULL);
}

struct state_feed *state_feed_create(struct event_base *loop, const char *redis_url, const char *instance,
                                     struct status_table *table, struct metrics *metrics)
{
    struct state_feed *feed = alloc_zero(1, sizeof(*feed));
    const struct redis_link_options link_options = {
        .name = "state", .metrics = metrics, .on_up = on_up, .context = feed};
    char ping[KEY_MAX];
    const struct subscriber_options subscriber_options = {.ping_channel = key_of(ping, CHANNEL_PING, instance),
                                                          .metrics = metrics,
                                                          .on_resubscribed = on_resubscribed,
                                                          .on_message = on_message,
                                                          .context = feed};
    const struct timeval expire_every = {EXPIRE_EVERY_S, 0};

    feed->table = table;
    feed->is_due = true;
    feed->full_limiter = LOG_LIMITER(10000);
    backoff_init(&feed->backoff, RETRY_MIN_MS, RETRY_MAX_MS);
    make_metrics(feed, metrics);
    feed->retry = evtimer_new(loop, on_retry, feed);
    feed->expire = event_new(loop, -1, EV_PERSIST, on_expire, feed);
    event_add(feed->expire, &expire_every);
    feed->link = redis_link_create(loop, redis_url, &link_options);
    feed->subscriber = feed->link ? subscriber_create(loop, redis_url, &subscriber_options) : NULL;
    if (!feed->subscriber) {
        state_feed_destroy(feed);
        return NULL;
    }
    subscriber_add(feed->subscriber, CHANNEL_BROADCAST);
    return feed;
}

void state_feed_destroy(struct state_feed *feed)
{
    if (!feed)
        return;
    feed->is_destroyed = true;
    if (feed->subscriber)
        subscriber_destroy(feed->subscriber);
    if (feed->link)
        redis_link_destroy(feed->link);
    event_free(feed->retry);
    event_free(feed->expire);
    free(feed);
}

bool state_feed_knows_all(const struct state_feed *feed)
{
    return feed->knows_all;
}

bool state_feed_ready(void *context, char *why, size_t why_size)
{
    struct state_feed *feed = context;

    if (!subscriber_ready(feed->subscriber, why, why_size))
        return false;
    if (feed->knows_all && !feed->is_due && !feed->is_running)
        return true;
    snprintf(why, why_size, "%s", feed->is_running ? "reading all states" : "waiting to read all states");
    return false;
}
