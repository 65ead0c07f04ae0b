#include "notice_waiters.h"

#include "follow_row.h"
#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/service.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS           250
#define MISSED_SPREAD_MS  10000
#define MAX_ANNOUNCEMENTS 100 /* under way; of more, the pages learn when they ask next */
#define USER_BUCKETS      1024
#define FULL_RETRY_MS     15000

struct waiter {
    TAILQ_ENTRY(waiter) entry;
    TAILQ_ENTRY(waiter) of_user; /* in a bucket, the oldest first */
    uint64_t ticket;             /* rises along the list */
    struct http_request *request;
    char user_id[ID_SIZE];
    int64_t since;
    int64_t until_ms;
};

struct notice_waiters {
    struct live_api *api;
    struct event *tick;
    TAILQ_HEAD(waiter_list, waiter) list;
    struct waiter_list users[USER_BUCKETS];
    size_t count, max, max_per_user;
    uint64_t last_ticket;
    uint64_t heard;
    size_t announcements;
    bool is_draining;
    struct metric *waiting, *pushed, *refused, *replaced;
};

/* One announcement on its way through the list: a portion at a time. */
struct announcement {
    struct notice_waiters *waiters;
    struct notice_view notice;
    uint64_t after_ticket;
    uint64_t tickets[FOLLOW_WHICH_MAX];
    char ids[FOLLOW_WHICH_MAX][ID_SIZE];
    bool follows[FOLLOW_WHICH_MAX];
    size_t count;
    int code;
};

static void next_portion(struct announcement *announcement);

/* FNV-1a. Ids are ours, nobody chooses what meets in a bucket. */
static struct waiter_list *bucket_of(struct notice_waiters *waiters, const char *user_id)
{
    uint32_t hash = 2166136261u;

    for (; *user_id; user_id++)
        hash = (hash ^ (uint8_t)*user_id) * 16777619u;
    return &waiters->users[hash % USER_BUCKETS];
}

static void answer(struct notice_waiters *waiters, struct waiter *waiter, const struct notice_view *notice,
                   int64_t retry_after_ms)
{
    TAILQ_REMOVE(&waiters->list, waiter, entry);
    TAILQ_REMOVE(bucket_of(waiters, waiter->user_id), waiter, of_user);
    metric_set(waiters->waiting, (double)--waiters->count);
    /* `latest` stays what it was: an earlier notice may still be on its way here, and the next request finds it. */
    http_reply_json(waiter->request, 200,
                    notice_list_to_json(notice, notice ? 1 : 0, -1, waiter->since, retry_after_ms));
    free(waiter);
}

/* --- an announcement --- */

static void run(struct db_connection *connection, void *context)
{
    struct announcement *announcement = context;
    const char *ids[FOLLOW_WHICH_MAX];
    struct notice_view *notice = &announcement->notice;

    if (notice->sequence == 0)
        announcement->code = notice_row_load(connection, notice->broadcast_id, notice);
    for (size_t i = 0; i < announcement->count; i++)
        ids[i] = announcement->ids[i];
    if (announcement->code == 0)
        announcement->code = follow_row_which(connection, notice->owner_id, notice->at_ms, ids, announcement->count,
                                              announcement->follows);
}

static void finish(struct announcement *announcement)
{
    announcement->waiters->announcements--;
    free(announcement);
}

static void done(int code, void *context)
{
    struct announcement *announcement = context;
    struct notice_waiters *waiters = announcement->waiters;
    struct waiter *waiter = TAILQ_FIRST(&waiters->list), *next;

    if (code != 0 || announcement->code != 0) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "notice.not_pushed",
                    log_str("broadcast", announcement->notice.broadcast_id),
                    log_str("why", db_strerror(code != 0 ? code : announcement->code)));
        finish(announcement);
        return;
    }
    /* Both are in the order of their tickets; who has been answered meanwhile is not in the list any more. */
    for (size_t i = 0; waiter && i < announcement->count; waiter = next) {
        next = TAILQ_NEXT(waiter, entry);
        while (i < announcement->count && announcement->tickets[i] < waiter->ticket)
            i++;
        if (i == announcement->count || announcement->tickets[i] != waiter->ticket || !announcement->follows[i] ||
            waiter->since >= announcement->notice.sequence)
            continue;
        metric_add(waiters->pushed, 1);
        answer(waiters, waiter, &announcement->notice, 0);
    }
    next_portion(announcement);
}

