/* From the entries of a broadcast's stream to bytes in memory. The reader runs ahead of the publisher: parts live only
 * SEGMENT_PART_EXPIRE_S on the media Redis, so while the store is away they are brought to the spool. Memory is bounded
 * for the whole process; what does not fit waits where it is. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define READ_COUNT "16"

/* ---- memory ---- */

static void reserve_memory(struct job *job, size_t bytes)
{
    struct uploader *uploader = job->broadcast->uploader;

    uploader->memory_bytes += bytes - job->reserved;
    job->reserved = bytes;
    metric_set(uploader->metrics.memory_bytes, (double)uploader->memory_bytes);
}

static bool memory_has_room(const struct broadcast *broadcast, const struct job *job)
{
    size_t limit = (size_t)broadcast->uploader->config->memory_mb << 20;

    /* A single segment larger than all we may have would never go. */
    return broadcast->uploader->memory_bytes == 0 || broadcast->uploader->memory_bytes + job->bytes <= limit;
}

static void drop_media(struct job *job)
{
    segment_media_clear(&job->media);
    reserve_memory(job, 0);
}

/* ---- the list ---- */

/* A job that something asynchronous still refers to is only taken off the list; who ends last frees it. */
static void free_when_unused(struct job *job)
{
    if (!job->is_gone || job->pending > 0)
        return;
    segment_media_clear(&job->media);
    free(job);
}

static void remove_job(struct broadcast *broadcast, struct job *job)
{
    TAILQ_REMOVE(&broadcast->queue, job, link);
    broadcast->queue_count--;
    drop_media(job);
    job->is_gone = true;
    free_when_unused(job);
}

void queue_remove(struct broadcast *broadcast, struct job *job)
{
    /* A redelivered one may have been brought to the spool by a predecessor. */
    if (job->is_on_spool || job->is_redelivered)
        spool_remove(broadcast->uploader->spool, broadcast->id, job->entry_id, job->bytes);
    job->is_done = true;
    remove_job(broadcast, job);
}

void queue_clear(struct broadcast *broadcast)
{
    struct job *job;

    while ((job = TAILQ_FIRST(&broadcast->queue)))
        remove_job(broadcast, job);
}

static void operation_began(struct job *job)
{
    job->pending++;
    broadcast_operation_began(job->broadcast);
}

/* False: the job, or its broadcast, is not there any more: return at once, touching neither. */
static bool operation_ended(struct job *job)
{
    bool is_gone = job->is_gone;

    job->pending--;
    /* The broadcast may be freed in the call below; the job is off its list by then. */
    if (!broadcast_operation_ended(job->broadcast))
        is_gone = true;
    free_when_unused(job);
    return !is_gone;
}

static void append_job(struct broadcast *broadcast, const char *entry_id, const char *json, size_t len)
{
    struct job *job = alloc_zero(1, sizeof(*job));

    job->broadcast = broadcast;
    snprintf(job->entry_id, sizeof(job->entry_id), "%s", entry_id);
    job->queued_ms = clock_monotonic_ms();
    if (!json || segment_entry_parse(json, len, &job->entry) != 0) {
        log_error("entry.broken", log_str("broadcast", broadcast->id), log_str("entry", entry_id),
                  log_bool("deleted", !json));
        job->is_broken = true;
    }
    for (int i = 0; i < job->entry.renditions_count; i++)
        for (int part = 0; part < job->entry.renditions[i].parts_count; part++)
            job->bytes += (size_t)job->entry.renditions[i].parts[part].bytes;
    job->media.renditions_count = job->entry.renditions_count;
    job->is_redelivered = broadcast->read_after[0] != '\0';
    if (job->is_broken || job->entry.final)
        job->state = JOB_READY;
    TAILQ_INSERT_TAIL(&broadcast->queue, job, link);
    broadcast->queue_count++;
}

/* ---- reading entries ---- */

/* The field "e" of [field, value, …]. */
static const struct redisReply *find_entry_field(const struct redisReply *fields)
{
    if (fields->type != REDIS_REPLY_ARRAY)
        return NULL;
    for (size_t i = 0; i + 1 < fields->elements; i += 2)
        if (fields->element[i]->type == REDIS_REPLY_STRING && strcmp(fields->element[i]->str, "e") == 0 &&
            fields->element[i + 1]->type == REDIS_REPLY_STRING)
            return fields->element[i + 1];
    return NULL;
}

