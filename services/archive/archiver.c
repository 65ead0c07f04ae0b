#include "archiver.h"

#include "archive_making.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/lease.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/keys.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define LOOK_EVERY_MS   1000
#define LOOK_LIMIT      200
#define MAX_MAKINGS     4    /* each holds a recording's timeline and a few files in memory */
#define CLOCKS_APART_MS 1000 /* between Redis, which dates comments, and us */
/* A transcoder that still has the broadcast this long after its end does not come back with a segment. */
#define TRANSCODER_GONE_MS 60000

struct candidate {
    LIST_ENTRY(candidate) link;
    struct archiver *archiver;
    char id[ID_SIZE];
    int64_t ended_at_ms;
    struct lease *lease;
    struct archive_making *making;
};

struct look {
    struct archiver *archiver;
    int64_t oldest_ms; /* 0: none */
    struct {
        char id[ID_SIZE];
        int64_t ended_at_ms;
    } found[LOOK_LIMIT];
    size_t count;
    int64_t after_ms; /* where the next look goes on: whoever waits for long must not hide the others */
    char after_id[ID_SIZE];
    int code;
};

struct archiver {
    struct archive *archive;
    struct event *timer;
    LIST_HEAD(, candidate) candidates;
    size_t count, makings;
    int64_t after_ms;
    char after_id[ID_SIZE];
    bool is_looking, is_draining;
    struct metric *oldest, *made, *failures;
    struct log_limiter limiter;
};

static void arm(struct archiver *archiver, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    if (!archiver->is_draining)
        evtimer_add(archiver->timer, &delay);
}

/* --- one broadcast --- */

static void drop(struct candidate *candidate)
{
    LIST_REMOVE(candidate, link);
    candidate->archiver->count--;
    if (candidate->making)
        candidate->archiver->makings--;
    if (candidate->lease)
        lease_release(candidate->lease);
    free(candidate);
}

static void on_made(struct archive_making *making, enum archive_made result, void *context)
{
    struct candidate *candidate = context;

    if (result == ARCHIVE_MADE)
        metric_add(candidate->archiver->made, 1);
    else if (result == ARCHIVE_FAILED)
        metric_add(candidate->archiver->failures, 1);
    drop(candidate);
}

static void on_lost(struct lease *lease, void *context)
{
    struct candidate *candidate = context;

    if (candidate->making)
        archive_making_stop(candidate->making);
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct candidate *candidate = context;
    struct archiver *archiver = candidate->archiver;

    candidate->lease = lease;
    if (!lease || archiver->is_draining || archiver->makings == MAX_MAKINGS) {
        drop(candidate);
        return;
    }
    archiver->makings++;
    candidate->making =
        archive_making_start(archiver->archive, candidate->id,
                             candidate->ended_at_ms + archiver->archive->config.settle_ms, on_made, candidate);
}

static void acquire(struct candidate *candidate)
{
    struct archive *archive = candidate->archiver->archive;
    char key[KEY_MAX], alive[KEY_MAX];
    const struct lease_options options = {.key = key_of(key, KEY_LEASE_ARCHIVING, candidate->id),
                                          .fence_key = KEY_FENCE,
                                          .holder = service_instance(archive->service),
                                          .alive_channel =
                                              key_of(alive, CHANNEL_PING, service_instance(archive->service)),
                                          .on_lost = on_lost,
                                          .context = candidate};

    lease_try_acquire(service_loop(archive->service), archive->state, &options, on_acquired, candidate);
}

/* The log has nothing that MySQL lacks. Nothing dated before the plan's end can come any more. */
static void on_moving(int code, const redisReply *reply, void *context)
{
    struct candidate *candidate = context;

    if (code != 0 || reply->type != REDIS_REPLY_NIL || candidate->archiver->makings == MAX_MAKINGS)
        drop(candidate);
    else
        acquire(candidate);
}

static void ask_log(struct candidate *candidate)
{
    redis_link_commandf(redis_shards_link(&candidate->archiver->archive->redis, candidate->id), on_moving, candidate,
                        "ZSCORE " KEY_CHAT_MOVING " %s", candidate->id);
}

/* Every heart has come to MySQL: love-counter frees its key when it has. */
static void on_loves(int code, const redisReply *reply, void *context)
{
    struct candidate *candidate = context;

    if (code != 0 || reply->type != REDIS_REPLY_INTEGER || reply->integer != 0)
        drop(candidate);
    else
        ask_log(candidate);
}

/* No segment is on its way: the uploader has closed the playlist, and its rows stand. */
static void on_uploads(int code, const redisReply *reply, void *context)
{
    struct candidate *candidate = context;

    if (code != 0 || reply->type != REDIS_REPLY_NIL)
        drop(candidate);
    else
        redis_link_commandf(candidate->archiver->archive->state, on_loves, candidate, "EXISTS " KEY_LOVE "%s",
                            candidate->id);
}

static void on_streams(int code, const redisReply *reply, void *context)
{
    struct candidate *candidate = context;
    bool is_transcoding = code == 0 && reply->type != REDIS_REPLY_NIL;

    if (code != 0 || (is_transcoding && clock_wall_ms() < candidate->ended_at_ms + TRANSCODER_GONE_MS))
        drop(candidate);
    else /* asked after this answer: what the transcoder handed over before it left is in the list */
        redis_link_commandf(candidate->archiver->archive->state, on_uploads, candidate, "ZSCORE " KEY_UPLOADS " %s",
                            candidate->id);
}

