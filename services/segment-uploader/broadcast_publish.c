/* One segment at a time, each step after the one before it has succeeded:
 *
 *     objects (all renditions, thumbnails) -> media playlists -> multivariant playlist (if it changed) -> purge
 *     -> segment_done in Redis -> broadcast_live, segment.published, rows
 *
 * so a playlist never names what cannot be fetched, and an entry leaves the queue only when viewers can see it. Within
 * a step things go in parallel; what fails is tried again for as long as the lease is ours. A killed uploader's
 * successor repeats the step with the same names and numbers. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>

/* Bits of PUBLISH_OBJECTS beside those of the renditions. */
enum { BIT_THUMBNAIL = SEGMENT_MAX_RENDITIONS, BIT_LATEST_THUMBNAIL };

#define LATE_MS 8000

#define SEGMENT_CACHE   "public, max-age=31536000, immutable"
#define PLAYLIST_CACHE  "public, max-age=1"
#define THUMBNAIL_CACHE "public, max-age=10"
#define PLAYLIST_TYPE   "application/vnd.apple.mpegurl"

struct step {
    struct broadcast *broadcast;
    int bit;
};

static void run_stage(struct broadcast *broadcast);
static void enter_stage(struct broadcast *broadcast, enum publish_stage stage);
static void finish_segment(struct broadcast *broadcast);

static struct job *current_job(const struct broadcast *broadcast)
{
    return TAILQ_FIRST(&broadcast->queue);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct broadcast *broadcast = context;

    event_free(broadcast->retry_timer);
    broadcast->retry_timer = NULL;
    broadcast->failed = 0;
    run_stage(broadcast);
}

static void retry_later(struct broadcast *broadcast)
{
    int64_t wait_ms = backoff_next_ms(&broadcast->retry);
    struct timeval in = {wait_ms / 1000, wait_ms % 1000 * 1000};

    metric_add(broadcast->uploader->metrics.retries, 1);
    broadcast->retry_timer = evtimer_new(broadcast->uploader->loop, on_retry, broadcast);
    event_add(broadcast->retry_timer, &in);
}

/* A step has come back; when all of the stage have, go on or try again. */
static void finish_step(struct broadcast *broadcast, int bit, bool ok)
{
    broadcast->under_way &= ~(1U << bit);
    if (ok)
        broadcast->todo &= ~(1U << bit);
    else
        broadcast->failed |= 1U << bit;
    if (broadcast->under_way)
        return;
    if (broadcast->failed) {
        retry_later(broadcast);
        return;
    }
    backoff_reset(&broadcast->retry);
    if (broadcast->stage == PUBLISH_DONE)
        finish_segment(broadcast);
    else
        enter_stage(broadcast, (enum publish_stage)(broadcast->stage + 1));
}

static struct step *begin_step(struct broadcast *broadcast, int bit)
{
    struct step *step = alloc_zero(1, sizeof(*step));

    *step = (struct step){broadcast, bit};
    broadcast->under_way |= 1U << bit;
    broadcast_operation_began(broadcast);
    return step;
}

static void on_put(int code, const char *why, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(2000);
    struct step *step = context;
    struct broadcast *broadcast = step->broadcast;
    int bit = step->bit;

    free(step);
    if (!broadcast_operation_ended(broadcast))
        return;
    if (code < 0)
        log_limited(&limiter, LOG_LEVEL_WARN, "put.failed", log_str("broadcast", broadcast->id), log_str("why", why));
    else if (broadcast->stage != PUBLISH_OBJECTS)
        metric_add(broadcast->uploader->metrics.playlists, 1);
    finish_step(broadcast, bit, code == 0);
}

/* ---- objects ---- */

static void put_object(struct broadcast *broadcast, int bit, const char *path, struct blob *blob, const char *type,
                       const char *cache)
{
    store_put(broadcast->uploader->store,
              &(struct store_put){.path = path, .blob = blob, .content_type = type, .cache_control = cache}, on_put,
              begin_step(broadcast, bit));
}

static void run_objects(struct broadcast *broadcast, int bit)
{
    struct job *job = current_job(broadcast);
    char path[KEY_MAX], file[PLAYLIST_FILE_SIZE];

    if (bit == BIT_THUMBNAIL) {
        snprintf(path, sizeof(path), "live/%s/thumbnails/%" PRId64 ".jpg", broadcast->id,
                 broadcast->playlist.next_sequence);
        put_object(broadcast, bit, path, job->media.thumbnail, "image/jpeg", SEGMENT_CACHE);
    } else if (bit == BIT_LATEST_THUMBNAIL) {
        snprintf(path, sizeof(path), "live/%s/thumbnail.jpg", broadcast->id);
        put_object(broadcast, bit, path, job->media.thumbnail, "image/jpeg", THUMBNAIL_CACHE);
    } else {
        playlist_segment_file(file, broadcast->playlist.next_sequence, job->entry.session);
        snprintf(path, sizeof(path), "live/%s/%s/%s", broadcast->id, job->entry.renditions[bit].name, file);
        put_object(broadcast, bit, path, job->media.renditions[bit], "video/mp2t", SEGMENT_CACHE);
    }
}

