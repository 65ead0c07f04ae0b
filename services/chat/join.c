/* Into a room and out of it. All who want in since the last answer of Redis take their places in one call; of each
 * broadcast one call is under way at a time, so that what we hold there is known exactly. */
#include "room.h"
#include "settings_memory.h"
#include "table.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

#define CALL_MAX       500  /* connections in one call */
#define ROOM_NOT_FOUND (-2) /* of a connection whose last event was looked up in vain */

/* --- the list of those who wait --- */

static void wait_for_place(struct broadcast *broadcast, struct connection *connection)
{
    connection->is_waiting = true;
    connection->room_previous = NULL;
    connection->room_next = broadcast->waiting;
    if (broadcast->waiting)
        broadcast->waiting->room_previous = connection;
    broadcast->waiting = connection;
}

static void stop_waiting(struct connection *connection)
{
    if (!connection->is_waiting)
        return;
    connection->is_waiting = false;
    if (connection->room_previous)
        connection->room_previous->room_next = connection->room_next;
    else
        connection->broadcast->waiting = connection->room_next;
    if (connection->room_next)
        connection->room_next->room_previous = connection->room_previous;
}

static void refuse_all(struct broadcast *broadcast, int close_code, const char *error, int64_t retry_after_ms)
{
    while (broadcast->waiting) {
        struct connection *connection = broadcast->waiting;

        stop_waiting(connection);
        send_close(connection, close_code, error_text("", error, retry_after_ms));
    }
}

/* --- looking the broadcast up --- */

static void on_broadcast(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;
    struct chat *chat = broadcast->chat;

    broadcast->is_in_flight = false;
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        refuse_all(broadcast, 1013, "unavailable", chat->config.retry_after_ms);
    } else if (reply->element[1]->type != REDIS_REPLY_STRING) {
        refuse_all(broadcast, CLOSE_UNKNOWN_BROADCAST, "not_found", 0);
    } else {
        if (reply->element[0]->type == REDIS_REPLY_STRING)
            snprintf(broadcast->owner_id, sizeof(broadcast->owner_id), "%s", reply->element[0]->str);
        state_note(broadcast, reply->element[1]->str);
        broadcast->is_known = true;
        words_refresh(broadcast);
    }
    join_step(broadcast);
}

static void look_up(struct broadcast *broadcast)
{
    char key[KEY_MAX];

    broadcast->is_in_flight = true;
    redis_link_command(broadcast->chat->state_redis, on_broadcast, broadcast, 4,
                       (const char *[]){"HMGET", key_of(key, KEY_BROADCAST, broadcast->id), "owner_id", "state"}, NULL);
}

/* --- those who need no place --- */

static enum chat_role role_of(const struct broadcast *broadcast, const struct connection *connection)
{
    if (!connection->user_id[0])
        return CHAT_READER;
    if (strcmp(connection->user_id, broadcast->owner_id) == 0)
        return CHAT_BROADCASTER;
    if (strcmp(connection->token_role, "operator") == 0)
        return CHAT_OPERATOR;
    return strcmp(connection->token_role, "moderator") == 0 ? CHAT_MODERATOR : CHAT_VIEWER;
}

static void sort_out(struct broadcast *broadcast)
{
    struct connection *next;

    for (struct connection *connection = broadcast->waiting; connection; connection = next) {
        next = connection->room_next;
        connection->role = role_of(broadcast, connection);
        if (connection->user_id[0] &&
            settings_is_banned(settings_of(broadcast->chat), broadcast->id, connection->user_id)) {
            stop_waiting(connection);
            send_close(connection, CLOSE_BANNED, error_text("", "banned", 0));
        } else if (connection->role > CHAT_VIEWER) {
            stop_waiting(connection);
            room_enter(broadcast_room(broadcast, ROOM_EVERY, true), connection);
        }
    }
}

/* --- places --- */

