/* The state of a broadcast, passed on to its viewers. The message says that it changed; what counts stands in Redis,
 * and is read again when messages may have been missed. */
#include "room.h"
#include "table.h"

#include "libcommon/clock.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"

#include <hiredis/hiredis.h>

void state_note(struct broadcast *broadcast, const char *name)
{
    enum broadcast_state state = broadcast_state_from_name(name);

    /* Nothing follows these two. */
    if (state == BROADCAST_ENDED || state == BROADCAST_ARCHIVED)
        broadcast->is_over = true;
}

/* Each version once, and never an older one. */
static void show(struct broadcast *broadcast, const char *state, int64_t version, int64_t at_ms)
{
    json_t *root;
    char *text;

    if (version <= broadcast->state_version)
        return;
    broadcast->state_version = version;
    state_note(broadcast, state);
    root = json_pack("{s:s,s:s,s:I,s:I}", "type", "state", "state", state, "version", (json_int_t)version, "at_ms",
                     (json_int_t)at_ms);
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (text)
        fanout_local(broadcast, text);
    free(text);
}

void state_on_message(struct chat *chat, const char *message, size_t len)
{
    struct broadcast_state_event event;
    struct broadcast *broadcast;

    if (broadcast_state_event_parse(message, len, &event) != 0)
        return;
    broadcast = broadcast_find(chat, event.id);
    if (broadcast)
        show(broadcast, broadcast_state_name(event.state), event.version, event.at_ms);
}

static void on_state(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;

    broadcast->pending--;
    if (code == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING && reply->element[1]->type == REDIS_REPLY_STRING)
        show(broadcast, reply->element[0]->str, strtoll(reply->element[1]->str, NULL, 10), clock_wall_ms());
    broadcast_touch(broadcast);
}

static int read_state(const char *id, void *value, void *context)
{
    struct broadcast *broadcast = value;
    char key[KEY_MAX];

    broadcast->pending++;
    redis_link_command(broadcast->chat->state_redis, on_state, broadcast, 4,
                       (const char *[]){"HMGET", key_of(key, KEY_BROADCAST, id), "state", "version"}, NULL);
    return 0;
}

void state_on_resubscribed(struct chat *chat)
{
    table_each(chat->broadcasts, read_state, NULL);
}
