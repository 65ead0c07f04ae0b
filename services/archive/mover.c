/* One log per broadcast: lease -> where it stands -> read a batch -> write it -> say so (fenced) -> next batch, or
 * done. What was written and not said to be (a crash in between) is written again and ignored, since the entry's id is
 * the row's key. */
#include "archive.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/lease.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define LOOK_EVERY_MS 250
#define RETRY_MS      500
#define MAX_LOGS      200 /* under way at once */

struct log_move {
    LIST_ENTRY(log_move) link;
    struct mover *mover;
    char id[ID_SIZE];
    struct lease *lease;
    struct event *retry;
    char moved[CHAT_EVENT_ID_SIZE]; /* up to and including this entry */
    int64_t oldest_ms;              /* when the first entry that is read and not written was said; 0: none */
    bool lost;                      /* the lease is gone: stop at the next step */
};

/* A batch on its way to MySQL. */
struct batch {
    struct log_move *move;
    char broadcast[ID_SIZE];
    char last[CHAT_EVENT_ID_SIZE];
    size_t count;
    int code;
    struct comment_row rows[];
};

struct mover {
    struct archive *archive;
    struct redis_link *redis;
    struct event *look_timer;
    LIST_HEAD(, log_move) moves;
    size_t count;
    bool draining;
    struct metric *moved, *batches, *failures, *oldest;
    struct log_limiter limiter;
};

static void read_batch(struct log_move *move);

static void arm(struct event *timer, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(timer, &delay);
}

static void finish(struct log_move *move)
{
    struct mover *mover = move->mover;

    LIST_REMOVE(move, link);
    mover->count--;
    event_free(move->retry);
    lease_release(move->lease);
    free(move);
}

/* Between steps nothing of ours is under way, so this is where a lost lease or a drain ends it. */
static bool ends_here(struct log_move *move)
{
    if (!move->lost && !move->mover->draining)
        return false;
    finish(move);
    return true;
}

static void retry_later(struct log_move *move, const char *what, const char *why)
{
    metric_add(move->mover->failures, 1);
    log_limited(&move->mover->limiter, LOG_LEVEL_WARN, "comments.not_moved", log_str("broadcast", move->id),
                log_str("what", what), log_str("why", why));
    if (!ends_here(move))
        arm(move->retry, RETRY_MS);
}

/* --- saying so --- */

static void on_said(int code, const redisReply *reply, void *context)
{
    struct log_move *move = context;

    if (code != 0 || reply->type != REDIS_REPLY_STRING)
        retry_later(move, "confirming", redis_link_strerror(code));
    else if (strcmp(reply->str, "more") != 0)
        finish(move); /* drained, or fenced */
    else if (!ends_here(move))
        read_batch(move);
}

static void say_moved(struct log_move *move)
{
    const struct archive_config *config = &move->mover->archive->config;
    char entries[24], tail[24];

    snprintf(entries, sizeof(entries), "%lld", (long long)config->tail_entries);
    snprintf(tail, sizeof(tail), "%lld", (long long)config->tail_ms);
    redis_link_script(move->mover->redis, &script_comments_moved, on_said, move, 5,
                      (const char *[]){move->id, lease_token(move->lease), move->moved, entries, tail}, NULL);
}

/* --- writing --- */

static void batch_free(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        comment_row_clear(&batch->rows[i]);
    free(batch);
}

static void run(struct db_connection *connection, void *context)
{
    struct batch *batch = context;

    batch->code = comment_rows_write(connection, batch->broadcast, batch->rows, batch->count);
}

static void done(int code, void *context)
{
    struct batch *batch = context;
    struct log_move *move = batch->move;

    code = code != 0 ? code : batch->code;
    if (code == 0) {
        metric_add(move->mover->moved, (double)batch->count);
        metric_add(move->mover->batches, 1);
        memcpy(move->moved, batch->last, sizeof(move->moved));
        move->oldest_ms = 0;
    }
    batch_free(batch);
    if (code != 0)
        retry_later(move, "writing", db_strerror(code));
    else if (!ends_here(move))
        say_moved(move);
}

/* --- reading --- */

