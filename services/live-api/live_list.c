#include "live_list.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define FRESH_MS 500
#define MOST     5000 /* live at the same time; beyond, the youngest by Redis' order are left out */

struct waiter {
    STAILQ_ENTRY(waiter) entry;
    live_list_fn callback;
    void *context;
};

struct live_list {
    struct live_api *api;
    struct broadcast_view *views; /* of the last complete read */
    size_t count;
    int64_t read_at_ms;
    struct broadcast_view *coming; /* while one is under way */
    size_t coming_count, coming_live, answered;
    bool failed;
    STAILQ_HEAD(, waiter) waiters; /* not empty: a read is under way */
};

static int newest_first(const void *a, const void *b)
{
    const struct broadcast_view *left = a, *right = b;

    if (left->created_at_ms != right->created_at_ms)
        return left->created_at_ms < right->created_at_ms ? 1 : -1;
    return strcmp(right->id, left->id);
}

/* Waiters are taken off first: a callback may ask again. */
static void finish(struct live_list *list)
{
    STAILQ_HEAD(, waiter) waiters = STAILQ_HEAD_INITIALIZER(waiters);
    struct waiter *waiter;
    bool failed = list->failed;

    if (failed) {
        free(list->coming);
    } else {
        qsort(list->coming, list->coming_live, sizeof(*list->coming), newest_first);
        free(list->views);
        list->views = list->coming;
        list->count = list->coming_live;
        list->read_at_ms = clock_monotonic_ms();
    }
    list->coming = NULL;
    STAILQ_CONCAT(&waiters, &list->waiters);
    while ((waiter = STAILQ_FIRST(&waiters))) {
        STAILQ_REMOVE_HEAD(&waiters, entry);
        waiter->callback(failed ? NULL : list->views, failed ? 0 : list->count, waiter->context);
        free(waiter);
    }
}

static void on_fetched(int code, const redisReply *reply, void *context)
{
    struct live_list *list = context;
    /* Redis answers in order; those that are live close ranks. */
    struct broadcast_view *view = &list->coming[list->answered++];

    if (code != 0)
        list->failed = true;
    else if (broadcast_view_overlay(view, reply) && view->state == BROADCAST_LIVE)
        list->coming[list->coming_live++] = *view;
    if (list->answered == list->coming_count)
        finish(list);
}

static void on_ids(int code, const redisReply *reply, void *context)
{
    struct live_list *list = context;

    list->failed = code != 0 || reply->type != REDIS_REPLY_ARRAY;
    list->coming_count = list->failed ? 0 : reply->elements;
    list->coming_live = list->answered = 0;
    list->coming = alloc_zero(list->coming_count + 1, sizeof(*list->coming));
    for (size_t i = 0; i < list->coming_count; i++)
        snprintf(list->coming[i].id, sizeof(list->coming[i].id), "%s", reply->element[i]->str);
    size_t count = list->coming_count;
    if (count == 0)
        finish(list);
    for (size_t i = 0; i < count; i++) {
        /* The reply's text: with the link down the answers come at once, and the last one frees `coming`. */
        broadcast_view_fetch(list->api, reply->element[i]->str, on_fetched, list);
    }
}

void live_list_get(struct live_list *list, live_list_fn callback, void *context)
{
    bool is_reading = !STAILQ_EMPTY(&list->waiters);

    if (list->views && clock_monotonic_ms() - list->read_at_ms < FRESH_MS) {
        callback(list->views, list->count, context);
        return;
    }
    struct waiter *waiter = alloc_zero(1, sizeof(*waiter));
    waiter->callback = callback;
    waiter->context = context;
    STAILQ_INSERT_TAIL(&list->waiters, waiter, entry);
    if (!is_reading) {
        char last[16];

        snprintf(last, sizeof(last), "%d", MOST - 1);
        /* Exactly the live ones are watched for silence. */
        redis_link_command(list->api->redis, on_ids, list, 4, (const char *[]){"ZRANGE", KEY_WATCH_SILENCE, "0", last},
                           NULL);
    }
}

struct live_list *live_list_create(struct live_api *api)
{
    struct live_list *list = alloc_zero(1, sizeof(*list));

    list->api = api;
    STAILQ_INIT(&list->waiters);
    return list;
}

void live_list_destroy(struct live_list *list)
{
    if (!list)
        return;
    free(list->views);
    free(list);
}