struct call {
    struct broadcast *broadcast;
    size_t count, pair_count;
    struct connection *connections[CALL_MAX];
    struct {
        int room, wanted;
    } pairs[CALL_MAX];
};

static struct call *call_create(struct broadcast *broadcast)
{
    struct call *call = alloc_zero(1, sizeof(*call));

    call->broadcast = broadcast;
    broadcast->is_in_flight = true;
    return call;
}

static void call_add(struct call *call, struct connection *connection)
{
    connection->pending++;
    call->connections[call->count++] = connection;
}

static void call_done(struct call *call)
{
    struct broadcast *broadcast = call->broadcast;

    for (size_t i = 0; i < call->count; i++) {
        call->connections[i]->pending--;
        connection_settle(call->connections[i]);
    }
    free(call);
    broadcast->is_in_flight = false;
    join_step(broadcast);
}

static void on_rooms_of(int code, const struct redisReply *reply, void *context)
{
    struct call *call = context;

    for (size_t i = 0; i < call->count; i++) {
        struct connection *connection = call->connections[i];
        const struct redisReply *room =
            code == 0 && reply->type == REDIS_REPLY_ARRAY && i < reply->elements ? reply->element[i] : NULL;

        connection->wanted_room = ROOM_NOT_FOUND;
        if (room && room->type == REDIS_REPLY_STRING && room->len > 0)
            connection->wanted_room = atoi(room->str);
    }
    call_done(call);
}

/* Viewers who come back are to be among the same people; the log knows where their last event was said. */
static bool look_up_rooms(struct broadcast *broadcast)
{
    const char *args[CALL_MAX + 1] = {broadcast->id};
    char ids[CALL_MAX][CHAT_EVENT_ID_SIZE];
    struct call *call = NULL;

    for (struct connection *one = broadcast->waiting; one; one = one->room_next) {
        if (one->last.ms == 0 || one->wanted_room != -1)
            continue;
        if (!call)
            call = call_create(broadcast);
        if (call->count == CALL_MAX)
            break;
        args[call->count + 1] = chat_event_id_format(one->last, ids[call->count]);
        call_add(call, one);
    }
    if (!call)
        return false;
    redis_link_script(broadcast->shard->redis, &script_chat_room_of, on_rooms_of, call, (int)call->count + 1, args,
                      NULL);
    return true;
}

static void seat(struct call *call, int room_number, int places, int wanted_room)
{
    /* Anybody may ask for any number: a room is made where there are places, not where they were wished for. */
    struct room *room = places > 0 ? broadcast_room(call->broadcast, room_number, true) : NULL;

    if (!room)
        return;
    if (room->places != PLACES_UNKNOWN)
        room->places += (size_t)places;
    for (size_t i = 0; i < call->count && places > 0; i++) {
        struct connection *connection = call->connections[i];

        if (!connection->is_waiting || (wanted_room >= 0 && connection->wanted_room != wanted_room))
            continue;
        stop_waiting(connection);
        room_enter(room, connection);
        places--;
    }
}

static void on_places(int code, const struct redisReply *reply, void *context)
{
    struct call *call = context;
    struct broadcast *broadcast = call->broadcast;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements < 1) {
        for (size_t i = 0; i < call->count; i++) {
            stop_waiting(call->connections[i]);
            if (!call->connections[i]->has_left)
                send_close(call->connections[i], 1013,
                           error_text("", "unavailable", broadcast->chat->config.retry_after_ms));
        }
        call_done(call);
        return;
    }
    broadcast_note_rooms(broadcast, reply->element[0]->integer);
    for (size_t i = 1; i + 1 < reply->elements; i += 2) {
        size_t pair = (i - 1) / 2;

        seat(call, (int)reply->element[i]->integer, (int)reply->element[i + 1]->integer,
             pair < call->pair_count ? call->pairs[pair].room : -1);
    }
    broadcast_update_channels(broadcast);
    call_done(call);
}

