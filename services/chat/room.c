#include "room.h"
#include "audience_log.h"
#include "table.h"
#include "worker.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

#include <assert.h>
#include <stdio.h>

#define ROOMS_MAX 100000

/* --- broadcasts --- */

struct broadcast *broadcast_find(struct chat *chat, const char *id)
{
    return table_get(chat->broadcasts, id);
}

struct broadcast *broadcast_get(struct chat *chat, const char *id)
{
    struct broadcast *broadcast = broadcast_find(chat, id);

    if (broadcast)
        return broadcast;
    broadcast = alloc_zero(1, sizeof(*broadcast));
    broadcast->chat = chat;
    broadcast->shard = &chat->shards[redis_shard_of(id, chat->shard_count)];
    strcpy(broadcast->id, id);
    table_set(chat->broadcasts, id, broadcast);
    metric_add(chat->metrics.broadcasts, 1);
    return broadcast;
}

static void room_free(struct room *room)
{
    struct held_message *next;

    if (!room)
        return;
    for (struct held_message *held = room->held_first; held; held = next) {
        next = held->next;
        free(held->text);
        free(held);
    }
    free(room);
}

void broadcast_free(void *context)
{
    struct broadcast *broadcast = context;

    for (size_t i = 0; i < broadcast->room_slots; i++)
        room_free(broadcast->rooms[i]);
    room_free(broadcast->every);
    words_clear(broadcast);
    free(broadcast->rooms);
    free(broadcast->viewers);
    free(broadcast);
}

static void needs_leave(struct room *room, void *context)
{
    if (room->number != ROOM_EVERY && room->places != room->count)
        *(bool *)context = true;
}

bool broadcast_release(struct broadcast *broadcast)
{
    struct chat *chat = broadcast->chat;
    bool is_unsettled = false;

    broadcast_each_room(broadcast, needs_leave, &is_unsettled);
    if (broadcast->connections > 0 || broadcast->pending > 0 || broadcast->is_in_flight || broadcast->is_touched ||
        is_unsettled)
        return false;
    broadcast_update_channels(broadcast);
    table_take(chat->broadcasts, broadcast->id);
    metric_add(chat->metrics.broadcasts, -1);
    broadcast_free(broadcast);
    return true;
}

void broadcast_each_room(struct broadcast *broadcast, void (*visit)(struct room *room, void *context), void *context)
{
    for (size_t i = 0; i < broadcast->room_slots; i++)
        if (broadcast->rooms[i])
            visit(broadcast->rooms[i], context);
    if (broadcast->every)
        visit(broadcast->every, context);
}

/* --- rooms --- */

static struct room *room_create(struct broadcast *broadcast, int number)
{
    struct chat *chat = broadcast->chat;
    struct room *room = alloc_zero(1, sizeof(*room));

    room->broadcast = broadcast;
    room->number = number;
    room->audience = ++chat->next_audience;
    room->held_last = &room->held_first;
    thinning_init(&room->thinning, number == ROOM_EVERY ? chat->config.broadcaster_budget : chat->config.room_budget);
    token_bucket_init(&room->bucket, chat->config.room_rate, clock_monotonic_ms());
    return room;
}

struct room *broadcast_room(struct broadcast *broadcast, int number, bool create)
{
    if (number == ROOM_EVERY) {
        if (!broadcast->every && create)
            broadcast->every = room_create(broadcast, ROOM_EVERY);
        return broadcast->every;
    }
    if (number < 0 || number >= ROOMS_MAX)
        return NULL;
    if ((size_t)number >= broadcast->room_slots) {
        size_t slots = (size_t)number + 8;

        if (!create)
            return NULL;
        broadcast->rooms = reallocarray(broadcast->rooms, slots, sizeof(broadcast->rooms[0]));
        if (!broadcast->rooms)
            abort();
        for (size_t i = broadcast->room_slots; i < slots; i++)
            broadcast->rooms[i] = NULL;
        broadcast->room_slots = slots;
    }
    if (!broadcast->rooms[number] && create)
        broadcast->rooms[number] = room_create(broadcast, number);
    return broadcast->rooms[number];
}

bool broadcast_note_rooms(struct broadcast *broadcast, int64_t rooms)
{
    /* Each of them may cost a channel: what nobody can have is not believed. */
    if (rooms <= broadcast->rooms_known || rooms > ROOMS_MAX)
        return false;
    broadcast->rooms_known = (int)rooms;
    return true;
}

void room_enter(struct room *room, struct connection *connection)
{
    struct chat *chat = room->broadcast->chat;

    assert(!connection->room);
    connection->room = room;
    connection->room_previous = NULL;
    connection->room_next = room->first;
    if (room->first)
        room->first->room_previous = connection;
    room->first = connection;
    room->worker_count[connection->worker->index]++;
    audience_log_join(chat, connection);
    if (room->count++ == 0) {
        metric_add(chat->metrics.rooms, 1);
        broadcast_update_channels(room->broadcast);
    }
    if (room->is_live)
        room_welcome(room, connection);
    else if (!room->sync_asked_ms)
        sync_ask(room);
}

void room_leave(struct connection *connection)
{
    struct room *room = connection->room;

    audience_log_leave(room->broadcast->chat, connection);
    if (connection->room_previous)
        connection->room_previous->room_next = connection->room_next;
    else
        room->first = connection->room_next;
    if (connection->room_next)
        connection->room_next->room_previous = connection->room_previous;
    connection->room = NULL;
    room->worker_count[connection->worker->index]--;
    if (--room->count > 0)
        return;
    metric_add(room->broadcast->chat->metrics.rooms, -1);
    room->is_live = room->has_seen = false;
    room->sync_asked_ms = 0;
    broadcast_update_channels(room->broadcast);
}

/* --- channels --- */

static bool is_in_use(const struct room *room)
{
    return room && room->count > 0;
}

static void subscribe_room(struct broadcast *broadcast, int number, bool is_wanted)
{
    char channel[KEY_MAX];

    snprintf(channel, sizeof(channel), CHANNEL_CHAT_ROOM "%s:%d", broadcast->id, number);
    if (is_wanted)
        subscriber_add(broadcast->shard->subscriber, channel);
    else
        subscriber_remove(broadcast->shard->subscriber, channel);
}

/* Those who see every room listen to one room more than there are: a room that is opened is heard from its first
 * comment on. */
void broadcast_update_channels(struct broadcast *broadcast)
{
    char channel[KEY_MAX];
    bool sees_every = is_in_use(broadcast->every), is_any = sees_every;
    int last = (int)broadcast->room_slots;

    for (size_t i = 0; i < broadcast->room_slots; i++)
        is_any = is_any || is_in_use(broadcast->rooms[i]);
    key_of(channel, CHANNEL_CHAT_ALL, broadcast->id);
    /* Before the rooms' channels: whoever hears a room hears what is said to all. */
    if (is_any && !broadcast->is_all_subscribed)
        subscriber_add(broadcast->shard->subscriber, channel);
    if (!is_any && broadcast->is_all_subscribed)
        subscriber_remove(broadcast->shard->subscriber, channel);
    broadcast->is_all_subscribed = is_any;
    if (last <= broadcast->rooms_known)
        last = broadcast->rooms_known + 1;
    for (int number = 0; number < last; number++)
        subscribe_room(broadcast, number,
                       is_in_use(broadcast_room(broadcast, number, false)) ||
                           (sees_every && number <= broadcast->rooms_known));
}

void connection_settle(struct connection *connection)
{
    if (connection->pending == 0 && connection->has_left)
        message_queue_push(&connection->worker->queue, message_create(MESSAGE_GONE, connection));
}