static unsigned objects_to_put(const struct job *job)
{
    unsigned bits = (1U << job->entry.renditions_count) - 1;

    if (job->media.thumbnail)
        bits |= 1U << BIT_THUMBNAIL | 1U << BIT_LATEST_THUMBNAIL;
    return bits;
}

/* ---- playlists ---- */

/* Another uploader may have the broadcast once our lease is not safe any more: a playlist must not be written after
 * that, not even by a disk that hung meanwhile. */
static void put_playlist(struct broadcast *broadcast, int bit, const char *name, char *text)
{
    int64_t safe_until_ms = lease_safe_until_ms(broadcast->lease);
    struct blob *blob = text ? blob_of_text(text) : NULL;
    char path[KEY_MAX];

    free(text);
    if (!safe_until_ms || !blob) {
        blob_unref(blob);
        finish_step(broadcast, bit, false);
        return;
    }
    snprintf(path, sizeof(path), "live/%s/%s", broadcast->id, name);
    store_put(broadcast->uploader->store,
              &(struct store_put){.path = path,
                                  .blob = blob,
                                  .content_type = PLAYLIST_TYPE,
                                  .cache_control = PLAYLIST_CACHE,
                                  .not_after_ms = safe_until_ms},
              on_put, begin_step(broadcast, bit));
    blob_unref(blob);
}

static void purge_all(struct broadcast *broadcast, bool multivariant_too)
{
    const struct playlist *playlist = &broadcast->playlist;
    const struct job *job = current_job(broadcast);
    char path[KEY_MAX];

    for (int i = 0; i < playlist->renditions_count; i++) {
        snprintf(path, sizeof(path), "live/%s/%s/index.m3u8", broadcast->id, playlist->renditions[i].name);
        purge_send(broadcast->uploader->purge, path);
    }
    if (multivariant_too) {
        snprintf(path, sizeof(path), "live/%s/master.m3u8", broadcast->id);
        purge_send(broadcast->uploader->purge, path);
    }
    if (job && job->media.thumbnail) {
        snprintf(path, sizeof(path), "live/%s/thumbnail.jpg", broadcast->id);
        purge_send(broadcast->uploader->purge, path);
    }
}

/* ---- done ---- */

static void on_done(int code, const struct redisReply *reply, void *context)
{
    struct step *step = context;
    struct broadcast *broadcast = step->broadcast;
    bool fenced = code == 0 && reply->type == REDIS_REPLY_STRING && strcmp(reply->str, "fenced") == 0;

    free(step);
    if (!broadcast_operation_ended(broadcast))
        return;
    if (fenced) {
        log_warn("broadcast.fenced", log_str("broadcast", broadcast->id));
        broadcast_release(broadcast);
        return;
    }
    finish_step(broadcast, 0, code == 0);
}

static bool is_last_done(const struct broadcast *broadcast)
{
    return broadcast->playlist.is_closed && segment_rows_are_saved(broadcast);
}

static void run_done(struct broadcast *broadcast)
{
    const struct job *job = current_job(broadcast);
    char *state = playlist_export(&broadcast->playlist);
    const char *args[] = {broadcast->id, lease_token(broadcast->lease), job ? job->entry_id : "", state ? state : "",
                          is_last_done(broadcast) ? "1" : "0"};

    broadcast->is_last = is_last_done(broadcast);
    redis_link_script(broadcast->uploader->state, &script_segment_done, on_done, begin_step(broadcast, 0), 5, args,
                      NULL);
    free(state);
}