static void count_wish(struct call *call, int room, int *any)
{
    size_t i;

    if (room < 0) {
        ++*any;
        return;
    }
    for (i = 0; i < call->pair_count && call->pairs[i].room != room; i++)
        ;
    if (i == call->pair_count)
        call->pairs[call->pair_count++].room = room;
    call->pairs[i].wanted++;
}

static bool take_places(struct broadcast *broadcast)
{
    struct chat *chat = broadcast->chat;
    struct call *call;
    char numbers[3 + 2 * CALL_MAX][12];
    char readers[CALL_MAX][200];
    const char *args[6 + 3 * CALL_MAX];
    int any = 0, at = 6, number = 3;

    if (!broadcast->waiting)
        return false;
    call = call_create(broadcast);
    for (struct connection *one = broadcast->waiting; one && call->count < CALL_MAX; one = one->room_next) {
        count_wish(call, one->wanted_room, &any);
        call_add(call, one);
    }
    snprintf(numbers[0], sizeof(numbers[0]), "%d", (int)chat->config.room_size);
    snprintf(numbers[1], sizeof(numbers[1]), "%d", any);
    snprintf(numbers[2], sizeof(numbers[2]), "%zu", call->pair_count);
    memcpy(args,
           (const char *[]){broadcast->id, service_instance(chat->service), chat->ping_channel, numbers[0], numbers[1],
                            numbers[2]},
           6 * sizeof(args[0]));
    for (size_t i = 0; i < call->pair_count; i++) {
        snprintf(numbers[number], sizeof(numbers[0]), "%d", call->pairs[i].room);
        args[at++] = numbers[number++];
        snprintf(numbers[number], sizeof(numbers[0]), "%d", call->pairs[i].wanted);
        args[at++] = numbers[number++];
    }
    /* Who comes when it is over is no audience of it. */
    for (size_t i = 0; i < call->count && !broadcast->is_over; i++) {
        /* Without a token nobody knows who it is: each connection counts as somebody. */
        snprintf(readers[i], sizeof(readers[i]), "#%s:%llu", service_instance(chat->service),
                 (unsigned long long)++chat->next_reader);
        args[at++] = call->connections[i]->user_id[0] ? call->connections[i]->user_id : readers[i];
    }
    redis_link_script(broadcast->shard->redis, &script_chat_room_join, on_places, call, at, args, NULL);
    return true;
}

/* --- giving places back --- */

struct leaving {
    struct chat *chat;
    const char *args[3 + 2 * CALL_MAX];
    char numbers[2 * CALL_MAX][12];
    int count;
};

static void add_changed(struct room *room, void *context)
{
    struct leaving *leaving = context;
    int at = leaving->count - 3;

    if (room->number == ROOM_EVERY || room->places == room->count || at + 2 > 2 * CALL_MAX)
        return;
    snprintf(leaving->numbers[at], sizeof(leaving->numbers[0]), "%d", room->number);
    snprintf(leaving->numbers[at + 1], sizeof(leaving->numbers[0]), "%zu", room->count);
    leaving->args[leaving->count++] = leaving->numbers[at];
    leaving->args[leaving->count++] = leaving->numbers[at + 1];
    room->places = room->count;
}

static void forget_places(struct room *room, void *context)
{
    if (room->number != ROOM_EVERY)
        room->places = PLACES_UNKNOWN;
}

static void on_left(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;

    broadcast->is_in_flight = false;
    if (code != 0) {
        /* Whether it was done is not known: it is all said again when Redis is back, or with the next second. */
        broadcast->must_restate = true;
        broadcast_each_room(broadcast, forget_places, NULL);
    } else if (reply->type == REDIS_REPLY_INTEGER) {
        broadcast_note_rooms(broadcast, reply->integer);
    }
    join_step(broadcast);
}

