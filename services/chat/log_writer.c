/* Into the log and out to the rooms in one script, then the acknowledgement. While a call is under way, what comes
 * meanwhile is gathered for the next one: a quiet chat waits for nothing, a busy one makes few calls. */
#include "chat.h"
#include "connection.h"
#include "room.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/request_scope.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#define CALLS_AT_ONCE 2
#define CALL_EVENTS   200      /* Redis does nothing else meanwhile: about a millisecond */
#define CALL_ARGS     4        /* of an event */
#define SAID_MAX      "100000" /* keys a minute and broadcast: 10 MB */

struct entry {
    struct entry *next;
    struct connection *connection;
    char *e;
    int64_t at_ms;
    uint64_t number;
    int room;
    char ref[CHAT_REF_MAX_BYTES + 1], key[CHAT_SAID_KEY_SIZE];
};

struct log_writer {
    struct chat *chat;
    struct redis_link *redis;
    struct entry *first, **last;
    size_t count; /* waiting or under way */
    size_t waiting;
    uint64_t next_number;
    int calls;
};

struct call {
    struct log_writer *writer;
    struct entry *first;
    int64_t began_us;
};

struct log_writer *log_writer_create(struct chat *chat, struct redis_link *redis)
{
    struct log_writer *writer = alloc_zero(1, sizeof(*writer));

    writer->chat = chat;
    writer->redis = redis;
    writer->last = &writer->first;
    return writer;
}

bool log_writer_is_idle(const struct log_writer *writer)
{
    return writer->count == 0;
}

static void acknowledge(struct entry *entry, const char *id)
{
    json_t *root = json_pack("{s:s,s:s}", "type", "ack", "id", id);
    char *text;

    if (entry->ref[0])
        json_object_set_new(root, "ref", json_string(entry->ref));
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text)
        send_private(entry->connection, text);
}

/* `id` NULL: it is not in the log, as far as is known. */
static void finish(struct log_writer *writer, struct entry *entry, const char *id)
{
    if (!entry->connection->has_left && id)
        acknowledge(entry, id);
    else if (!entry->connection->has_left)
        send_error(entry->connection, entry->ref, "unavailable", writer->chat->config.retry_after_ms);
    if (id) {
        const char *outer_scope = request_scope_enter(entry->connection->request_id);

        metric_add(writer->chat->metrics.accepted, 1);
        log_debug("chat.said", log_str("broadcast", entry->connection->broadcast_id), log_str("id", id),
                  log_str("by", entry->connection->user_id));
        request_scope_leave(outer_scope);
    }
    entry->connection->pending--;
    connection_settle(entry->connection);
    writer->count--;
    free(entry->e);
    free(entry);
}

static void on_appended(int code, const struct redisReply *reply, void *context)
{
    struct call *call = context;
    struct log_writer *writer = call->writer;
    struct entry *next;
    size_t i = 0;

    metric_observe(writer->chat->metrics.append_seconds, (double)(clock_monotonic_us() - call->began_us) / 1e6);
    for (struct entry *entry = call->first; entry; entry = next, i++) {
        bool is_in = code == 0 && reply->type == REDIS_REPLY_ARRAY && i < reply->elements &&
                     reply->element[i]->type == REDIS_REPLY_STRING;

        next = entry->next;
        finish(writer, entry, is_in ? reply->element[i]->str : NULL);
    }
    free(call);
    writer->calls--;
    log_writer_flush(writer);
}

/* By room, so that a call makes one message per room; what was said in one room stays in its order. */
static int compare(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    int order = strcmp(x->connection->broadcast_id, y->connection->broadcast_id);

    if (order == 0)
        order = (x->room > y->room) - (x->room < y->room);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

/* Up to CALL_EVENTS entries out of the queue, sorted, linked again. */
static size_t take(struct log_writer *writer, struct entry *taken[CALL_EVENTS])
{
    size_t count = 0;

    while (writer->first && count < CALL_EVENTS) {
        taken[count++] = writer->first;
        writer->first = writer->first->next;
    }
    if (!writer->first)
        writer->last = &writer->first;
    writer->waiting -= count;
    qsort(taken, count, sizeof(taken[0]), compare);
    for (size_t i = 0; i < count; i++)
        taken[i]->next = i + 1 < count ? taken[i + 1] : NULL;
    return count;
}

static void send_call(struct log_writer *writer)
{
    struct entry *taken[CALL_EVENTS];
    const char *args[1 + CALL_ARGS * CALL_EVENTS] = {SAID_MAX};
    size_t lens[1 + CALL_ARGS * CALL_EVENTS] = {sizeof(SAID_MAX) - 1};
    char rooms[CALL_EVENTS][12];
    struct call *call = alloc_zero(1, sizeof(*call));
    size_t count = take(writer, taken), at = 1;

    for (size_t i = 0; i < count; i++) {
        rooms[i][0] = '\0';
        if (taken[i]->room != ROOM_EVERY)
            snprintf(rooms[i], sizeof(rooms[i]), "%d", taken[i]->room);
        memcpy(args + at,
               (const char *[CALL_ARGS]){taken[i]->connection->broadcast_id, rooms[i], taken[i]->e, taken[i]->key},
               CALL_ARGS * sizeof(args[0]));
        for (size_t end = at + CALL_ARGS; at < end; at++)
            lens[at] = strlen(args[at]);
    }
    call->writer = writer;
    call->first = taken[0];
    call->began_us = clock_monotonic_us();
    writer->calls++;
    const char *outer_scope = request_scope_enter(NULL);
    redis_link_script(writer->redis, &script_chat_say, on_appended, call, (int)at, args, lens);
    request_scope_leave(outer_scope);
}

void log_writer_flush(struct log_writer *writer)
{
    /* More than one call at a time only for a queue that fills whole calls. */
    while (writer->first && (writer->calls == 0 || (writer->calls < CALLS_AT_ONCE && writer->count >= CALL_EVENTS)))
        send_call(writer);
}

bool log_writer_is_behind(const struct log_writer *writer, int64_t now_ms)
{
    return writer->waiting > CALLS_AT_ONCE * CALL_EVENTS &&
           now_ms - writer->first->at_ms > writer->chat->config.wait_ms;
}

void log_writer_add(struct log_writer *writer, struct connection *connection, const char *ref, const char *key,
                    int room, char *e)
{
    struct entry *entry;

    if (writer->count >= (size_t)writer->chat->config.append_pending) {
        send_error(connection, ref, "unavailable", writer->chat->config.retry_after_ms);
        free(e);
        return;
    }
    entry = alloc_zero(1, sizeof(*entry));
    entry->connection = connection;
    entry->room = room;
    entry->at_ms = clock_monotonic_ms();
    entry->number = writer->next_number++;
    entry->e = e;
    strcpy(entry->ref, ref);
    strcpy(entry->key, key);
    connection->pending++;
    writer->count++;
    writer->waiting++;
    *writer->last = entry;
    writer->last = &entry->next;
}

void log_writer_destroy(struct log_writer *writer)
{
    if (!writer)
        return;
    while (writer->first) {
        struct entry *entry = writer->first;

        writer->first = entry->next;
        free(entry->e);
        free(entry);
    }
    free(writer);
}