static bool is_queued(const struct broadcast *broadcast, const char *entry_id)
{
    const struct job *job;

    TAILQ_FOREACH(job, &broadcast->queue, link)
    {
        if (strcmp(job->entry_id, entry_id) == 0)
            return true;
    }
    return false;
}

/* [[key, [[id, [field, value]], …]]]; returns how many entries it held. */
static size_t take_entries(struct broadcast *broadcast, const struct redisReply *reply)
{
    const struct redisReply *list;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 || reply->element[0]->elements != 2)
        return 0;
    list = reply->element[0]->element[1];
    for (size_t i = 0; i < list->elements; i++) {
        const struct redisReply *item = list->element[i], *value;

        if (item->type != REDIS_REPLY_ARRAY || item->elements != 2 || item->element[0]->type != REDIS_REPLY_STRING ||
            item->element[0]->len >= ENTRY_ID_SIZE)
            continue;
        value = find_entry_field(item->element[1]);
        if (!is_queued(broadcast, item->element[0]->str))
            append_job(broadcast, item->element[0]->str, value ? value->str : NULL, value ? (size_t)value->len : 0);
        if (broadcast->read_after[0])
            strcpy(broadcast->read_after, item->element[0]->str);
    }
    return list->elements;
}

static void on_entries(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;
    size_t count;

    if (!broadcast_operation_ended(broadcast))
        return;
    broadcast->is_reading = false;
    if (code == REDIS_LINK_REFUSED) {
        /* NOGROUP: Redis was emptied, or the stream deleted. What was pending is gone with it. */
        broadcast->has_group = false;
        strcpy(broadcast->read_after, "0");
        return;
    }
    if (code != 0) {
        /* An answer that was lost on the way has made its entries pending. */
        strcpy(broadcast->read_after, "0");
        return;
    }
    count = take_entries(broadcast, reply);
    if (!broadcast->read_after[0])
        broadcast->pending_seen = false;
    if (broadcast->read_after[0]) {
        if (count == 0)
            broadcast->read_after[0] = '\0';
        broadcast->read_again = true;
    } else if (count > 0) {
        broadcast->read_again = true;
    } else if (!broadcast->read_again) {
        broadcast->was_empty = true;
    }
    broadcast_pump(broadcast);
}

static void on_group(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;

    if (!broadcast_operation_ended(broadcast))
        return;
    broadcast->is_reading = false;
    broadcast->has_group = code == 0;
    if (broadcast->has_group)
        broadcast_pump(broadcast);
}

/* Settled: a segment that a failover takes back must not have been shown. */
static void read_entries(struct broadcast *broadcast)
{
    char key[KEY_MAX];

    redis_link_command_settled(broadcast->uploader->state, on_entries, broadcast, 9,
                               (const char *[]){"XREADGROUP", "GROUP", SEGMENTS_GROUP, SEGMENTS_CONSUMER, "COUNT",
                                                READ_COUNT, "STREAMS", key_of(key, KEY_SEGMENTS, broadcast->id),
                                                broadcast->read_after[0] ? broadcast->read_after : ">"},
                               NULL);
}

void queue_read(struct broadcast *broadcast)
{
    struct redis_link *link = broadcast->uploader->state;

    if (broadcast->is_reading || !broadcast->read_again || broadcast->queue_count >= QUEUE_MAX ||
        broadcast->is_draining || !redis_link_is_up(link))
        return;
    /* Before each look for new entries one at the pending ones: a former owner that hung and woke up may have read an
     * entry in the moment before it noticed that the lease is gone. It is pending then, and older than whatever is new.
     */
    if (!broadcast->read_after[0] && !broadcast->pending_seen) {
        strcpy(broadcast->read_after, "0");
        broadcast->pending_seen = true;
    }
    broadcast->is_reading = true;
    broadcast_operation_began(broadcast);
    if (!broadcast->has_group) {
        redis_link_script(link, &script_segments_group, on_group, broadcast, 1, (const char *[]){broadcast->id}, NULL);
        return;
    }
    broadcast->read_again = false;
    read_entries(broadcast);
}

/* ---- bytes from the media Redis ---- */

