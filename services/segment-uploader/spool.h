/* Segments on disk while the store is away: one file per entry of a broadcast's queue, holding all its bytes. The entry
 * itself stays unacknowledged in Redis, which keeps the order; so whoever claims the broadcast and has this folder
 * finds the bytes again under the entry's id, when they have long expired on the media Redis. Loop thread only. */
#pragma once

#include "libcommon/disk.h"

#include "proto/segment_entry.h"

struct metrics;
struct spool;

/* The bytes of one segment: by index of the entry's renditions, and the thumbnail; NULL where there is none. */
struct segment_media {
    struct blob *renditions[SEGMENT_MAX_RENDITIONS];
    int renditions_count;
    struct blob *thumbnail;
};
void segment_media_clear(struct segment_media *media); /* drops the references */
size_t segment_media_bytes(const struct segment_media *media);

/* One blob <-> a segment's media. Decoding makes slices of `blob`; -1: damaged. NULL when memory is out. */
struct blob *spool_encode(const struct segment_media *media);
int spool_decode(struct blob *blob, struct segment_media *media);

/* Makes the folder when it is missing; removes what is older than a day (nobody came for it) and counts the rest. NULL
 * with a sentence in `error`. */
struct spool *spool_create(struct event_base *loop, const char *folder, int64_t max_bytes, struct metrics *metrics,
                           char *error, size_t error_size);
void spool_destroy(struct spool *spool);
/* Is there room for so much? When not, bytes stay on the media Redis for as long as they live there. */
bool spool_has_room(const struct spool *spool, size_t bytes);
typedef void (*spool_done_fn)(int error, struct blob *blob, void *context); /* as disk_done_fn */
void spool_put(struct spool *spool, const char *broadcast, const char *entry_id, const struct segment_media *media,
               spool_done_fn done, void *context);
/* ENOENT: not here. */
void spool_get(struct spool *spool, const char *broadcast, const char *entry_id, spool_done_fn done, void *context);
/* `bytes`: how much room that makes; nothing happens when it is not there. */
void spool_remove(struct spool *spool, const char *broadcast, const char *entry_id, size_t bytes);
/* The broadcast is over: its folder goes when it is empty. */
void spool_remove_broadcast(struct spool *spool, const char *broadcast);
