/* Group commit: while one call of script_love_add is under way, what comes in gathers; the next call takes it all. An
 * answer is given when, and only when, Redis has counted the batch. A lost answer of Redis is "try again": the batch's
 * id makes that harmless. */
#include "love_counter.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/request_scope.h"
#include "libcommon/service.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define CALLS_AT_ONCE  2 /* one that Redis works on, and one that is on its way */
#define ARGS_IN_FRONT  5
#define ARGS_PER_BATCH 5

/* A batch as the script's arguments: no more memory than it needs, for there may be many. */
struct waiting {
    STAILQ_ENTRY(waiting) link;
    struct http_request *request;
    const char *args[ARGS_PER_BATCH]; /* into `text` */
    char text[];
};
STAILQ_HEAD(waiting_list, waiting);

struct group {
    struct batch_writer *writer;
    struct waiting_list batches; /* in the order of the call */
    size_t count;
};

struct batch_writer {
    struct love_counter *counter;
    struct waiting_list waiting;
    size_t waiting_count;
    int calls;
    struct event *send;            /* after the turn of the loop in which the first of a group came */
    char front[ARGS_IN_FRONT][24]; /* of the script's arguments */
    struct metric *offered, *accepted, *batches, *limited, *too_many, *groups, *pending;
    struct log_limiter limiter;
};

static void reply_limited(struct http_request *request, const char *message, int64_t wait_ms)
{
    char seconds[24];

    snprintf(seconds, sizeof(seconds), "%lld", (long long)(wait_ms / 1000 + 1));
    http_reply_header(request, "Retry-After", seconds);
    http_reply_error(request, 429, "rate_limited", message);
}

static void reply_counted(struct http_request *request, int64_t accepted, int64_t total)
{
    char body[80];
    int len = snprintf(body, sizeof(body), "{\"accepted\":%lld,\"total\":%lld}", (long long)accepted, (long long)total);

    http_reply_bytes(request, 200, "application/json", body, (size_t)len);
}

/* What the script says of one batch. */
struct counted {
    char code[16];
    long long accepted, total, wait_ms;
};

static const char *read_number(const char *at, long long *number)
{
    char *end;

    *number = strtoll(at, &end, 10);
    return end > at && (*end == ' ' || *end == '\0') ? end : NULL;
}

/* The four words at `at`; what is behind them, or NULL. */
static const char *read_counted(const char *at, struct counted *counted)
{
    size_t len;

    at += *at == ' ';
    len = strcspn(at, " ");
    if (len == 0 || len >= sizeof(counted->code))
        return NULL;
    memcpy(counted->code, at, len);
    counted->code[len] = '\0';
    at = read_number(at + len, &counted->accepted);
    at = at ? read_number(at, &counted->total) : NULL;
    return at ? read_number(at, &counted->wait_ms) : NULL;
}

static void answer(struct batch_writer *writer, struct http_request *request, const struct counted *counted)
{
    const char *code = counted->code;

    if (strcmp(code, "ok") == 0) {
        metric_add(writer->accepted, (double)counted->accepted);
        reply_counted(request, counted->accepted, counted->total);
    } else if (strcmp(code, "limited") == 0) {
        metric_add(writer->limited, 1);
        reply_limited(request, "more taps than anybody can tap: none of these counted", counted->wait_ms);
    } else if (strcmp(code, "too_many") == 0) {
        metric_add(writer->too_many, 1);
        reply_limited(request, "too many batches: add taps up and send them together; none of these counted",
                      counted->wait_ms);
    } else if (strcmp(code, "unknown") == 0) {
        http_reply_error(request, 404, "not_found", "there is no broadcast with this id on air");
    } else if (strcmp(code, "not_live") == 0) {
        http_reply_error(request, 409, "not_live", "the broadcast has not begun");
    } else {
        http_reply_error(request, 409, "over", "the broadcast is over");
    }
}

static void send_group(struct batch_writer *writer);

/* In the order of the call. NULL, or an answer that ends early: of the rest it is not known whether they counted. */
static void answer_group(struct batch_writer *writer, struct group *group, const char *text)
{
    struct counted counted;
    struct waiting *each;

    while ((each = STAILQ_FIRST(&group->batches))) {
        STAILQ_REMOVE_HEAD(&group->batches, link);
        text = text ? read_counted(text, &counted) : NULL;
        if (text)
            answer(writer, each->request, &counted);
        else
            love_reply_unavailable(each->request, "hearts");
        free(each);
    }
}

static void on_counted(int code, const redisReply *reply, void *context)
{
    struct group *group = context;
    struct batch_writer *writer = group->writer;
    bool is_good = code == 0 && reply->type == REDIS_REPLY_STRING;

    if (!is_good)
        log_limited(&writer->limiter, LOG_LEVEL_WARN, "loves.not_counted", log_int("batches", (int64_t)group->count),
                    log_str("why", code != 0 ? redis_link_strerror(code) : "an odd answer"));
    answer_group(writer, group, is_good ? reply->str : NULL);
    free(group);
    writer->calls--;
    if (writer->waiting_count > 0)
        send_group(writer);
}

