/* One broadcast that this process owns: its queue, its playlist, its lease. The parts of its work are one file each:
 *
 *   broadcast.c          life: lease, timer, ended, release
 *   broadcast_load.c     the playlist's state: memory, Redis, else what the store shows
 *   broadcast_queue.c    entries of the Redis stream -> bytes in memory, or on the spool
 *   broadcast_publish.c  the first of the queue -> objects, playlists, purge, done; also the closing
 *
 * Everything asynchronous counts in `operations`; the object dies when it was released and that is zero. Loop thread
 * only. */
#pragma once

#include "services/segment-uploader/uploader.h"

#include "libcommon/backoff.h"

#include <sys/queue.h>

#define ENTRY_ID_SIZE   48
#define QUEUE_MAX       120 /* entries known at once: 4 minutes, longer than parts live on the media Redis */
#define QUEUE_IN_MEMORY 4   /* what is deeper in the queue goes to the spool at once */
#define SPOOL_AFTER_MS  4000
#define ROW_BATCH       50

enum job_state {
    JOB_WAITING,   /* for memory */
    JOB_FETCHING,  /* from the media Redis */
    JOB_SEARCHING, /* parts are gone there: on the spool? */
    JOB_READY,     /* bytes in memory */
    JOB_SPOOLED,   /* bytes on the spool only */
    JOB_LOADING,   /* from the spool */
    JOB_LOST,      /* no bytes anywhere */
};

/* One entry of the queue. */
struct job {
    TAILQ_ENTRY(job) link;
    struct broadcast *broadcast;
    char entry_id[ENTRY_ID_SIZE];
    struct segment_entry entry;
    bool is_broken; /* not an entry at all */
    enum job_state state;
    struct segment_media media;
    size_t bytes;    /* as the entry says, thumbnail not included */
    size_t reserved; /* of the process's memory */
    int fetches;     /* parts not yet answered */
    int pending;     /* everything asynchronous that refers to this job */
    bool is_missing[SEGMENT_MAX_RENDITIONS], is_fetch_failed;
    bool is_redelivered, is_spooling, is_on_spool;
    bool is_done, is_gone; /* published; off the queue */
    int64_t queued_ms;
};

enum broadcast_state_of_work {
    BROADCAST_LOADING, /* the playlist's state */
    BROADCAST_RUNNING,
    BROADCAST_OVER, /* lease lost, given back, or all done: waits for its operations */
};

enum publish_stage {
    PUBLISH_IDLE,
    PUBLISH_OBJECTS,
    PUBLISH_PLAYLISTS,
    PUBLISH_MULTIVARIANT,
    PUBLISH_DONE,
};

struct broadcast {
    LIST_ENTRY(broadcast) link;
    struct uploader *uploader;
    char id[ID_SIZE];
    struct lease *lease;
    enum broadcast_state_of_work state;
    int operations;
    bool is_draining; /* give it back when nothing is being published */
    struct event *timer;
    struct playlist playlist;

    /* broadcast_load.c */
    struct playlist *memory;
    int loading_rendition;

    /* broadcast_queue.c */
    TAILQ_HEAD(, job) queue;
    int queue_count;
    char read_after[ENTRY_ID_SIZE]; /* pending entries are read from here on; "" once all have been */
    bool pending_seen;              /* since the last look for new entries */
    bool is_reading, read_again;
    bool has_group;
    bool was_empty; /* the last read found nothing new */

    /* broadcast_publish.c */
    enum publish_stage stage;
    unsigned todo, failed, under_way; /* bits: what of the stage is to be done, has failed, is going on */
    struct event *retry_timer;
    struct backoff retry;
    bool force_discontinuity;
    bool is_closing;     /* ended, and nothing more comes: write ENDLIST */
    bool is_new_segment; /* the stages are those of a segment that viewers have not seen */
    bool was_closed_now, is_multivariant_new, is_last;
    int64_t segment_started_us;

    /* what Redis says of it */
    bool is_ended, is_streaming;
    int64_t ended_seen_ms, unknown_since_ms, looked_ms, ended_at_ms;
    bool is_looking;

    /* segment_rows.c */
    bool rows_under_way;
    int64_t rows_not_before_ms;
    struct backoff rows_retry;
};

/* Takes the lease and (if not NULL) the memory of an earlier time. */
struct broadcast *broadcast_create(struct uploader *uploader, const char *id, struct lease *lease,
                                   struct playlist *memory);
/* Something may have happened: look at the queue, at the state. */
void broadcast_wake(struct broadcast *broadcast);
void broadcast_on_ended(struct broadcast *broadcast);
/* The lease is gone: stop at once. */
void broadcast_on_lease_lost(struct broadcast *broadcast);
/* Finish the segment under way, then give the broadcast back. */
void broadcast_drain(struct broadcast *broadcast);
/* At the very end of the process: no callback can come any more. */
void broadcast_destroy(struct broadcast *broadcast);
/* How long the first of the queue has been waiting, 0 for an empty one. */
int64_t broadcast_queue_age_ms(const struct broadcast *broadcast);

/* ---- among the files of one broadcast ---- */

/* Goes on wherever something can go on. Safe to call at any time. */
void broadcast_pump(struct broadcast *broadcast);
void broadcast_operation_began(struct broadcast *broadcast);
/* False: the broadcast is over, and may be freed now: return at once, touching nothing of it. */
bool broadcast_operation_ended(struct broadcast *broadcast);
void broadcast_release(struct broadcast *broadcast);

void broadcast_load(struct broadcast *broadcast);

void queue_read(struct broadcast *broadcast);
void queue_fetch(struct broadcast *broadcast);
/* It is done with: also its spooled bytes go. */
void queue_remove(struct broadcast *broadcast, struct job *job);
/* All leave the queue, to be read again by whoever comes next; what is spooled stays. */
void queue_clear(struct broadcast *broadcast);

void publish_next(struct broadcast *broadcast);
void publish_cancel(struct broadcast *broadcast);

/* ---- segment_rows.c ---- */

/* Writes the rows that MySQL does not have yet, in the background. */
void segment_rows_write(struct broadcast *broadcast);
bool segment_rows_are_saved(const struct broadcast *broadcast);
/* The broadcast is being given up: the same once, of what viewers have seen, without another try. The next owner finds
 * in Redis what MySQL does not have; if Redis was emptied it finds nothing, and these rows are nowhere else. */
void segment_rows_write_behind(struct broadcast *broadcast);
