/* State of the chat service: one loop thread (Redis, MySQL, rooms, settings) and websocket workers. See README.md for
 * the way of a comment through the files. Everything here belongs to the loop thread unless it says otherwise. */
#pragma once

#include "message.h"

#include "libcommon/config.h"
#include "libcommon/redis_shards.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct audience_log;
struct broadcast;
struct db;
struct event;
struct log_writer;
struct metric;
struct redis_link;
struct service;
struct settings;
struct settings_sweeper;
struct subscriber;
struct table;
struct worker;

#define CHAT_MAX_WORKERS 64

/* Constant after start: read by all threads. */
struct chat_config {
    struct config_listen listen;
    const char *redis_url, *chat_redis_url, *mysql_url, *jwt_secret;
    int64_t workers, room_size;
    int64_t frame_ms, frame_events, ring_frames, ring_kb;
    int64_t room_budget, broadcaster_budget;
    int64_t rate_burst, rate_per_10s, room_rate, duplicate_ms;
    int64_t max_connections, memory_mb, socket_send_kb, slow_ms, ping_s;
    bool is_exporting;
    int64_t audience_log_ms, audience_log_pending, audience_log_mb;
    int64_t append_pending, wait_ms, history, presence_ms, reap_ms, drain_spread_ms, retry_after_ms;
    int64_t settings_keep_s;
};
extern const struct config_row chat_config_rows[];

/* Any thread. */
struct chat_metrics {
    struct metric *connections, *rooms, *broadcasts;
    struct metric *offered, *accepted, *delivered, *thinned, *skipped, *shed;
    struct metric *slow_closed, *refused_full, *queue_bytes;
    struct metric *delivery_seconds, *append_seconds;
    struct metric *setting_version, *setting_lag, *setting_gaps, *settings;
    struct metric *reaped, *resynced;
};

/* One chat Redis. */
struct chat_shard {
    struct redis_link *redis;
    struct subscriber *subscriber;
    struct log_writer *log_writer;
};

struct chat {
    struct chat_config config;
    struct chat_metrics metrics;
    struct service *service;

    struct chat_shard shards[REDIS_SHARDS_MAX]; /* the chat Redis, or the several among which broadcasts are spread */
    size_t shard_count;
    struct redis_link *state_redis;      /* the first shard's unless HANABI_CHAT_REDIS_URL says otherwise */
    struct subscriber *state_subscriber; /* likewise */
    char ping_channel[200];
    struct db *db;

    struct message_queue inbox; /* from the workers; any thread */
    int inbox_fd;               /* eventfd that says so */
    struct event *inbox_event, *taken_event, *tick_event;
    struct message *taken, **taken_last; /* out of the inbox, oldest first: see on_inbox() */
    size_t taken_count;
    struct worker *workers[CHAT_MAX_WORKERS];
    size_t worker_count, workers_quiet;
    bool is_draining, is_stopping;
    int64_t presence_due_ms, reap_due_ms, second_due_ms, sweep_due_ms;

    struct table *broadcasts; /* id -> struct broadcast, those with a connection here */
    struct table *senders;    /* "broadcast|user" -> struct sender, see handle_comment.c */
    struct broadcast *touched;
    uint64_t next_audience, next_reader;
    struct audience_log *audience_log; /* NULL: off */
    struct settings *settings;
    struct settings_sweeper *settings_sweeper;

    /* Any thread: what admission control looks at. */
    atomic_llong connection_count;
    atomic_llong queued_bytes; /* frames in rings, private queues, events on their way */
};

/* To a worker's connection, from the loop. Both take `text`. */
void send_private(struct connection *connection, char *text);
void send_close(struct connection *connection, int code, char *text);
/* {"type":"error","ref"?,"code","message"} to one connection. `retry_after_ms` 0: not said. */
void send_error(struct connection *connection, const char *ref, const char *code, int64_t retry_after_ms);
char *error_text(const char *ref, const char *code, int64_t retry_after_ms);

/* Close codes of our own. */
enum { CLOSE_TOKEN = 4401, CLOSE_BANNED = 4403, CLOSE_UNKNOWN_BROADCAST = 4404, CLOSE_SLOW = 4408, CLOSE_FULL = 4503 };
