/* The broadcasts and rooms in which this process has connections. Loop thread only.
 *
 * A viewer's way in: the broadcast is looked up, a place is taken in a room (join.c), the room's channel is subscribed
 * and heard (sync.c), then the connection is welcome. A room is *live* here when we have heard our own question on its
 * channel: from then on `seen` is exact, and whatever is newer will be heard. */
#pragma once

#include "chat.h"
#include "connection.h"
#include "libcommon/token_bucket.h"
#include "thinning.h"

#include <stddef.h>

#define PLACES_UNKNOWN SIZE_MAX
#define ROOM_EVERY     (-1) /* the pseudo-room of those who see all rooms */

struct held_message {
    struct held_message *next;
    char *text;
    size_t len;
};

struct room {
    struct broadcast *broadcast;
    int number;
    uint64_t audience;
    struct connection *first;
    size_t count;
    size_t places; /* that Redis counts for us */
    size_t worker_count[CHAT_MAX_WORKERS];
    bool is_live, is_catching_up;
    int sync_number;       /* on which room's channel the question was asked */
    int64_t sync_asked_ms; /* 0: not */
    struct chat_event_id seen;
    bool has_seen;
    struct thinning thinning;
    struct token_bucket bucket; /* comments taken from here */
    struct held_message *held_first, **held_last;
    size_t held_count;
};

struct broadcast {
    struct chat *chat;
    struct chat_shard *shard; /* where its log and its rooms are */
    char id[ID_SIZE];
    char owner_id[ID_SIZE];
    bool is_known, is_in_flight, was_leave, must_restate, is_touched;
    struct broadcast *touched_next;
    int pending; /* callbacks under way that will touch it */
    size_t connections;
    struct connection *waiting; /* for the look-up or for a place, newest first */
    struct room **rooms;        /* by number; NULL: never used here */
    size_t room_slots;
    struct room *every;    /* NULL: never used here */
    int rooms_known;       /* that exist on all processes together */
    int64_t state_version; /* the last state shown */
    bool is_over;          /* it has ended: nothing more is said in it */
    char *viewers;         /* the last {"type":"viewers"} event */
    bool is_all_subscribed;
    char **words; /* that its broadcaster does not allow, lower case */
    size_t word_count;
    int64_t words_until_ms;
    bool words_loading;
};

/* room.c: what there is. */
struct broadcast *broadcast_find(struct chat *chat, const char *id);
struct broadcast *broadcast_get(struct chat *chat, const char *id); /* makes it */
struct room *broadcast_room(struct broadcast *broadcast, int number, bool create);
/* Lets go of it when nothing needs it any more; true: it is gone. */
bool broadcast_release(struct broadcast *broadcast);
void broadcast_free(void *broadcast);
void broadcast_each_room(struct broadcast *broadcast, void (*visit)(struct room *room, void *context), void *context);
void room_enter(struct room *room, struct connection *connection);
void room_leave(struct connection *connection);
/* Subscribes and unsubscribes as the broadcast's rooms need. */
void broadcast_update_channels(struct broadcast *broadcast);
/* Somebody says that there are so many rooms; true when that is news. */
bool broadcast_note_rooms(struct broadcast *broadcast, int64_t rooms);
/* The last callback is done and the connection has left: it may be freed. */
void connection_settle(struct connection *connection);

/* join.c: into a room and out of it. */
void on_join(struct chat *chat, struct connection *connection);
void on_leave(struct chat *chat, struct connection *connection);
/* Something has changed: its next step follows when all messages at hand are done. */
void broadcast_touch(struct broadcast *broadcast);
void join_step_touched(struct chat *chat);
void join_step(struct broadcast *broadcast);
void join_tick(struct chat *chat);
/* Redis may have lost what we hold: say it again. */
void join_restate(struct chat *chat);
void join_disconnect_user(struct chat *chat, const char *broadcast, const char *user);

/* sync.c: whether a room's channel is heard, and what was missed. */
void sync_ask(struct room *room);
void sync_on_answer(struct broadcast *broadcast, int number, const char *message, size_t len);
void sync_on_resubscribed(struct chat *chat);
void sync_hold(struct room *room, const char *message, size_t len);
void sync_retry(struct chat *chat, int64_t now_ms);
void room_welcome(struct room *room, struct connection *connection);

/* fanout.c: from Redis to the workers. */
void fanout_on_message(struct chat *chat, const char *channel, const char *message, size_t len);
void fanout_to_room(struct room *room, const char *message, size_t len);
void fanout_local(struct broadcast *broadcast, const char *event_text);
void fanout_everywhere(struct chat *chat, const char *event_text);

/* state.c: whether it is on air. */
void state_note(struct broadcast *broadcast, const char *name);
void state_on_message(struct chat *chat, const char *message, size_t len);
void state_on_resubscribed(struct chat *chat);

/* presence.c */
void presence_tick(struct chat *chat, int64_t now_ms);

/* reaper.c: places of processes that are gone. */
void reaper_tick(struct chat *chat, int64_t now_ms);

/* settings.c: from MySQL and the channel into settings_memory.c. */
struct settings *settings_create(struct chat *chat);
void settings_destroy(struct settings *settings);
void settings_on_message(struct chat *chat, const char *message, size_t len);
void settings_on_resubscribed(struct chat *chat);
void settings_tick(struct chat *chat, int64_t now_ms);
bool settings_ready(void *settings, char *why, size_t why_size);
struct settings_memory *settings_of(struct chat *chat);
/* These are over: what was set in them is forgotten. */
void settings_forget(struct chat *chat, const struct table *broadcasts);
/* settings_over.c: finds them. */
struct settings_sweeper *settings_sweeper_create(struct chat *chat);
void settings_sweeper_destroy(struct settings_sweeper *sweeper);
void settings_sweeper_tick(struct settings_sweeper *sweeper, int64_t now_ms);
/* words.c: the lists that may lag. */
bool words_allow(struct broadcast *broadcast, const char *text);
void words_refresh(struct broadcast *broadcast);
void words_clear(struct broadcast *broadcast);

/* handle_*.c: a file per verb. */
void handle_comment(struct chat *chat, struct message *message);
void handle_delete(struct chat *chat, struct message *message);
void senders_sweep(struct chat *chat);

/* log_writer.c: into the log and out to the rooms, then the acknowledgement. */
struct log_writer *log_writer_create(struct chat *chat, struct redis_link *redis);
void log_writer_destroy(struct log_writer *writer);
/* Takes `e` (field e of the log); `room` ROOM_EVERY: an event for all; `key`: see chat_said_key(), "": none. */
void log_writer_add(struct log_writer *writer, struct connection *connection, const char *ref, const char *key,
                    int room, char *e);
void log_writer_flush(struct log_writer *writer);
bool log_writer_is_idle(const struct log_writer *writer);
/* More waits for Redis than one answer of it lets through, and has waited for longer than HANABI_CHAT_WAIT_MS. */
bool log_writer_is_behind(const struct log_writer *writer, int64_t now_ms);