static const char *field_of(const redisReply *fields, const char *name, size_t *len)
{
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (strcmp(fields->element[i]->str, name) == 0) {
            *len = fields->element[i + 1]->len;
            return fields->element[i + 1]->str;
        }
    }
    return NULL;
}

static void take_entry(struct batch *batch, const redisReply *entry)
{
    size_t room_len, len;
    const char *room = field_of(entry->element[1], "r", &room_len), *e = field_of(entry->element[1], "e", &len);

    snprintf(batch->last, sizeof(batch->last), "%s", entry->element[0]->str);
    if (room && e && comment_row_parse(entry->element[0]->str, room, e, len, &batch->rows[batch->count]) == 0)
        batch->count++;
    else
        log_limited(&batch->move->mover->limiter, LOG_LEVEL_WARN, "log.odd_entry",
                    log_str("broadcast", batch->broadcast), log_str("id", entry->element[0]->str));
}

static void on_entries(int code, const redisReply *reply, void *context)
{
    struct log_move *move = context;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY) {
        retry_later(move, "reading", redis_link_strerror(code));
        return;
    }
    if (ends_here(move))
        return;
    if (reply->elements == 0) {
        say_moved(move); /* nothing new: the script looks once more and lets go */
        return;
    }
    move->oldest_ms = atoll(reply->element[0]->element[0]->str);
    struct batch *batch = alloc_zero(1, sizeof(*batch) + reply->elements * sizeof(batch->rows[0]));
    batch->move = move;
    memcpy(batch->broadcast, move->id, sizeof(batch->broadcast));
    for (size_t i = 0; i < reply->elements; i++)
        take_entry(batch, reply->element[i]);
    if (archive_submit(move->mover->archive, run, done, batch) == 0)
        return;
    batch_free(batch);
    retry_later(move, "writing", db_strerror(DB_FULL));
}

static void read_batch(struct log_move *move)
{
    char key[KEY_MAX], from[CHAT_EVENT_ID_SIZE + 1], count[24];

    snprintf(from, sizeof(from), "(%s", move->moved);
    snprintf(count, sizeof(count), "%lld", (long long)move->mover->archive->config.batch);
    /* Settled: an entry that a failover takes back will be said again, under another id. */
    redis_link_command_settled(
        move->mover->redis, on_entries, move, 6,
        (const char *[]){"XRANGE", key_of(key, KEY_CHAT_LOG, move->id), from, "+", "COUNT", count}, NULL);
}

/* --- beginning --- */

static void on_where(int code, const redisReply *reply, void *context)
{
    struct log_move *move = context;
    struct chat_event_id id;

    if (code != 0) {
        retry_later(move, "asking", redis_link_strerror(code));
        return;
    }
    bool is_known = reply->type == REDIS_REPLY_STRING && reply->len < sizeof(move->moved) &&
                    chat_event_id_parse(reply->str, &id) == 0;
    snprintf(move->moved, sizeof(move->moved), "%s", is_known ? reply->str : "0-0");
    if (!ends_here(move))
        read_batch(move);
}

static void ask_where(struct log_move *move)
{
    char key[KEY_MAX];

    /* A drained log expires some day; this one has something new, which waits for as long as MySQL is away. */
    redis_link_command(move->mover->redis, NULL, NULL, 2,
                       (const char *[]){"PERSIST", key_of(key, KEY_CHAT_LOG, move->id)}, NULL);
    redis_link_command(move->mover->redis, on_where, move, 2,
                       (const char *[]){"GET", key_of(key, KEY_CHAT_MOVED, move->id)}, NULL);
}

static void on_retry(evutil_socket_t fd, short events, void *context)
{
    struct log_move *move = context;

    if (!ends_here(move))
        ask_where(move);
}

static void on_lost(struct lease *lease, void *context)
{
    struct log_move *move = context;

    move->lost = true;
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct log_move *move = context;

    move->lease = lease;
    if (!lease)
        finish(move);
    else if (!ends_here(move))
        ask_where(move);
}