struct fetch {
    struct job *job;
    int rendition; /* -1: the thumbnail */
    int part;
    size_t offset;
};

static void on_spool_read(int error, struct blob *blob, void *context);

static void read_spool(struct job *job, enum job_state state)
{
    job->state = state;
    operation_began(job);
    spool_get(job->broadcast->uploader->spool, job->broadcast->id, job->entry_id, on_spool_read, job);
}

/* All parts have been answered. */
static void finish_fetch(struct job *job)
{
    bool is_missing = false;

    if (job->is_fetch_failed) {
        /* The media Redis is away: that is no answer. */
        job->state = JOB_WAITING;
        drop_media(job);
        return;
    }
    for (int i = 0; i < job->entry.renditions_count; i++)
        is_missing = is_missing || job->is_missing[i];
    /* The parts have expired; whoever had this queue before may have saved them. */
    if (is_missing)
        read_spool(job, JOB_SEARCHING);
    else
        job->state = JOB_READY;
}

static void take_part(struct job *job, const struct fetch *fetch, int code, const struct redisReply *reply)
{
    bool is_here = code == 0 && reply->type == REDIS_REPLY_STRING;
    size_t bytes;

    if (code != 0)
        job->is_fetch_failed = true;
    if (fetch->rendition < 0) {
        if (is_here && !job->media.thumbnail && (job->media.thumbnail = blob_create((size_t)reply->len)))
            memcpy(job->media.thumbnail->data, reply->str, (size_t)reply->len);
        return;
    }
    bytes = (size_t)job->entry.renditions[fetch->rendition].parts[fetch->part].bytes;
    /* Parts of another length than the entry says are not the parts it means. */
    if (is_here && (size_t)reply->len == bytes)
        memcpy(job->media.renditions[fetch->rendition]->data + fetch->offset, reply->str, bytes);
    else
        job->is_missing[fetch->rendition] = true;
}

static void on_part(int code, const struct redisReply *reply, void *context)
{
    struct fetch *fetch = context;
    struct job *job = fetch->job;
    struct broadcast *broadcast = job->broadcast;

    if (!job->is_gone) {
        job->fetches--;
        take_part(job, fetch, code, reply);
    }
    free(fetch);
    if (!operation_ended(job) || job->fetches > 0)
        return;
    finish_fetch(job);
    broadcast_pump(broadcast);
}

static void send_fetch(struct job *job, int rendition, int part, size_t offset, const char *key)
{
    struct fetch *fetch = alloc_zero(1, sizeof(*fetch));
    const char *args[] = {"GET", key};

    *fetch = (struct fetch){job, rendition, part, offset};
    job->fetches++;
    operation_began(job);
    redis_link_command(job->broadcast->uploader->media, on_part, fetch, 2, args, NULL);
}

static void start_fetch(struct job *job)
{
    job->state = JOB_FETCHING;
    reserve_memory(job, job->bytes);
    memset(job->is_missing, 0, sizeof(job->is_missing));
    job->is_fetch_failed = false;
    /* Held while they are sent: a link that goes down meanwhile answers at once. */
    job->fetches++;
    for (int i = 0; i < job->entry.renditions_count; i++) {
        const struct segment_rendition *rendition = &job->entry.renditions[i];
        size_t offset = 0, total = 0;

        for (int part = 0; part < rendition->parts_count; part++)
            total += (size_t)rendition->parts[part].bytes;
        job->media.renditions[i] = blob_create(total);
        if (!job->media.renditions[i])
            abort();
        for (int part = 0; part < rendition->parts_count; part++) {
            send_fetch(job, i, part, offset, rendition->parts[part].key);
            offset += (size_t)rendition->parts[part].bytes;
        }
    }
    if (job->entry.thumbnail_key[0])
        send_fetch(job, -1, 0, 0, job->entry.thumbnail_key);
    if (--job->fetches == 0)
        finish_fetch(job);
}

/* ---- the spool ---- */