static void consider(struct archiver *archiver, const char *id, int64_t ended_at_ms)
{
    struct candidate *candidate;

    LIST_FOREACH(candidate, &archiver->candidates, link)
    {
        if (strcmp(candidate->id, id) == 0)
            return;
    }
    candidate = alloc_zero(1, sizeof(*candidate));
    candidate->archiver = archiver;
    snprintf(candidate->id, sizeof(candidate->id), "%s", id);
    candidate->ended_at_ms = ended_at_ms;
    LIST_INSERT_HEAD(&archiver->candidates, candidate, link);
    archiver->count++;
    redis_link_commandf(archiver->archive->state, on_streams, candidate, "ZSCORE " KEY_STREAMS " %s", id);
}

/* --- looking --- */

static void run_look(struct db_connection *connection, void *context)
{
    struct look *look = context;
    struct db_result *result = NULL, *oldest = NULL;

    look->code =
        db_query(connection, "SELECT MIN(ended_at_ms) FROM broadcasts WHERE state = 'ended'", NULL, 0, 1, &oldest);
    if (look->code == 0 && db_result_rows(oldest) == 1)
        look->oldest_ms = db_result_int(oldest, 0, 0);
    if (look->code == 0)
        look->code = db_query(connection,
                              "SELECT id, COALESCE(ended_at_ms, created_at_ms), created_at_ms FROM broadcasts "
                              "WHERE state = 'ended' AND (created_at_ms > ? OR (created_at_ms = ? AND id > ?)) "
                              "ORDER BY created_at_ms, id LIMIT 200",
                              DB_PARAMS(db_int(look->after_ms), db_int(look->after_ms), db_str(look->after_id)),
                              LOOK_LIMIT, &result);
    look->count = look->code == 0 ? db_result_rows(result) : 0;
    for (size_t i = 0; i < look->count; i++) {
        snprintf(look->found[i].id, sizeof(look->found[i].id), "%s", db_result_value(result, i, 0));
        look->found[i].ended_at_ms = db_result_int(result, i, 1);
        look->after_ms = db_result_int(result, i, 2);
    }
    if (look->count == LOOK_LIMIT)
        memcpy(look->after_id, look->found[LOOK_LIMIT - 1].id, sizeof(look->after_id));
    else
        look->after_ms = 0, look->after_id[0] = '\0';
    db_result_free(oldest);
    db_result_free(result);
}

static void on_looked(int code, void *context)
{
    struct look *look = context;
    struct archiver *archiver = look->archiver;
    int64_t now_ms = clock_wall_ms();

    archiver->is_looking = false;
    code = code != 0 ? code : look->code;
    if (code == 0) {
        metric_set(archiver->oldest, look->oldest_ms > 0 ? (double)(now_ms - look->oldest_ms) / 1000 : 0);
        archiver->after_ms = look->after_ms;
        memcpy(archiver->after_id, look->after_id, sizeof(archiver->after_id));
    } else {
        log_limited(&archiver->limiter, LOG_LEVEL_WARN, "archiver.blind", log_str("why", db_strerror(code)));
    }
    for (size_t i = 0; i < look->count && !archiver->is_draining; i++)
        if (look->found[i].ended_at_ms + archiver->archive->config.settle_ms + CLOCKS_APART_MS <= now_ms)
            consider(archiver, look->found[i].id, look->found[i].ended_at_ms);
    free(look);
    arm(archiver, LOOK_EVERY_MS);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct archiver *archiver = context;
    struct look *look;

    if (archiver->is_looking || archiver->is_draining)
        return;
    look = alloc_zero(1, sizeof(*look));
    look->archiver = archiver;
    look->after_ms = archiver->after_ms;
    memcpy(look->after_id, archiver->after_id, sizeof(look->after_id));
    archiver->is_looking = true;
    if (archive_submit(archiver->archive, run_look, on_looked, look) != 0) {
        archiver->is_looking = false;
        free(look);
        arm(archiver, LOOK_EVERY_MS);
    }
}

/* --- life --- */

struct archiver *archiver_create(struct archive *archive)
{
    struct archiver *archiver = alloc_zero(1, sizeof(*archiver));
    struct metrics *metrics = service_metrics(archive->service);

    archiver->archive = archive;
    archiver->limiter = LOG_LIMITER(5000);
    archiver->oldest = metrics_gauge(metrics, "hanabi_archive_unarchived_seconds",
                                     "since the end of the oldest broadcast that is over and not archived", NULL);
    archiver->made = metrics_counter(metrics, "hanabi_archive_made_total", "broadcasts archived", NULL);
    archiver->failures =
        metrics_counter(metrics, "hanabi_archive_makings_failed_total", "archives that are tried again", NULL);
    LIST_INIT(&archiver->candidates);
    archiver->timer = evtimer_new(service_loop(archive->service), on_timer, archiver);
    if (!archiver->timer)
        abort();
    arm(archiver, 10);
    return archiver;
}

void archiver_drain(struct archiver *archiver)
{
    struct candidate *candidate;

    archiver->is_draining = true;
    LIST_FOREACH(candidate, &archiver->candidates, link)
    {
        if (candidate->making)
            archive_making_stop(candidate->making);
    }
}

bool archiver_is_idle(const struct archiver *archiver)
{
    return archiver->count == 0 && !archiver->is_looking;
}

void archiver_destroy(struct archiver *archiver)
{
    if (!archiver)
        return;
    event_free(archiver->timer);
    free(archiver);
}
