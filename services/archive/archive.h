/* State of the archive service. Today its first piece: comment logs move from Redis to MySQL all the time (mover.c,
 * comment_rows.c). Loop thread only, except where it says "on a database worker". */
#pragma once

#include "libcommon/config.h"
#include "libcommon/db.h"
#include "libcommon/redis_shards.h"
#include "proto/broadcast.h"
#include "proto/chat.h"
#include "proto/playback_url.h"

#include <jansson.h>

struct archive_sweeper;
struct archiver;
struct memory_watch;
struct channel_cache;
struct exporter;
struct mover;
struct event;
struct http_request;
struct http_server;
struct store;
struct redis_link;
struct service;
struct subscriber;

struct archive_config {
    struct config_listen listen;
    const char *redis_url;
    const char *chat_redis_url;
    const char *mysql_url;
    const char *jwt_secret;
    const char *hls_secret;
    const char *seal_secret;
    int64_t playback_window_s;
    const char *store_url, *s3_access_key, *s3_secret_key;
    bool store_sync;
    int64_t store_operations;
    int64_t share_window_s;
    int64_t playout_channels, playout_memory_mb;
    int64_t settle_ms;
    int64_t max_age_days;
    int64_t prune_days;
    const char *die_after;
    bool is_exporting;
    int64_t export_interval_ms, export_max_lines;
    int64_t batch;
    int64_t tail_entries;
    int64_t tail_ms;
};

struct archive {
    struct archive_config config;
    struct service *service;
    struct redis_link *state;      /* the state Redis: broadcasts, and the leases for what is done about them */
    struct redis_shards redis;     /* the chat Redis, one or several: logs, and the leases for them; may be the same */
    struct subscriber *subscriber; /* on the state Redis: CHANNEL_BROADCAST, and our ping */
    /* Our ping on each chat Redis that is not the state Redis. */
    struct subscriber *chat_subscribers[REDIS_SHARDS_MAX];
    size_t chat_subscriber_count;
    struct store *store;
    struct http_server *http;
    struct event *drain_poll;
    struct db *db;
    struct mover *movers[REDIS_SHARDS_MAX]; /* one for each chat Redis */
    struct memory_watch *memory_watch;
    struct archiver *archiver;
    struct archive_sweeper *sweeper;
    struct channel_cache *channels;
    struct exporter *exporter; /* NULL: off */
};

extern const struct config_row archive_config_rows[];

/* What an archive adds below live/<id>/, next to the segments that were live. */
#define ARCHIVE_RECORDING_FILE                                                                                         \
    "recording.m3u8" /* the multivariant playlist, and in each rendition's folder its own                              \
                      */
#define ARCHIVE_STORYBOARD_FILE "storyboard.json"
#define ARCHIVE_REPLAY_FOLDER   "chat"
#define ARCHIVE_REPLAY_INDEX    "index.json"
/* Where the playlists of private ones are answered, by token. */
#define ARCHIVE_PLAYOUT_PATH "/playout/archives/"

/* As db_submit(); DB_FULL when the database has been taken down already: Redis' last callbacks come after that. */
static inline int archive_submit(struct archive *archive, db_run_fn run, db_done_fn done, void *job)
{
    return archive->db ? db_submit(archive->db, run, done, job) : DB_FULL;
}

static inline struct playback_signer archive_signer(const struct archive *archive)
{
    return (struct playback_signer){archive->config.hls_secret, archive->config.playback_window_s};
}

/* --- mover.c --- */

/* Of the logs on one chat Redis. */
struct mover *mover_create(struct archive *archive, size_t shard);
/* Takes no new broadcast; mover_is_idle() when the batches under way are done. */
void mover_drain(struct mover *mover);
bool mover_is_idle(const struct mover *mover);
/* After mover_drain(), and after the database and the link have called back. NULL is fine. */
void mover_destroy(struct mover *mover);

/* --- comment_rows.c --- */

/* An entry of a log, parsed. */
struct comment_row {
    struct chat_event_id id;
    char type[17];
    int room;     /* -1: all */
    char *event;  /* owned: as delivered */
    json_t *json; /* owned: the same; the texts below point into it, or are NULL */
    const char *user_id, *user_name, *text;
    struct chat_event_id target; /* of a deletion */
    bool is_deletion;
};

/* 0, or -1: not an entry of ours. */
int comment_row_parse(const char *id, const char *room, const char *e, size_t e_len, struct comment_row *row);
void comment_row_clear(struct comment_row *row);
/* On a database worker, in one transaction; a repetition changes nothing. 0 or a db_error. */
int comment_rows_write(struct db_connection *connection, const char *broadcast, const struct comment_row *rows,
                       size_t count);