static void begin(struct mover *mover, const char *id)
{
    struct log_move *move = alloc_zero(1, sizeof(*move));
    struct service *service = mover->archive->service;
    char key[KEY_MAX], alive[KEY_MAX];
    const struct lease_options options = {.key = key_of(key, KEY_LEASE_ARCHIVE, id),
                                          .fence_key = KEY_FENCE,
                                          .holder = service_instance(service),
                                          .alive_channel = key_of(alive, CHANNEL_PING, service_instance(service)),
                                          .on_lost = on_lost,
                                          .context = move};

    move->mover = mover;
    snprintf(move->id, sizeof(move->id), "%s", id);
    move->retry = evtimer_new(service_loop(service), on_retry, move);
    if (!move->retry)
        abort();
    LIST_INSERT_HEAD(&mover->moves, move, link);
    mover->count++;
    lease_try_acquire(service_loop(service), mover->redis, &options, on_acquired, move);
}

static bool is_under_way(const struct mover *mover, const char *id)
{
    const struct log_move *move;

    LIST_FOREACH(move, &mover->moves, link)
    {
        if (strcmp(move->id, id) == 0)
            return true;
    }
    return false;
}

/* Of the logs this process has the leases of. It goes on rising while Redis or MySQL is away. */
static void tell_oldest(const struct mover *mover)
{
    const struct log_move *move;
    int64_t now_ms = clock_wall_ms(), oldest_ms = now_ms;

    LIST_FOREACH(move, &mover->moves, link)
    {
        if (move->oldest_ms > 0 && move->oldest_ms < oldest_ms)
            oldest_ms = move->oldest_ms;
    }
    metric_set(mover->oldest, (double)(now_ms - oldest_ms) / 1000);
}

static void on_logs(int code, const redisReply *reply, void *context)
{
    struct mover *mover = context;

    arm(mover->look_timer, LOOK_EVERY_MS);
    tell_oldest(mover);
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || mover->draining)
        return;
    /* Sorted by the time of the last append: busy ones do not crowd out those that wait. */
    for (size_t i = 0; i + 1 < reply->elements && mover->count < MAX_LOGS; i += 2)
        if (id_is_valid(reply->element[i]->str) && !is_under_way(mover, reply->element[i]->str))
            begin(mover, reply->element[i]->str);
}

static void on_look_timer(evutil_socket_t fd, short events, void *context)
{
    struct mover *mover = context;

    redis_link_command(mover->redis, on_logs, mover, 5,
                       (const char *[]){"ZRANGE", KEY_CHAT_MOVING, "0", "500", "WITHSCORES"}, NULL);
}

struct mover *mover_create(struct archive *archive, size_t shard)
{
    struct mover *mover = alloc_zero(1, sizeof(*mover));
    struct metrics *metrics = service_metrics(archive->service);
    char labels[24];

    mover->archive = archive;
    mover->redis = archive->redis.links[shard];
    mover->limiter = LOG_LIMITER(5000);
    mover->moved =
        metrics_counter(metrics, "hanabi_archive_comments_moved_total", "log entries written to MySQL", NULL);
    mover->batches = metrics_counter(metrics, "hanabi_archive_batches_total", "transactions that wrote them", NULL);
    mover->failures = metrics_counter(metrics, "hanabi_archive_failures_total", "steps that are tried again", NULL);
    snprintf(labels, sizeof(labels), "shard=\"%zu\"", shard);
    mover->oldest = metrics_gauge(metrics, "hanabi_archive_oldest_seconds",
                                  "since the oldest entry that is read and not written was said", labels);
    LIST_INIT(&mover->moves);
    mover->look_timer = evtimer_new(service_loop(archive->service), on_look_timer, mover);
    if (!mover->look_timer)
        abort();
    arm(mover->look_timer, 10);
    return mover;
}

/* What waits for a retry ends now; a step under way ends when it comes back, at the latest when its link or database
 * goes. */
void mover_drain(struct mover *mover)
{
    struct log_move *move, *next;

    mover->draining = true;
    for (move = LIST_FIRST(&mover->moves); move; move = next) {
        next = LIST_NEXT(move, link);
        if (evtimer_pending(move->retry, NULL))
            finish(move);
    }
}

bool mover_is_idle(const struct mover *mover)
{
    return mover->count == 0;
}

void mover_destroy(struct mover *mover)
{
    if (!mover)
        return;
    event_free(mover->look_timer);
    free(mover);
}
