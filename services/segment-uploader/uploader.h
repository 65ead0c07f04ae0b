/* The state of one segment-uploader process. Loop thread only.
 *
 * claimer.c decides which broadcasts are ours (a lease each), broadcast_*.c do the work of one, keeper.c keeps the
 * clock of all, segment_rows.c writes the rows. Who looks for the life of a segment starts in broadcast_queue.c (entry
 * -> bytes) and goes on in broadcast_publish.c (bytes -> objects -> playlists -> done). */
#pragma once

#include "libcommon/store.h"
#include "services/segment-uploader/config.h"
#include "services/segment-uploader/playlist.h"
#include "services/segment-uploader/purge.h"
#include "services/segment-uploader/spool.h"

#include "libcommon/lease.h"
#include "libcommon/redis_link.h"

#include <sys/queue.h>

struct broadcast;
struct claimer;
struct db;
struct event_base;
struct keeper;
struct metric;
struct service;
struct subscriber;

struct uploader_metrics {
    struct metric *broadcasts, *queue_age, *queued_segments, *memory_bytes;
    struct metric *segments, *segments_late, *segments_lost, *segments_repeated;
    struct metric *playlists, *retries, *rows, *rows_failed, *rows_lost;
    struct metric *upload_seconds, *publish_seconds, *camera_seconds;
};

struct uploader {
    struct service *service;
    struct event_base *loop;
    const struct uploader_config *config;
    char alive_channel[KEY_MAX];
    struct redis_link *state, *media; /* the same one when there is one Redis */
    struct subscriber *subscriber;
    struct db *db;
    struct store *store;
    struct spool *spool;
    struct purge *purge;
    struct claimer *claimer;
    struct keeper *keeper;
    LIST_HEAD(, broadcast) broadcasts; /* also those that are over and wait for their operations */
    size_t memory_bytes;               /* of media of all broadcasts, under way included */
    struct uploader_metrics metrics;
};

/* ---- claimer.c ---- */

struct claimer *claimer_create(struct uploader *uploader);
void claimer_destroy(struct claimer *claimer);
/* CHANNEL_SEGMENT_QUEUED or CHANNEL_BROADCAST named it: try at once. */
void claimer_wake(struct claimer *claimer, const char *id);
/* CHANNEL_BROADCAST: it has ended. Its playlist must be closed, by whoever: queued for all uploaders. */
void claimer_on_ended(struct claimer *claimer, const char *id);
/* Everything may have been missed: look at all. */
void claimer_wake_all(struct claimer *claimer);
/* Takes no new broadcasts and gives the own ones back; then service_drained(). */
void claimer_drain(struct claimer *claimer);
/* At the end of the process: all leases are given back, nothing goes on. */
void claimer_release_all(struct claimer *claimer);
/* From broadcast.c: it is not ours any more (over, lost or given back). Takes `playlist` over as the memory of it
 * (NULL: nothing worth keeping). */
void claimer_on_released(struct claimer *claimer, const char *id, struct playlist *playlist);

/* ---- keeper.c ---- */

struct keeper *keeper_create(struct uploader *uploader);
/* The state Redis is there, for the first time or again. */
void keeper_on_redis_up(struct keeper *keeper);
void keeper_destroy(struct keeper *keeper);
