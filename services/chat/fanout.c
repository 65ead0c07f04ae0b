/* From Redis to the workers: which room an event is for, whether it was there already, whether its viewers get it. */
#include "room.h"
#include "table.h"
#include "worker.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/subscriber.h"
#include "proto/keys.h"

#include <stdio.h>

/* Messages that wait for a worker; behind that it is not keeping up, and comments for it are dropped. */
#define WORKER_QUEUE_MAX 20000

/* Gifts, the broadcaster and the system are never thinned. */
static bool may_be_thinned(const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));

    return type && strcmp(type, "comment") == 0 && !json_object_get(json_object_get(event, "user"), "role");
}

static bool admit(struct room *room, const json_t *event)
{
    const char *user = json_string_value(json_object_get(json_object_get(event, "user"), "id"));
    const char *id_text = json_string_value(json_object_get(event, "id"));
    struct chat_event_id id;

    if (id_text && chat_event_id_parse(id_text, &id) == 0) {
        if (room->has_seen && chat_event_id_compare(id, room->seen) <= 0)
            return false;
        room->seen = id;
        room->has_seen = true;
    }
    if (!may_be_thinned(event) || thinning_admit(&room->thinning, thinning_sender(user ? user : ""),
                                                 json_integer_value(json_object_get(event, "at_ms"))))
        return true;
    metric_add(room->broadcast->chat->metrics.thinned, 1);
    return false;
}

static void post(struct room *room, struct event_batch *batch)
{
    struct chat *chat = room->broadcast->chat;

    for (size_t i = 0; i < chat->worker_count; i++) {
        struct message *message;

        if (room->worker_count[i] == 0)
            continue;
        if (message_queue_count(&chat->workers[i]->queue) > WORKER_QUEUE_MAX) {
            metric_add(chat->metrics.skipped, (double)batch->count);
            continue;
        }
        message = message_create(MESSAGE_EVENTS, NULL);
        message->audience = room->audience;
        message->batch = event_batch_ref(batch);
        message_queue_push(&chat->workers[i]->queue, message);
    }
    event_batch_unref(batch);
}

void fanout_to_room(struct room *room, const char *message, size_t len)
{
    struct event_batch *batch = NULL;
    size_t offset = 0, text_len;
    const char *text;
    json_t *event;
    int got;

    /* Under a flood most of them are not for the viewers: nothing is made for those. */
    while ((got = chat_events_next(message, len, &offset, &event, &text, &text_len)) == 1) {
        if (admit(room, event))
            batch = event_batch_append(batch, text, text_len, json_integer_value(json_object_get(event, "at_ms")));
        json_decref(event);
    }
    if (got < 0) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "chat.malformed_message", log_str("broadcast", room->broadcast->id));
    }
    if (batch)
        post(room, batch);
}

/* --- from the channels --- */

static void hand_over(struct room *room, const char *message, size_t len)
{
    enum subscriber_state state;

    if (!room || room->count == 0 || !room->is_live)
        return;
    state = subscriber_get_state(room->broadcast->shard->subscriber);
    /* Before the subscription is whole again, and until the log was read, order is kept by waiting. */
    if (room->is_catching_up || (state != SUBSCRIBER_LIVE && state != SUBSCRIBER_SUSPECT))
        sync_hold(room, message, len);
    else
        fanout_to_room(room, message, len);
}

struct delivery {
    const char *message;
    size_t len;
};

static void hand_over_each(struct room *room, void *context)
{
    const struct delivery *delivery = context;

    hand_over(room, delivery->message, delivery->len);
}

static void remember_viewers(struct broadcast *broadcast, const char *message, size_t len)
{
    if (len < 20 || strncmp(message, "[{\"type\":\"viewers\"", 18) != 0)
        return;
    free(broadcast->viewers);
    broadcast->viewers = alloc_zero(1, len);
    memcpy(broadcast->viewers, message + 1, len - 2);
}

static void on_control(struct broadcast *broadcast, const char *message, size_t len)
{
    json_t *root = json_loadb(message, len, 0, NULL);

    if (broadcast_note_rooms(broadcast, json_integer_value(json_object_get(root, "rooms"))))
        broadcast_update_channels(broadcast);
    json_decref(root);
}

static void on_all_message(struct chat *chat, const char *id, const char *message, size_t len)
{
    struct broadcast *broadcast = broadcast_find(chat, id);

    if (!broadcast)
        return;
    if (message[0] == '{') {
        on_control(broadcast, message, len);
        return;
    }
    remember_viewers(broadcast, message, len);
    broadcast_each_room(broadcast, hand_over_each, &(struct delivery){message, len});
}

static void on_room_message(struct chat *chat, const char *name, const char *message, size_t len)
{
    const char *colon = strrchr(name, ':');
    char id[ID_SIZE];
    struct broadcast *broadcast;
    int number;

    if (!colon || colon - name >= ID_SIZE)
        return;
    snprintf(id, sizeof(id), "%.*s", (int)(colon - name), name);
    number = atoi(colon + 1);
    broadcast = broadcast_find(chat, id);
    if (!broadcast)
        return;
    if (message[0] == '{') {
        sync_on_answer(broadcast, number, message, len);
        return;
    }
    hand_over(broadcast_room(broadcast, number, false), message, len);
    hand_over(broadcast->every, message, len);
}

void fanout_on_message(struct chat *chat, const char *channel, const char *message, size_t len)
{
    if (strncmp(channel, CHANNEL_CHAT_ROOM, sizeof(CHANNEL_CHAT_ROOM) - 1) == 0)
        on_room_message(chat, channel + sizeof(CHANNEL_CHAT_ROOM) - 1, message, len);
    else if (strncmp(channel, CHANNEL_CHAT_ALL, sizeof(CHANNEL_CHAT_ALL) - 1) == 0)
        on_all_message(chat, channel + sizeof(CHANNEL_CHAT_ALL) - 1, message, len);
    else if (strcmp(channel, CHANNEL_SETTING) == 0)
        settings_on_message(chat, message, len);
    else if (strcmp(channel, CHANNEL_BROADCAST) == 0)
        state_on_message(chat, message, len);
}

/* --- events of our own making, to those who are here --- */

static void post_text(struct room *room, void *context)
{
    if (room->count > 0)
        post(room, event_batch_append(NULL, context, strlen(context), 0));
}

void fanout_local(struct broadcast *broadcast, const char *event_text)
{
    broadcast_each_room(broadcast, post_text, (void *)event_text);
}

static int post_everywhere(const char *key, void *value, void *context)
{
    fanout_local(value, context);
    return 0;
}

void fanout_everywhere(struct chat *chat, const char *event_text)
{
    table_each(chat->broadcasts, post_everywhere, (void *)event_text);
}