static bool give_back(struct broadcast *broadcast)
{
    struct chat *chat = broadcast->chat;
    struct leaving *leaving = alloc_zero(1, sizeof(*leaving));
    bool is_needed;

    if (broadcast->must_restate) {
        free(leaving);
        return false;
    }
    leaving->count = 3;
    broadcast_each_room(broadcast, add_changed, leaving);
    leaving->args[0] = broadcast->id;
    leaving->args[1] = service_instance(chat->service);
    leaving->args[2] = chat->ping_channel;
    is_needed = leaving->count > 3;
    if (is_needed) {
        broadcast->is_in_flight = true;
        redis_link_script(broadcast->shard->redis, &script_chat_room_leave, on_left, broadcast, leaving->count,
                          leaving->args, NULL);
    }
    free(leaving);
    return is_needed;
}

/* --- what drives it --- */

/* Link callbacks may come before the call returns (Redis is down), so nothing is touched behind a call. */
void join_step(struct broadcast *broadcast)
{
    bool may_leave = !broadcast->was_leave;

    if (broadcast->is_in_flight)
        return;
    if (!broadcast->is_known && broadcast->waiting) {
        look_up(broadcast);
        return;
    }
    broadcast->was_leave = true;
    if (may_leave && give_back(broadcast))
        return;
    broadcast->was_leave = false;
    if (broadcast->is_known) {
        sort_out(broadcast);
        if (look_up_rooms(broadcast) || take_places(broadcast))
            return;
    }
    broadcast->was_leave = true;
    if (!may_leave && give_back(broadcast))
        return;
    broadcast->was_leave = false;
    broadcast_release(broadcast);
}

void on_join(struct chat *chat, struct connection *connection)
{
    struct broadcast *broadcast = broadcast_get(chat, connection->broadcast_id);

    connection->broadcast = broadcast;
    broadcast->connections++;
    wait_for_place(broadcast, connection);
    broadcast_touch(broadcast);
}

void on_leave(struct chat *chat, struct connection *connection)
{
    struct broadcast *broadcast = connection->broadcast;

    connection->has_left = true;
    stop_waiting(connection);
    if (connection->room)
        room_leave(connection);
    broadcast->connections--;
    broadcast_touch(broadcast);
    connection_settle(connection);
}

static int restate(const char *key, void *value, void *context)
{
    struct broadcast *broadcast = value;

    broadcast_each_room(broadcast, forget_places, NULL);
    broadcast->must_restate = false;
    broadcast_touch(broadcast);
    return 0;
}

static int retry_restate(const char *key, void *value, void *context)
{
    struct broadcast *broadcast = value;

    broadcast->must_restate = false;
    broadcast_touch(broadcast);
    return 0;
}

void join_tick(struct chat *chat)
{
    table_each(chat->broadcasts, retry_restate, NULL);
}

void broadcast_touch(struct broadcast *broadcast)
{
    if (broadcast->is_touched)
        return;
    broadcast->is_touched = true;
    broadcast->touched_next = broadcast->chat->touched;
    broadcast->chat->touched = broadcast;
}

void join_step_touched(struct chat *chat)
{
    while (chat->touched) {
        struct broadcast *broadcast = chat->touched;

        chat->touched = broadcast->touched_next;
        broadcast->is_touched = false;
        join_step(broadcast);
    }
}

void join_restate(struct chat *chat)
{
    table_each(chat->broadcasts, restate, NULL);
}

struct disconnect {
    const char *user;
};

static void disconnect_in_room(struct room *room, void *context)
{
    const struct disconnect *disconnect = context;

    for (struct connection *one = room->first; one; one = one->room_next)
        if (strcmp(one->user_id, disconnect->user) == 0)
            send_close(one, CLOSE_BANNED, error_text("", "banned", 0));
}

void join_disconnect_user(struct chat *chat, const char *broadcast_id, const char *user)
{
    struct broadcast *broadcast = broadcast_find(chat, broadcast_id);

    if (broadcast)
        broadcast_each_room(broadcast, disconnect_in_room, &(struct disconnect){user});
}