static void next_portion(struct announcement *announcement)
{
    struct notice_waiters *waiters = announcement->waiters;
    struct waiter *waiter;

    announcement->count = 0;
    TAILQ_FOREACH(waiter, &waiters->list, entry)
    {
        if (waiter->ticket <= announcement->after_ticket)
            continue;
        if (announcement->count == FOLLOW_WHICH_MAX)
            break;
        announcement->tickets[announcement->count] = announcement->after_ticket = waiter->ticket;
        strcpy(announcement->ids[announcement->count++], waiter->user_id);
    }
    /* Full: the pages find it when they ask next. */
    if (announcement->count == 0 || live_api_submit(waiters->api, run, done, announcement) != 0)
        finish(announcement);
}

bool notice_announcement_take_id(const char *message, size_t len_bytes, char id[ID_SIZE])
{
    json_t *body = json_loadb(message, len_bytes, 0, NULL);
    const char *type = json_string_value(json_object_get(body, "type"));
    const char *text = json_string_value(json_object_get(body, "id"));
    bool is_ours = type && strcmp(type, "broadcast.live") == 0 && text && id_is_valid(text);

    if (is_ours)
        snprintf(id, ID_SIZE, "%s", text);
    json_decref(body);
    return is_ours;
}

void notice_waiters_announce(struct notice_waiters *waiters, const char *message, size_t len_bytes)
{
    char id[ID_SIZE];

    if (!notice_announcement_take_id(message, len_bytes, id))
        return;
    waiters->heard++;
    if (waiters->announcements < MAX_ANNOUNCEMENTS) {
        struct announcement *announcement = alloc_zero(1, sizeof(*announcement));

        announcement->waiters = waiters;
        snprintf(announcement->notice.broadcast_id, sizeof(announcement->notice.broadcast_id), "%s", id);
        waiters->announcements++;
        next_portion(announcement);
    }
}

/* --- who waits --- */

uint64_t notice_waiters_heard(const struct notice_waiters *waiters)
{
    return waiters->heard;
}

/* The user's oldest one makes room for another. Not the newest: a page that is loaded anew leaves a request behind that
 * nobody reads any more, and it may be all of them. */
static void make_room(struct notice_waiters *waiters, const char *user_id)
{
    struct waiter *waiter, *oldest = NULL;
    size_t count = 0;

    TAILQ_FOREACH(waiter, bucket_of(waiters, user_id), of_user)
    {
        if (strcmp(waiter->user_id, user_id) != 0)
            continue;
        oldest = oldest ? oldest : waiter;
        count++;
    }
    if (count < waiters->max_per_user)
        return;
    metric_add(waiters->replaced, 1);
    answer(waiters, oldest, NULL, FULL_RETRY_MS);
}

bool notice_waiters_add(struct notice_waiters *waiters, struct http_request *request, const char *user_id,
                        int64_t since, int64_t wait_ms, int64_t *retry_after_ms)
{
    make_room(waiters, user_id);
    if (waiters->is_draining || waiters->count >= waiters->max) {
        metric_add(waiters->refused, 1);
        *retry_after_ms = FULL_RETRY_MS;
        return false;
    }
    struct waiter *waiter = alloc_zero(1, sizeof(*waiter));
    waiter->ticket = ++waiters->last_ticket;
    waiter->request = request;
    snprintf(waiter->user_id, sizeof(waiter->user_id), "%s", user_id);
    waiter->since = since;
    waiter->until_ms = clock_monotonic_ms() + wait_ms;
    TAILQ_INSERT_TAIL(&waiters->list, waiter, entry);
    TAILQ_INSERT_TAIL(bucket_of(waiters, waiter->user_id), waiter, of_user);
    metric_set(waiters->waiting, (double)++waiters->count);
    return true;
}