/* Not even there. What is there of the segment is used; without any rendition it is lost. */
static void keep_what_is_there(struct job *job)
{
    struct segment_entry *entry = &job->entry;
    int kept = 0;

    for (int i = 0; i < entry->renditions_count; i++) {
        if (job->is_missing[i]) {
            blob_unref(job->media.renditions[i]);
            continue;
        }
        entry->renditions[kept] = entry->renditions[i];
        job->media.renditions[kept++] = job->media.renditions[i];
    }
    for (int i = kept; i < entry->renditions_count; i++)
        job->media.renditions[i] = NULL;
    log_error("segment.parts_lost", log_str("broadcast", job->broadcast->id), log_str("entry", job->entry_id),
              log_int("number", entry->number), log_int("renditions", entry->renditions_count), log_int("kept", kept));
    entry->renditions_count = job->media.renditions_count = kept;
    job->state = kept > 0 ? JOB_READY : JOB_LOST;
    if (kept == 0)
        drop_media(job);
}

static void on_spool_read(int error, struct blob *blob, void *context)
{
    struct job *job = context;
    struct broadcast *broadcast = job->broadcast;
    struct segment_media media = {0};
    bool is_searching = job->state == JOB_SEARCHING, is_whole;

    is_whole = !error && spool_decode(blob, &media) == 0;
    if (is_whole && media.renditions_count != job->entry.renditions_count)
        is_whole = false;
    if (!operation_ended(job)) {
        segment_media_clear(&media);
        return;
    }
    if (is_whole) {
        segment_media_clear(&job->media);
        job->media = media;
        job->is_on_spool = true;
        job->state = JOB_READY;
    } else if (is_searching) {
        segment_media_clear(&media);
        keep_what_is_there(job);
    } else {
        /* It was there, and is not now: the media Redis may still have the parts. */
        segment_media_clear(&media);
        log_error("spool.unreadable", log_str("broadcast", broadcast->id), log_str("entry", job->entry_id),
                  log_str("why", error ? strerror(error) : "damaged"));
        job->is_on_spool = false;
        job->state = JOB_WAITING;
        reserve_memory(job, 0);
    }
    broadcast_pump(broadcast);
}

static void on_spooled(int error, struct blob *blob, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(5000);
    struct job *job = context;
    struct broadcast *broadcast = job->broadcast;
    struct spool *spool = broadcast->uploader->spool;

    job->is_spooling = false;
    if (error)
        log_limited(&limiter, LOG_LEVEL_ERROR, "spool.failed", log_str("broadcast", broadcast->id),
                    log_str("why", strerror(error)));
    else if (job->is_done)
        spool_remove(spool, broadcast->id, job->entry_id, job->bytes);
    if (!operation_ended(job))
        return;
    job->is_on_spool = !error;
    broadcast_pump(broadcast);
}

static void start_spooling(struct job *job)
{
    struct broadcast *broadcast = job->broadcast;

    if (!spool_has_room(broadcast->uploader->spool, job->bytes))
        return;
    job->is_spooling = true;
    operation_began(job);
    spool_put(broadcast->uploader->spool, broadcast->id, job->entry_id, &job->media, on_spooled, job);
}

/* Memory is for what can be published now: what is safe on the spool makes room for others. */
static bool may_leave_memory(const struct broadcast *broadcast, const struct job *job, int position)
{
    size_t limit = (size_t)broadcast->uploader->config->memory_mb << 20;

    if (!job->is_on_spool || job->is_spooling)
        return false;
    return position > 0 ||
           (broadcast->failed && !broadcast->under_way && broadcast->uploader->memory_bytes > limit / 2);
}

void queue_fetch(struct broadcast *broadcast)
{
    int64_t now = clock_monotonic_ms();
    struct job *job;
    int position = 0;

    TAILQ_FOREACH(job, &broadcast->queue, link)
    {
        if (job->state == JOB_WAITING) {
            if (!redis_link_is_up(broadcast->uploader->media) || !memory_has_room(broadcast, job))
                break;
            start_fetch(job);
        } else if (job->state == JOB_SPOOLED && position == 0 && !broadcast->failed &&
                   memory_has_room(broadcast, job)) {
            reserve_memory(job, job->bytes);
            read_spool(job, JOB_LOADING);
        } else if (job->state == JOB_READY && job->bytes > 0) {
            if (!job->is_on_spool && !job->is_spooling &&
                (position >= QUEUE_IN_MEMORY || now - job->queued_ms > SPOOL_AFTER_MS))
                start_spooling(job);
            if (may_leave_memory(broadcast, job, position)) {
                drop_media(job);
                job->state = JOB_SPOOLED;
            }
        }
        position++;
    }
}
