/* Whether a room's channel is heard. SUBSCRIBE and the log are on two connections, so "subscribed, then read" proves
 * nothing. A process asks on the channel itself (script_chat_sync): the question carries the last id in the log, and
 * comes back in the order of the events. Whoever hears its own question has missed nothing newer than that id.
 *
 * After a broken subscription the same question tells up to where the log has to be read; what arrives meanwhile is
 * held, so that the order stays. */
#include "room.h"
#include "table.h"
#include "worker.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#define SYNC_RETRY_MS  300
#define HELD_MAX       2000 /* messages; then the oldest are dropped */
#define CATCH_UP_LIMIT "2000"

/* Unlike the rest of the chat's Redis calls these may outlive their connection: the broadcast counts them. */
struct call {
    struct broadcast *broadcast;
    struct connection *connection; /* of a backlog */
    int number;                    /* of a room that catches up */
    struct chat_event_id upto;
};

static struct call *call_create(struct broadcast *broadcast, struct connection *connection, int number)
{
    struct call *call = alloc_zero(1, sizeof(*call));

    call->broadcast = broadcast;
    call->connection = connection;
    call->number = number;
    broadcast->pending++;
    if (connection)
        connection->pending++;
    return call;
}

static void call_done(struct call *call)
{
    call->broadcast->pending--;
    if (call->connection) {
        call->connection->pending--;
        connection_settle(call->connection);
    }
    broadcast_release(call->broadcast);
    free(call);
}

static const char *room_text(int number, char out[16])
{
    if (number == ROOM_EVERY)
        out[0] = '\0';
    else
        snprintf(out, 16, "%d", number);
    return out;
}

/* Events as one frame, to be freed with free(). `reply`: {id, e, id, e, …}. */
static char *frame_of(const struct redisReply *reply, const char *head, const char *tail, size_t *len_bytes)
{
    size_t size = strlen(head) + strlen(tail) + 1, at;
    char *text, *event;

    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        size += 2 * reply->element[i]->len + reply->element[i + 1]->len + 32;
    text = alloc_zero(1, size);
    at = (size_t)snprintf(text, size, "%s", head);
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        size_t len;

        event =
            chat_event_compose(reply->element[i]->str, reply->element[i + 1]->str, reply->element[i + 1]->len, &len);
        if (!event)
            abort();
        if (i > 0)
            text[at++] = ',';
        memcpy(text + at, event, len);
        at += len;
        free(event);
    }
    strcpy(text + at, tail);
    *len_bytes = at + strlen(tail);
    return text;
}

/* --- the question --- */

void sync_ask(struct room *room)
{
    struct broadcast *broadcast = room->broadcast;
    char number[16];

    room->sync_asked_ms = clock_monotonic_ms();
    /* The spare room's channel was the last one to be subscribed. */
    room->sync_number = room->number == ROOM_EVERY ? broadcast->rooms_known : room->number;
    redis_link_script(broadcast->shard->redis, &script_chat_sync, NULL, NULL, 3,
                      (const char *[]){broadcast->id, room_text(room->sync_number, number),
                                       service_instance(broadcast->chat->service)},
                      NULL);
}

static void retry(struct room *room, void *context)
{
    if (room->count > 0 && (!room->is_live || room->is_catching_up) && room->sync_asked_ms &&
        *(int64_t *)context - room->sync_asked_ms >= SYNC_RETRY_MS)
        sync_ask(room);
}

static int retry_broadcast(const char *key, void *value, void *context)
{
    broadcast_each_room(value, retry, context);
    return 0;
}

void sync_retry(struct chat *chat, int64_t now_ms)
{
    table_each(chat->broadcasts, retry_broadcast, &now_ms);
}

/* --- the answer --- */

static void catch_up(struct room *room, struct chat_event_id upto);

static void answer_room(struct room *room, struct chat_event_id id)
{
    struct connection *next;

    if (!room || room->count == 0 || !room->sync_asked_ms)
        return;
    room->sync_asked_ms = 0;
    if (room->is_live) {
        if (room->is_catching_up)
            catch_up(room, id);
        return;
    }
    room->seen = id;
    room->has_seen = room->is_live = true;
    for (struct connection *connection = room->first; connection; connection = next) {
        next = connection->room_next;
        if (!connection->is_welcome)
            room_welcome(room, connection);
    }
}

void sync_on_answer(struct broadcast *broadcast, int number, const char *message, size_t len)
{
    json_t *root = json_loadb(message, len, 0, NULL);
    const char *instance = json_string_value(json_object_get(root, "sync"));
    struct chat_event_id id;

    if (instance && strcmp(instance, service_instance(broadcast->chat->service)) == 0 &&
        chat_event_id_parse(json_string_value(json_object_get(root, "id")), &id) == 0) {
        answer_room(broadcast_room(broadcast, number, false), id);
        if (broadcast->every && broadcast->every->sync_number == number)
            answer_room(broadcast->every, id);
    }
    json_decref(root);
}

/* --- after a broken subscription --- */

static void begin_catching_up(struct room *room, void *context)
{
    if (room->count == 0)
        return;
    if (room->is_live)
        room->is_catching_up = true;
    sync_ask(room);
}

static int resync_broadcast(const char *key, void *value, void *context)
{
    broadcast_each_room(value, begin_catching_up, NULL);
    return 0;
}