static void on_tick(evutil_socket_t fd, short events, void *context)
{
    struct notice_waiters *waiters = context;
    int64_t now_ms = clock_monotonic_ms();
    struct waiter *waiter, *next;

    for (waiter = TAILQ_FIRST(&waiters->list); waiter; waiter = next) {
        next = TAILQ_NEXT(waiter, entry);
        if (waiter->until_ms <= now_ms)
            answer(waiters, waiter, NULL, 0);
    }
}

void notice_waiters_missed(struct notice_waiters *waiters)
{
    int64_t now_ms = clock_monotonic_ms();
    struct waiter *waiter;

    waiters->heard++;
    TAILQ_FOREACH(waiter, &waiters->list, entry)
    {
        int64_t until_ms = now_ms + random_below(MISSED_SPREAD_MS);

        if (until_ms < waiter->until_ms)
            waiter->until_ms = until_ms;
    }
}

void notice_waiters_drain(struct notice_waiters *waiters)
{
    struct waiter *waiter;

    waiters->is_draining = true;
    while ((waiter = TAILQ_FIRST(&waiters->list)))
        answer(waiters, waiter, NULL, 0);
}

struct notice_waiters *notice_waiters_create(struct live_api *api, size_t max, size_t max_per_user)
{
    const struct timeval period = {0, TICK_MS * 1000};
    struct notice_waiters *waiters = alloc_zero(1, sizeof(*waiters));

    waiters->api = api;
    waiters->max = max;
    waiters->max_per_user = max_per_user;
    TAILQ_INIT(&waiters->list);
    for (size_t i = 0; i < USER_BUCKETS; i++)
        TAILQ_INIT(&waiters->users[i]);
    waiters->tick = event_new(service_loop(api->service), -1, EV_PERSIST, on_tick, waiters);
    if (!waiters->tick)
        abort();
    event_add(waiters->tick, &period);
    waiters->waiting = metrics_gauge(service_metrics(api->service), "hanabi_api_notice_waiters",
                                     "requests that wait for a notice", NULL);
    waiters->pushed = metrics_counter(service_metrics(api->service), "hanabi_api_notices_pushed_total",
                                      "notices that a waiting request was answered with", NULL);
    waiters->refused = metrics_counter(service_metrics(api->service), "hanabi_api_notice_waits_cut_total",
                                       "requests that might not wait: as many as may did already", "why=\"all\"");
    waiters->replaced = metrics_counter(service_metrics(api->service), "hanabi_api_notice_waits_cut_total",
                                        "requests that might not wait: as many as may did already", "why=\"user\"");
    return waiters;
}

void notice_waiters_destroy(struct notice_waiters *waiters)
{
    if (!waiters)
        return;
    notice_waiters_drain(waiters);
    event_free(waiters->tick);
    free(waiters);
}

/* --- the answer --- */

static json_t *notice_to_json(const struct notice_view *view)
{
    char id[24], watch[ID_SIZE + 16];

    snprintf(id, sizeof(id), "%lld", (long long)view->sequence);
    snprintf(watch, sizeof(watch), "/watch/%s", view->broadcast_id);
    json_t *object =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:s},s:{s:s,s:s},s:I,s:b,s:s}", "id", id, "type", "broadcast.live", "broadcast",
                  "id", view->broadcast_id, "title", view->title, "state", broadcast_state_name(view->state), "owner",
                  "id", view->owner_id, "name", view->owner_name, "at_ms", (json_int_t)view->at_ms, "unread",
                  (int)view->is_unread, "watch_url", watch);
    if (!object)
        abort();
    return object;
}

json_t *notice_list_to_json(const struct notice_view *views, size_t count, int64_t unread, int64_t latest,
                            int64_t retry_after_ms)
{
    json_t *list = json_array();
    json_t *body = json_pack("{s:o,s:I,s:I}", "notifications", list, "latest", (json_int_t)latest, "retry_after_ms",
                             (json_int_t)retry_after_ms);

    if (!body)
        abort();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, notice_to_json(&views[i]));
    if (unread >= 0)
        json_object_set_new(body, "unread", json_integer(unread));
    return body;
}
