/* {"type":"comment","ref","text"}: what settings and earlier comments say of it, decorated, into the log. Its form and
 * the connection's rate were checked on the worker (receive.c). */
#include "connection.h"
#include "room.h"
#include "settings_memory.h"
#include "table.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"

#include <stdio.h>

#define MANY_TAKEN          500    /* messages of clients at hand: some 30 ms of work */
#define SENDERS_MAX         200000 /* then only connections are limited, not users */
#define TAKEN_KEPT          4      /* comments of a sender that may come again, because no answer reached it */
#define TAKEN_MS            50000  /* less than script_chat_say knows them for */
#define SENDER_FORGOTTEN_MS 620000 /* longer than any slow mode */

/* What a user said last in a broadcast, on whatever connection. */
struct sender {
    struct token_bucket bucket;
    int64_t said_ms; /* 0: nothing yet */
    uint32_t text_hash;
    struct {
        uint64_t hash; /* of chat_said_key() */
        int64_t at_ms; /* 0: none */
    } taken[TAKEN_KEPT];
    unsigned taken_next;
};

static struct sender *sender_of(struct chat *chat, const struct connection *connection, int64_t now_ms)
{
    char key[2 * ID_SIZE];
    struct sender *sender;

    snprintf(key, sizeof(key), "%s|%s", connection->broadcast_id, connection->user_id);
    sender = table_get(chat->senders, key);
    if (sender || table_count(chat->senders) >= SENDERS_MAX)
        return sender;
    sender = alloc_zero(1, sizeof(*sender));
    token_bucket_init(&sender->bucket, chat->config.rate_burst, now_ms);
    table_set(chat->senders, key, sender);
    return sender;
}

static int forget_sender(const char *key, void *value, void *context)
{
    struct sender *sender = value;

    if (*(int64_t *)context - sender->bucket.at_ms < SENDER_FORGOTTEN_MS)
        return 0;
    free(sender);
    return 1;
}

void senders_sweep(struct chat *chat)
{
    int64_t now_ms = clock_monotonic_ms();

    table_each(chat->senders, forget_sender, &now_ms);
}

/* NULL: welcome; else the error's code. */
static const char *check_settings(struct chat *chat, const struct connection *connection, const char *text)
{
    const struct settings_memory *settings = settings_of(chat);
    struct broadcast *broadcast = connection->broadcast;

    if (connection->role == CHAT_BROADCASTER || connection->role == CHAT_OPERATOR)
        return NULL;
    if (settings_is_banned(settings, broadcast->id, connection->user_id) ||
        settings_is_muted(settings, broadcast->id, connection->user_id, clock_wall_ms()))
        return "muted";
    if (settings_is_blocked(settings, broadcast->owner_id, connection->user_id) || !words_allow(broadcast, text))
        return "blocked";
    return NULL;
}

/* Sent again: it was within all rates before. Whether it stands in the log, only Redis knows. */
static bool is_sent_again(const struct sender *sender, uint64_t said, int64_t now_ms)
{
    for (size_t i = 0; i < TAKEN_KEPT; i++)
        if (sender->taken[i].at_ms && sender->taken[i].hash == said && now_ms - sender->taken[i].at_ms < TAKEN_MS)
            return true;
    return false;
}

static const char *check_sender(struct chat *chat, struct connection *connection, const char *text, uint64_t said,
                                int64_t *retry_after_ms)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t slow_ms = settings_slow_mode_ms(settings_of(chat), connection->broadcast_id);
    struct sender *sender = sender_of(chat, connection, now_ms);
    uint32_t hash = thinning_sender(text);

    if (!sender || (said && is_sent_again(sender, said, now_ms)))
        return NULL;
    if (connection->role == CHAT_VIEWER && slow_ms > 0 && sender->said_ms && now_ms - sender->said_ms < slow_ms) {
        *retry_after_ms = sender->said_ms + slow_ms - now_ms;
        return "slow_mode";
    }
    if (sender->said_ms && sender->text_hash == hash && now_ms - sender->said_ms < chat->config.duplicate_ms)
        return "duplicate";
    if (!token_bucket_take(&sender->bucket, chat->config.rate_burst, chat->config.rate_per_10s, now_ms, retry_after_ms))
        return "rate_limited";
    if (connection->room->number != ROOM_EVERY &&
        !token_bucket_take(&connection->room->bucket, chat->config.room_rate, chat->config.room_rate * 10, now_ms,
                           retry_after_ms))
        return "rate_limited";
    sender->said_ms = now_ms;
    sender->text_hash = hash;
    if (said) {
        sender->taken[sender->taken_next].hash = said;
        sender->taken[sender->taken_next++].at_ms = now_ms;
        sender->taken_next %= TAKEN_KEPT;
    }
    return NULL;
}

/* Field e of the log: the event without its first brace, id and time. To be freed with free(). */
static char *compose(struct chat *chat, const struct connection *connection, const char *text)
{
    const char *decoration = settings_decoration(settings_of(chat), connection->user_id);
    json_t *user = json_pack("{s:s,s:s}", "id", connection->user_id, "name", connection->name);
    json_t *root;
    char *whole;

    if (connection->role > CHAT_VIEWER)
        json_object_set_new(user, "role", json_string(chat_role_name(connection->role)));
    if (decoration)
        json_object_set_new(user, "decoration", json_loads(decoration, 0, NULL));
    root = json_pack("{s:s,s:o,s:s}", "type", "comment", "user", user, "text", text);
    whole = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!whole)
        abort();
    memmove(whole, whole + 1, strlen(whole));
    return whole;
}

/* In a flood, what is read late is worth nothing to viewers, and the work for it would make the next one later still.
 * Without many that wait it is a pause that made it late, and that is over. */
static bool is_too_late(struct chat *chat, const struct message *message)
{
    const struct log_writer *log_writer = message->connection->broadcast->shard->log_writer;
    int64_t now_ms = clock_monotonic_ms();
    bool waited = now_ms - message->at_ms > chat->config.wait_ms && chat->taken_count > MANY_TAKEN;

    if (message->connection->role > CHAT_VIEWER || (!waited && !log_writer_is_behind(log_writer, now_ms)))
        return false;
    metric_add(chat->metrics.shed, 1);
    return true;
}

void handle_comment(struct chat *chat, struct message *message)
{
    struct connection *connection = message->connection;
    char key[CHAT_SAID_KEY_SIZE] = "";
    uint64_t said = 0;
    int64_t retry_after_ms = 0;
    const char *code = connection->room && connection->is_welcome ? NULL : "unavailable";

    if (!code && connection->broadcast->is_over)
        code = "over";
    if (!code && is_too_late(chat, message)) {
        code = "unavailable";
        retry_after_ms = chat->config.retry_after_ms;
    }
    if (!code)
        code = check_settings(chat, connection, message->text);
    if (message->ref[0])
        said = chat_said_key(connection->user_id, message->ref, message->text, key);
    if (!code)
        code = check_sender(chat, connection, message->text, said, &retry_after_ms);
    if (code) {
        send_error(connection, message->ref, code, retry_after_ms);
        return;
    }
    /* Those who see every room are heard in every room. */
    log_writer_add(connection->room->broadcast->shard->log_writer, connection, message->ref, key,
                   connection->room->number, compose(chat, connection, message->text));
}