void sync_on_resubscribed(struct chat *chat)
{
    table_each(chat->broadcasts, resync_broadcast, NULL);
}

void sync_hold(struct room *room, const char *message, size_t len)
{
    struct held_message *held = alloc_zero(1, sizeof(*held));

    room->is_catching_up = true;
    held->text = alloc_zero(1, len + 1);
    memcpy(held->text, message, len);
    held->len = len;
    *room->held_last = held;
    room->held_last = &held->next;
    if (++room->held_count <= HELD_MAX)
        return;
    held = room->held_first;
    room->held_first = held->next;
    room->held_count--;
    free(held->text);
    free(held);
    metric_add(room->broadcast->chat->metrics.skipped, 1);
}

static void release_held(struct room *room)
{
    struct held_message *held = room->held_first, *next;

    room->held_first = NULL;
    room->held_last = &room->held_first;
    room->held_count = 0;
    room->is_catching_up = false;
    for (; held; held = next) {
        next = held->next;
        fanout_to_room(room, held->text, held->len);
        free(held->text);
        free(held);
    }
}

static void on_caught_up(int code, const struct redisReply *reply, void *context)
{
    struct call *call = context;
    struct room *room = broadcast_room(call->broadcast, call->number, false);

    if (!room || room->count == 0 || !room->is_catching_up) {
        call_done(call);
        return;
    }
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY) {
        /* Ask again: the retry comes with the next tick. */
        room->sync_asked_ms = clock_monotonic_ms();
        call_done(call);
        return;
    }
    if (reply->elements > 0) {
        size_t len;
        char *message = frame_of(reply, "[", "]", &len);

        fanout_to_room(room, message, len);
        free(message);
    }
    metric_add(call->broadcast->chat->metrics.resynced, (double)reply->elements / 2);
    if (chat_event_id_compare(room->seen, call->upto) < 0)
        room->seen = call->upto;
    release_held(room);
    call_done(call);
}

static void catch_up(struct room *room, struct chat_event_id upto)
{
    struct broadcast *broadcast = room->broadcast;
    struct call *call;
    char number[16], from[CHAT_EVENT_ID_SIZE], to[CHAT_EVENT_ID_SIZE];

    /* A Redis that came back empty begins again at its own clock. */
    if (chat_event_id_compare(upto, room->seen) <= 0) {
        release_held(room);
        return;
    }
    call = call_create(broadcast, NULL, room->number);
    call->upto = upto;
    redis_link_script(broadcast->shard->redis, &script_chat_missed, on_caught_up, call, 5,
                      (const char *[]){broadcast->id, room_text(room->number, number),
                                       chat_event_id_format(room->seen, from), chat_event_id_format(upto, to),
                                       CATCH_UP_LIMIT},
                      NULL);
}

/* --- welcome --- */

static void on_backlog(int code, const struct redisReply *reply, void *context)
{
    struct call *call = context;
    struct message *message;

    if (!call->connection->has_left && (code != 0 || reply->type != REDIS_REPLY_ARRAY)) {
        /* It would miss something: it is to come again. */
        send_close(call->connection, 1013, error_text("", "unavailable", call->broadcast->chat->config.retry_after_ms));
    } else if (!call->connection->has_left) {
        message = message_create(MESSAGE_BACKLOG, call->connection);
        if (reply->elements > 0)
            message->text = frame_of(reply, "{\"events\":[", "]}", &message->len);
        message_queue_push(&call->connection->worker->queue, message);
    }
    call_done(call);
}

static char *hello_text(const struct room *room, const struct connection *connection)
{
    json_t *root =
        json_pack("{s:s,s:i,s:s}", "type", "hello", "room", room->number, "role", chat_role_name(connection->role));
    char *text = json_dumps(root, JSON_COMPACT);

    json_decref(root);
    if (!text)
        abort();
    return text;
}

/* Events up to `seen` come out of the log, those behind it with the room: in this order, so none is missed or repeated.
 */
void room_welcome(struct room *room, struct connection *connection)
{
    struct broadcast *broadcast = room->broadcast;
    struct chat *chat = broadcast->chat;
    struct message *message = message_create(MESSAGE_WELCOME, connection);
    char number[16], from[CHAT_EVENT_ID_SIZE], to[CHAT_EVENT_ID_SIZE], limit[24];

    connection->is_welcome = true;
    message->audience = room->audience;
    message->text = hello_text(room, connection);
    message->len = strlen(message->text);
    message->flag = (connection->last.ms || connection->last.sequence) && chat->config.history > 0 &&
                    chat_event_id_compare(connection->last, room->seen) < 0;
    bool wants_backlog = message->flag;

    message_queue_push(&connection->worker->queue, message);
    if (wants_backlog) {
        snprintf(limit, sizeof(limit), "%lld", (long long)chat->config.history);
        redis_link_script(broadcast->shard->redis, &script_chat_missed, on_backlog,
                          call_create(broadcast, connection, room->number), 5,
                          (const char *[]){broadcast->id, room_text(room->number, number),
                                           chat_event_id_format(connection->last, from),
                                           chat_event_id_format(room->seen, to), limit},
                          NULL);
    }
    if (broadcast->viewers) {
        size_t size = strlen(broadcast->viewers) + sizeof("{\"events\":[]}");
        char *text = alloc_zero(1, size);

        snprintf(text, size, "{\"events\":[%s]}", broadcast->viewers);
        send_private(connection, text);
    }
}
