/* The rows in MySQL that an archive needs, written behind the playlist's back: what MySQL does not have yet stays in
 * the playlist's state (and so in Redis) until it is confirmed, so MariaDB may be away, and we may be killed, and no
 * row is lost. Every statement may be repeated. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

struct rows_job {
    struct broadcast *broadcast; /* of the loop; NULL: released meanwhile */
    char id[ID_SIZE];
    struct playlist_segment segments[ROW_BATCH];
    int segments_count;
    struct playlist_rendition renditions[SEGMENT_MAX_RENDITIONS];
    int renditions_count;
    int positions[SEGMENT_MAX_RENDITIONS];
    bool with_renditions;
    bool is_behind; /* we do not own the broadcast any more */
    int result;
};

static const char insert_segment[] =
    "INSERT INTO segments (broadcast_id, sequence, file, discontinuity, program_date_time_ms, media_time_us, "
    "duration_us,"
    " session, bytes, thumbnail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE file = VALUES(file),"
    " discontinuity = VALUES(discontinuity), program_date_time_ms = VALUES(program_date_time_ms), media_time_us ="
    " VALUES(media_time_us), duration_us = VALUES(duration_us), session = VALUES(session), bytes = VALUES(bytes),"
    " thumbnail = VALUES(thumbnail)";

/* The next owner may have written other segments under these numbers; if it is this very one, we know all of it. */
static const char insert_behind[] =
    "INSERT INTO segments (broadcast_id, sequence, file, discontinuity, program_date_time_ms, media_time_us, "
    "duration_us, session, bytes, thumbnail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE"
    " media_time_us = IF(file = VALUES(file), VALUES(media_time_us), media_time_us),"
    " bytes = IF(file = VALUES(file), VALUES(bytes), bytes),"
    " thumbnail = IF(file = VALUES(file), VALUES(thumbnail), thumbnail)";

/* Of a segment that was read back from the store we know less than the row does, if there is one. */
static const char insert_recovered[] =
    "INSERT INTO segments (broadcast_id, sequence, file, discontinuity, program_date_time_ms, media_time_us, "
    "duration_us,"
    " session, bytes, thumbnail) SELECT ?, ?, ?, ?, ?, COALESCE(MAX(media_time_us + duration_us), 0), ?, ?, ?, NULL "
    "FROM"
    " segments WHERE broadcast_id = ? AND sequence < ? ON DUPLICATE KEY UPDATE sequence = sequence";

static const char insert_rendition[] =
    "INSERT INTO renditions (broadcast_id, name, position, width, height, frame_rate, codecs, peak_bandwidth,"
    " average_bandwidth) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE position = VALUES(position), width "
    "="
    " VALUES(width), height = VALUES(height), frame_rate = VALUES(frame_rate), codecs = VALUES(codecs), peak_bandwidth "
    "="
    " VALUES(peak_bandwidth), average_bandwidth = VALUES(average_bandwidth)";