static void announce_segment(struct broadcast *broadcast, const struct job *job)
{
    struct uploader *uploader = broadcast->uploader;
    const struct playlist *playlist = &broadcast->playlist;
    const struct playlist_segment *segment = playlist_find(playlist, playlist->next_sequence - 1);
    int64_t camera_ms = clock_wall_ms() - job->entry.arrived_ms;
    char session[24], arrived[24], message[KEY_MAX];
    const char *live[] = {broadcast->id, session, arrived};

    snprintf(session, sizeof(session), "%" PRId64, job->entry.session);
    snprintf(arrived, sizeof(arrived), "%" PRId64, job->entry.arrived_ms);
    redis_link_script(uploader->state, &script_broadcast_live, NULL, NULL, 3, live, NULL);
    snprintf(message, sizeof(message),
             "{\"type\":\"segment.published\",\"id\":\"%s\",\"sequence\":%" PRId64 ",\"duration_ms\":%" PRId64
             ",\"discontinuity\":%s}",
             broadcast->id, segment->sequence, (segment->duration_us + 500) / 1000,
             segment->discontinuity ? "true" : "false");
    redis_link_command(uploader->state, NULL, NULL, 3, (const char *[]){"PUBLISH", CHANNEL_SEGMENT_PUBLISHED, message},
                       NULL);
    metric_add(uploader->metrics.segments, 1);
    metric_observe(uploader->metrics.upload_seconds,
                   (double)(clock_monotonic_us() - broadcast->segment_started_us) / 1e6);
    metric_observe(uploader->metrics.publish_seconds, (double)(clock_monotonic_ms() - job->queued_ms) / 1e3);
    metric_observe(uploader->metrics.camera_seconds, (double)camera_ms / 1e3);
    if (camera_ms > LATE_MS)
        metric_add(uploader->metrics.segments_late, 1);
    log_debug("segment.published", log_str("broadcast", broadcast->id), log_int("sequence", segment->sequence),
              log_int("number", job->entry.number), log_int("camera_ms", camera_ms));
}

static void expire_soon(struct redis_link *media, const char *key)
{
    char seconds[12];

    snprintf(seconds, sizeof(seconds), "%d", SEGMENT_PART_STORED_EXPIRE_S);
    redis_link_command(media, NULL, NULL, 4, (const char *[]){"EXPIRE", key, seconds, "LT"}, NULL);
}

/* What stands in the store leaves the media Redis, so that it holds seconds of a broadcast and not minutes. */
static void let_parts_go(const struct broadcast *broadcast, const struct segment_entry *entry)
{
    struct redis_link *media = broadcast->uploader->media;

    for (int i = 0; i < entry->renditions_count; i++)
        for (int part = 0; part < entry->renditions[i].parts_count; part++)
            expire_soon(media, entry->renditions[i].parts[part].key);
    if (entry->thumbnail_key[0])
        expire_soon(media, entry->thumbnail_key);
}

static void finish_segment(struct broadcast *broadcast)
{
    struct job *job = current_job(broadcast);

    broadcast->stage = PUBLISH_IDLE;
    if (broadcast->is_new_segment)
        announce_segment(broadcast, job);
    if (broadcast->was_closed_now)
        log_info("playlist.closed", log_str("broadcast", broadcast->id),
                 log_int("segments", broadcast->playlist.next_sequence));
    broadcast->is_new_segment = broadcast->was_closed_now = false;
    if (job) {
        let_parts_go(broadcast, &job->entry);
        queue_remove(broadcast, job);
    }
    if (broadcast->is_last) {
        log_info("broadcast.finished", log_str("broadcast", broadcast->id));
        spool_remove_broadcast(broadcast->uploader->spool, broadcast->id);
        playlist_clear(&broadcast->playlist);
        broadcast_release(broadcast);
        return;
    }
    broadcast_pump(broadcast);
}

/* ---- the stages ---- */

static void run_bit(struct broadcast *broadcast, int bit)
{
    const struct playlist *playlist = &broadcast->playlist;
    char name[64];

    switch (broadcast->stage) {
    case PUBLISH_OBJECTS:
        run_objects(broadcast, bit);
        break;
    case PUBLISH_PLAYLISTS:
        snprintf(name, sizeof(name), "%s/index.m3u8", playlist->renditions[bit].name);
        put_playlist(broadcast, bit, name, playlist_render_media(playlist, bit));
        break;
    case PUBLISH_MULTIVARIANT:
        put_playlist(broadcast, bit, "master.m3u8", playlist_render_multivariant(playlist));
        break;
    case PUBLISH_DONE:
        run_done(broadcast);
        break;
    default:
        break;
    }
}

/* Starts all that is still to be done of the stage. A step may come back at once. */
static void run_stage(struct broadcast *broadcast)
{
    unsigned todo = broadcast->todo;

    /* The bytes were put aside while the store was away: publish_next comes back here when they are loaded. */
    if (broadcast->stage == PUBLISH_OBJECTS && current_job(broadcast)->state != JOB_READY) {
        broadcast_pump(broadcast);
        return;
    }
    /* Bit 31 holds the stage open until all have been started. */
    broadcast->under_way = 1U << 31;
    for (int bit = 0; bit < 31; bit++)
        if (todo & 1U << bit)
            run_bit(broadcast, bit);
    if (broadcast->under_way == 1U << 31)
        finish_step(broadcast, 31, !broadcast->failed);
    else
        broadcast->under_way &= ~(1U << 31);
}