static void send_group(struct batch_writer *writer)
{
    size_t most = (size_t)writer->counter->config.group_max;
    size_t count = writer->waiting_count < most ? writer->waiting_count : most, at = ARGS_IN_FRONT;
    struct group *group = alloc_zero(1, sizeof(*group));
    const char **args = alloc_zero(ARGS_IN_FRONT + count * ARGS_PER_BATCH, sizeof(*args));

    group->writer = writer;
    STAILQ_INIT(&group->batches);
    for (size_t i = 0; i < ARGS_IN_FRONT; i++)
        args[i] = writer->front[i];
    for (; group->count < count; group->count++) {
        struct waiting *each = STAILQ_FIRST(&writer->waiting);

        STAILQ_REMOVE_HEAD(&writer->waiting, link);
        STAILQ_INSERT_TAIL(&group->batches, each, link);
        for (size_t i = 0; i < ARGS_PER_BATCH; i++)
            args[at++] = each->args[i];
    }
    writer->waiting_count -= count;
    metric_set(writer->pending, (double)writer->waiting_count);
    metric_add(writer->groups, 1);
    writer->calls++;
    const char *outer_scope = request_scope_enter(NULL);
    redis_link_script(writer->counter->redis, &script_love_add, on_counted, group, (int)at, args, NULL);
    request_scope_leave(outer_scope);
    free(args);
}

static void on_send(evutil_socket_t fd, short events, void *context)
{
    struct batch_writer *writer = context;

    while (writer->waiting_count > 0 && writer->calls < CALLS_AT_ONCE)
        send_group(writer);
}

static struct waiting *wait_create(struct http_request *request, const struct love_batch *batch)
{
    char count[12];
    const char *const texts[ARGS_PER_BATCH] = {batch->broadcast, batch->user, batch->name, batch->batch_id, count};
    size_t lens[ARGS_PER_BATCH], total = 0;
    struct waiting *each;

    snprintf(count, sizeof(count), "%d", batch->count);
    for (size_t i = 0; i < ARGS_PER_BATCH; i++)
        total += lens[i] = strlen(texts[i]) + 1;
    each = malloc(sizeof(*each) + total);
    if (!each)
        abort();
    each->request = request;
    char *at = each->text;
    for (size_t i = 0; i < ARGS_PER_BATCH; i++) {
        each->args[i] = at;
        at = mempcpy(at, texts[i], lens[i]);
    }
    return each;
}

void batch_writer_add(struct batch_writer *writer, struct http_request *request, const struct love_batch *batch)
{
    struct waiting *each;

    metric_add(writer->batches, 1);
    metric_add(writer->offered, batch->count);
    if (writer->waiting_count >= (size_t)writer->counter->config.group_pending_max) {
        love_reply_unavailable(request, "hearts");
        return;
    }
    each = wait_create(request, batch);
    STAILQ_INSERT_TAIL(&writer->waiting, each, link);
    writer->waiting_count++;
    metric_set(writer->pending, (double)writer->waiting_count);
    if (writer->calls < CALLS_AT_ONCE)
        event_active(writer->send, 0, 0);
}

struct batch_writer *batch_writer_create(struct love_counter *counter)
{
    struct batch_writer *writer = alloc_zero(1, sizeof(*writer));
    struct metrics *metrics = service_metrics(counter->service);
    const struct love_counter_config *config = &counter->config;
    const int64_t front[ARGS_IN_FRONT] = {config->rate_per_s, config->burst, config->batches_per_s,
                                          config->batches_burst, LOVE_WINDOW_S};

    writer->counter = counter;
    writer->limiter = LOG_LIMITER(5000);
    STAILQ_INIT(&writer->waiting);
    for (size_t i = 0; i < ARGS_IN_FRONT; i++)
        snprintf(writer->front[i], sizeof(writer->front[i]), "%lld", (long long)front[i]);
    writer->send = event_new(service_loop(counter->service), -1, 0, on_send, writer);
    if (!writer->send)
        abort();
    writer->offered = metrics_counter(metrics, "hanabi_love_offered_total", "taps that clients sent", NULL);
    writer->accepted = metrics_counter(metrics, "hanabi_love_accepted_total",
                                       "taps acknowledged; one that was sent again counts again here", NULL);
    writer->batches = metrics_counter(metrics, "hanabi_love_batches_total", "batches that clients sent", NULL);
    writer->limited =
        metrics_counter(metrics, "hanabi_love_limited_total", "batches beyond their user's rate of taps", NULL);
    writer->too_many = metrics_counter(metrics, "hanabi_love_too_many_batches_total",
                                       "batches beyond their user's rate of batches", NULL);
    writer->groups =
        metrics_counter(metrics, "hanabi_love_groups_total", "calls that counted a group of batches", NULL);
    writer->pending = metrics_gauge(metrics, "hanabi_love_pending", "batches waiting for Redis", NULL);
    return writer;
}

void batch_writer_destroy(struct batch_writer *writer)
{
    struct waiting *each;

    if (!writer)
        return;
    while ((each = STAILQ_FIRST(&writer->waiting))) {
        STAILQ_REMOVE_HEAD(&writer->waiting, link);
        love_reply_unavailable(each->request, "hearts");
        free(each);
    }
    event_free(writer->send);
    free(writer);
}