static char *bytes_json(const struct rows_job *job, const struct playlist_segment *segment)
{
    json_t *object = json_object();
    char *text;

    for (int i = 0; i < job->renditions_count; i++)
        if (segment->bytes[i] != PLAYLIST_NONE)
            json_object_set_new(object, job->renditions[i].name, json_integer(segment->bytes[i]));
    text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

static int write_segment(struct db_connection *connection, const struct rows_job *job,
                         const struct playlist_segment *segment)
{
    char file[PLAYLIST_FILE_SIZE], thumbnail[48], *bytes = bytes_json(job, segment);
    int code;

    playlist_segment_file(file, segment->sequence, segment->session);
    snprintf(thumbnail, sizeof(thumbnail), "thumbnails/%" PRId64 ".jpg", segment->sequence);
    if (segment->is_recovered)
        code =
            db_exec(connection, insert_recovered,
                    DB_PARAMS(db_str(job->id), db_int(segment->sequence), db_str(file), db_int(segment->discontinuity),
                              db_int(segment->program_date_time_ms), db_int(segment->duration_us),
                              db_int(segment->session), db_str(bytes), db_str(job->id), db_int(segment->sequence)));
    else
        code = db_exec(connection, job->is_behind ? insert_behind : insert_segment,
                       DB_PARAMS(db_str(job->id), db_int(segment->sequence), db_str(file),
                                 db_int(segment->discontinuity), db_int(segment->program_date_time_ms),
                                 db_int(segment->media_time_us), db_int(segment->duration_us), db_int(segment->session),
                                 db_str(bytes), db_str(segment->has_thumbnail ? thumbnail : NULL)));
    free(bytes);
    return code;
}

static int write_rendition(struct db_connection *connection, const struct rows_job *job, int index)
{
    const struct playlist_rendition *r = &job->renditions[index];
    char frame_rate[32];

    snprintf(frame_rate, sizeof(frame_rate), "%.6f", r->frame_rate);
    return db_exec(connection, insert_rendition,
                   DB_PARAMS(db_str(job->id), db_str(r->name), db_int(job->positions[index]), db_int(r->width),
                             db_int(r->height), db_str(frame_rate), db_str(r->codecs), db_int(r->peak_bps),
                             db_int(playlist_average_bps(r))));
}

/* On a worker thread: touches nothing but the job. */
static void run(struct db_connection *connection, void *context)
{
    struct rows_job *job = context;

    job->result = db_begin(connection);
    for (int i = 0; job->result == 0 && i < job->segments_count; i++)
        job->result = write_segment(connection, job, &job->segments[i]);
    for (int i = 0; job->result == 0 && job->with_renditions && i < job->renditions_count; i++)
        job->result = write_rendition(connection, job, i);
    if (job->result == 0)
        job->result = db_commit(connection);
    else
        db_rollback(connection);
}

static void note_saved(struct broadcast *broadcast, const struct rows_job *job)
{
    struct playlist *playlist = &broadcast->playlist;

    broadcast->rows_not_before_ms = 0;
    backoff_reset(&broadcast->rows_retry);
    if (job->segments_count > 0)
        playlist_mark_saved(playlist, job->segments[job->segments_count - 1].sequence + 1);
    /* They may have been announced anew meanwhile. */
    if (job->with_renditions && playlist->renditions_count == job->renditions_count &&
        memcmp(playlist->renditions, job->renditions, sizeof(job->renditions)) == 0)
        playlist->renditions_saved = true;
    metric_add(broadcast->uploader->metrics.rows, job->segments_count);
}

static void done(int code, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(5000);
    struct rows_job *job = context;
    struct broadcast *broadcast = job->broadcast;
    int result = code != 0 ? code : job->result;

    if (broadcast_operation_ended(broadcast)) {
        broadcast->rows_under_way = false;
        if (result == 0) {
            note_saved(broadcast, job);
        } else {
            broadcast->rows_not_before_ms = clock_monotonic_ms() + backoff_next_ms(&broadcast->rows_retry);
            metric_add(broadcast->uploader->metrics.rows_failed, 1);
            log_limited(&limiter, LOG_LEVEL_WARN, "rows.waiting", log_str("broadcast", job->id),
                        log_int("rows", broadcast->playlist.next_sequence - broadcast->playlist.saved_sequence),
                        log_str("why", db_strerror(result)));
        }
        free(job);
        broadcast_pump(broadcast);
        return;
    }
    free(job);
}

bool segment_rows_are_saved(const struct broadcast *broadcast)
{
    const struct playlist *playlist = &broadcast->playlist;

    return playlist->saved_sequence == playlist->next_sequence &&
           (playlist->renditions_saved || playlist->renditions_count == 0);
}

static struct rows_job *take_rows(const struct broadcast *broadcast, int64_t from, int64_t below)
{
    const struct playlist *playlist = &broadcast->playlist;
    struct rows_job *job = alloc_zero(1, sizeof(*job));
    int order[SEGMENT_MAX_RENDITIONS];

    snprintf(job->id, sizeof(job->id), "%s", broadcast->id);
    for (int64_t at = from; at < below && job->segments_count < ROW_BATCH; at++) {
        const struct playlist_segment *segment = playlist_find(playlist, at);

        if (!segment)
            break;
        job->segments[job->segments_count++] = *segment;
    }
    memcpy(job->renditions, playlist->renditions, sizeof(job->renditions));
    job->renditions_count = playlist->renditions_count;
    playlist_order(playlist, order);
    for (int i = 0; i < job->renditions_count; i++)
        job->positions[order[i]] = i;
    return job;
}

/* The measured values that change with each segment are written with the announced ones, and at the end. */
void segment_rows_write(struct broadcast *broadcast)
{
    const struct playlist *playlist = &broadcast->playlist;
    struct rows_job *job;

    /* Between playlist_add and segment_done a segment is not the viewers' yet. */
    if (broadcast->rows_under_way || broadcast->stage != PUBLISH_IDLE || segment_rows_are_saved(broadcast) ||
        clock_monotonic_ms() < broadcast->rows_not_before_ms)
        return;
    job = take_rows(broadcast, playlist->saved_sequence, playlist->next_sequence);
    job->broadcast = broadcast;
    job->with_renditions = !playlist->renditions_saved;
    broadcast->rows_under_way = true;
    broadcast_operation_began(broadcast);
    if (db_submit(broadcast->uploader->db, run, done, job) != 0)
        done(DB_FULL, job);
}

static void done_behind(int code, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(5000);
    struct rows_job *job = context;
    int result = code != 0 ? code : job->result;

    if (result != 0)
        log_limited(&limiter, LOG_LEVEL_WARN, "rows.left", log_str("broadcast", job->id),
                    log_int("from_sequence", job->segments[0].sequence), log_int("rows", job->segments_count),
                    log_str("why", db_strerror(result)));
    free(job);
}

void segment_rows_write_behind(struct broadcast *broadcast)
{
    const struct playlist *playlist = &broadcast->playlist;
    /* A segment under way is the next owner's. */
    const int64_t below = playlist->next_sequence - (broadcast->stage > PUBLISH_OBJECTS && broadcast->is_new_segment);

    for (int64_t at = playlist->saved_sequence; at < below;) {
        struct rows_job *job = take_rows(broadcast, at, below);

        if (job->segments_count == 0) {
            free(job);
            return;
        }
        job->is_behind = true;
        at = job->segments[job->segments_count - 1].sequence + 1;
        if (db_submit(broadcast->uploader->db, run, done_behind, job) != 0)
            done_behind(DB_FULL, job);
    }
}
