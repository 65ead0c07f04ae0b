/* Lines are gathered in batches; one call of Redis is under way at a time, every HANABI_CHAT_AUDIENCE_LOG_MS one, more
 * only while whole batches wait. A batch has a number and keeps it until Redis has it, so that saying it again is
 * harmless. What finds the memory here full, because Redis is away or archive does not export, is lost and counted. */
#include "audience_log.h"
#include "chat.h"
#include "connection.h"
#include "room.h"

#include "libcommon/alloc.h"
#include "libcommon/buffer.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/random_id.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#define BATCH_LINES 500
#define BATCH_BYTES 49152
#define LINE_BYTES  2048 /* more than a line can have */

struct batch {
    struct batch *next;
    size_t lines;
    struct buffer text;
};

struct audience_log {
    struct chat *chat;
    char writer[RANDOM_ID_SIZE];
    struct batch *first, *last; /* the first is the one that is said next, or now */
    size_t lines, batches;
    int64_t number; /* of the first */
    uint64_t next_session;
    int64_t due_ms;
    bool is_in_flight;
    struct metric *logged, *dropped, *waiting;
    struct log_limiter limiter;
};

static void drop_first(struct audience_log *log)
{
    struct batch *batch = log->first;

    log->first = batch->next;
    if (!log->first)
        log->last = NULL;
    log->lines -= batch->lines;
    log->batches--;
    buffer_clear(&batch->text);
    free(batch);
}

static struct batch *room_for(struct audience_log *log, size_t len)
{
    struct batch *batch = log->last;
    bool is_open = batch && !(log->is_in_flight && batch == log->first);

    if (is_open && batch->lines < BATCH_LINES && batch->text.len + len <= BATCH_BYTES)
        return batch;
    batch = alloc_zero(1, sizeof(*batch));
    buffer_init(&batch->text, BATCH_BYTES);
    if (log->last)
        log->last->next = batch;
    else
        log->first = batch;
    log->last = batch;
    log->batches++;
    return batch;
}

/* Takes `line`. */
static void add(struct audience_log *log, json_t *line)
{
    char text[LINE_BYTES];
    size_t len = json_dumpb(line, text, sizeof(text) - 1, JSON_COMPACT);

    json_decref(line);
    if (len == 0 || len >= sizeof(text) || log->lines >= (size_t)log->chat->config.audience_log_pending) {
        metric_add(log->dropped, 1);
        return;
    }
    text[len++] = '\n';
    struct batch *batch = room_for(log, len);
    if (buffer_append(&batch->text, text, len) != 0)
        abort();
    batch->lines++;
    log->lines++;
    metric_set(log->waiting, (double)log->lines);
}

/* --- to Redis --- */

static void say_first(struct audience_log *log);

static void on_said(int code, const struct redisReply *reply, void *context)
{
    struct audience_log *log = context;
    bool is_full = code == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0;

    log->is_in_flight = false;
    if (code != 0 || is_full) {
        log_limited(&log->limiter, LOG_LEVEL_WARN, "audience.not_logged",
                    log_str("why", is_full ? "too much waits to be exported" : redis_link_strerror(code)));
        /* A process that is to end does not wait until somebody exports. */
        while (is_full && log->chat->is_draining && log->first) {
            metric_add(log->dropped, (double)log->first->lines);
            drop_first(log);
        }
        return;
    }
    metric_add(log->logged, (double)log->first->lines);
    drop_first(log);
    log->number++;
    metric_set(log->waiting, (double)log->lines);
    if (log->batches > 1 || (log->chat->is_draining && log->first))
        say_first(log);
}

static void say_first(struct audience_log *log)
{
    char number[24], most[24];
    const struct buffer *text = &log->first->text;

    snprintf(number, sizeof(number), "%lld", (long long)log->number);
    snprintf(most, sizeof(most), "%lld", (long long)log->chat->config.audience_log_mb << 20);
    log->is_in_flight = true;
    redis_link_script(log->chat->state_redis, &script_audience_log, on_said, log, 4,
                      (const char *[]){log->writer, number, most, (const char *)text->data},
                      (const size_t[]){strlen(log->writer), strlen(number), strlen(most), text->len});
}

void audience_log_tick(struct chat *chat, int64_t now_ms)
{
    struct audience_log *log = chat->audience_log;

    if (!log || !log->first || log->is_in_flight || (now_ms < log->due_ms && !chat->is_draining) ||
        !redis_link_is_up(chat->state_redis))
        return;
    log->due_ms = now_ms + chat->config.audience_log_ms;
    say_first(log);
}

bool audience_log_is_idle(const struct chat *chat)
{
    return !chat->audience_log || !chat->audience_log->first || !redis_link_is_up(chat->state_redis);
}

/* --- what happens --- */

static json_t *line_of(const struct audience_log *log, const char *type, const struct connection *connection)
{
    char session[RANDOM_ID_SIZE + 24];
    json_t *line;

    snprintf(session, sizeof(session), "%s-%llu", log->writer, (unsigned long long)connection->session);
    line = json_pack("{s:s,s:s,s:I,s:s,s:s,s:s?,s:s,s:i}", "broadcast", connection->broadcast_id, "type", type, "at_ms",
                     (json_int_t)clock_wall_ms(), "session", session, "instance", service_instance(log->chat->service),
                     "user", connection->user_id[0] ? connection->user_id : NULL, "role",
                     chat_role_name(connection->role), "room", connection->room->number);
    if (!line)
        abort();
    return line;
}

void audience_log_join(struct chat *chat, struct connection *connection)
{
    struct audience_log *log = chat->audience_log;

    if (!log)
        return;
    connection->session = ++log->next_session;
    connection->joined_ms = clock_monotonic_ms();
    add(log, line_of(log, "join", connection));
}

void audience_log_leave(struct chat *chat, const struct connection *connection)
{
    struct audience_log *log = chat->audience_log;
    json_t *line;

    if (!log)
        return;
    line = line_of(log, "leave", connection);
    json_object_set_new(line, "stayed_ms", json_integer(clock_monotonic_ms() - connection->joined_ms));
    add(log, line);
}

void audience_log_gone(struct chat *chat, const char *instance)
{
    if (chat->audience_log)
        add(chat->audience_log, json_pack("{s:s,s:I,s:s}", "type", "process_gone", "at_ms", (json_int_t)clock_wall_ms(),
                                          "instance", instance));
}

/* --- life --- */

struct audience_log *audience_log_create(struct chat *chat)
{
    struct metrics *metrics = service_metrics(chat->service);
    struct audience_log *log;

    if (!chat->config.is_exporting)
        return NULL;
    log = alloc_zero(1, sizeof(*log));
    log->chat = chat;
    log->number = 1;
    random_id(log->writer);
    log->limiter = LOG_LIMITER(10000);
    log->logged = metrics_counter(metrics, "hanabi_chat_audience_logged_total", "joins and leaves said to Redis", NULL);
    log->dropped = metrics_counter(metrics, "hanabi_chat_audience_dropped_total",
                                   "joins and leaves lost: Redis away, or nobody exports", NULL);
    log->waiting = metrics_gauge(metrics, "hanabi_chat_audience_waiting", "joins and leaves not yet in Redis", NULL);
    add(log, json_pack("{s:s,s:I,s:s}", "type", "process_start", "at_ms", (json_int_t)clock_wall_ms(), "instance",
                       service_instance(chat->service)));
    return log;
}

void audience_log_destroy(struct audience_log *log)
{
    if (!log)
        return;
    while (log->first)
        drop_first(log);
    free(log);
}