static void enter_stage(struct broadcast *broadcast, enum publish_stage stage)
{
    struct playlist *playlist = &broadcast->playlist;
    struct job *job = current_job(broadcast);

    if (stage == PUBLISH_PLAYLISTS && !playlist->is_closed && broadcast->is_new_segment) {
        playlist_add(playlist, &job->entry, broadcast->force_discontinuity);
        broadcast->force_discontinuity = false;
        if (playlist->dropped_rows > 0)
            log_error("rows.lost", log_str("broadcast", broadcast->id), log_int("rows", playlist->dropped_rows));
        metric_add(broadcast->uploader->metrics.rows_lost, (double)playlist->dropped_rows);
        playlist->dropped_rows = 0;
    }
    if (stage == PUBLISH_MULTIVARIANT) {
        broadcast->is_multivariant_new = playlist_multivariant_is_stale(playlist);
        if (broadcast->is_multivariant_new)
            playlist_announce(playlist);
        else
            stage = PUBLISH_DONE;
    }
    if (stage == PUBLISH_DONE && (broadcast->is_new_segment || broadcast->was_closed_now)) {
        purge_all(broadcast, broadcast->is_multivariant_new);
        broadcast->is_multivariant_new = false;
    }
    broadcast->stage = stage;
    broadcast->failed = broadcast->under_way = 0;
    switch (stage) {
    case PUBLISH_OBJECTS:
        broadcast->todo = objects_to_put(job);
        break;
    case PUBLISH_PLAYLISTS:
        broadcast->todo = (1U << playlist->renditions_count) - 1;
        break;
    default:
        broadcast->todo = 1;
        break;
    }
    run_stage(broadcast);
}

static void close_playlist(struct broadcast *broadcast)
{
    struct playlist *playlist = &broadcast->playlist;

    if (playlist->is_closed) {
        enter_stage(broadcast, PUBLISH_DONE);
        return;
    }
    playlist->is_closed = true;
    /* The final values of the renditions are for the rows; viewers keep what they have. */
    playlist->renditions_saved = false;
    broadcast->was_closed_now = true;
    enter_stage(broadcast, playlist->next_sequence > 0 ? PUBLISH_PLAYLISTS : PUBLISH_DONE);
}

static void start_job(struct broadcast *broadcast, struct job *job)
{
    struct uploader *uploader = broadcast->uploader;

    broadcast->segment_started_us = clock_monotonic_us();
    if (job->state == JOB_LOST || job->is_broken) {
        metric_add(uploader->metrics.segments_lost, 1);
        broadcast->force_discontinuity = true;
        enter_stage(broadcast, PUBLISH_DONE);
    } else if (job->entry.final) {
        close_playlist(broadcast);
    } else if (broadcast->playlist.is_closed || playlist_has(&broadcast->playlist, &job->entry)) {
        log_info("segment.repeated", log_str("broadcast", broadcast->id), log_int("number", job->entry.number),
                 log_bool("closed", broadcast->playlist.is_closed));
        metric_add(uploader->metrics.segments_repeated, 1);
        enter_stage(broadcast, PUBLISH_DONE);
    } else {
        if (!job->media.thumbnail)
            job->entry.thumbnail_key[0] = '\0';
        broadcast->is_new_segment = true;
        enter_stage(broadcast, PUBLISH_OBJECTS);
    }
}

/* The bytes of the segment under way had been put aside, and are back, or lost. */
static void resume_objects(struct broadcast *broadcast, struct job *job)
{
    if (job->state == JOB_READY) {
        broadcast->todo = objects_to_put(job);
        run_stage(broadcast);
    } else if (job->state == JOB_LOST) {
        broadcast->is_new_segment = false;
        start_job(broadcast, job);
    }
}

void publish_next(struct broadcast *broadcast)
{
    struct job *job = current_job(broadcast);

    if (broadcast->stage == PUBLISH_OBJECTS && !broadcast->under_way && !broadcast->retry_timer) {
        resume_objects(broadcast, job);
        return;
    }
    if (broadcast->stage != PUBLISH_IDLE)
        return;
    if (job && (job->state == JOB_READY || job->state == JOB_LOST))
        start_job(broadcast, job);
    else if (job && job->state == JOB_SPOOLED)
        queue_fetch(broadcast);
    else if (!job && broadcast->is_closing && !broadcast->playlist.is_closed)
        close_playlist(broadcast);
    else if (!job && is_last_done(broadcast) && broadcast->was_empty)
        enter_stage(broadcast, PUBLISH_DONE);
}

void publish_cancel(struct broadcast *broadcast)
{
    if (broadcast->retry_timer)
        event_free(broadcast->retry_timer);
    broadcast->retry_timer = NULL;
    broadcast->stage = PUBLISH_IDLE;
}
