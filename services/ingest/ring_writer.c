/* See ring_writer.h.
 *
 * Until the first key frame, and after a loss until the next one, the writer waits: what comes is not written. Without
 * video (none announced, or no frame of it for VIDEO_SILENT_MS) audio may begin too. */
#include "services/ingest/ring_writer.h"

#include "libcommon/alloc.h"
#include "libcommon/buffer.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"
#include "proto/media_ring.h"

#include <inttypes.h>
#include <stdbool.h>

#define GROUP_FULL_BYTES (512 * 1024)       /* a burst is written in several entries */
#define GROUP_MAX_BYTES  (20 * 1024 * 1024) /* above GROUP_FULL_BYTES and the largest message, headers included */
#define GROUP_KEEP_BYTES (128 * 1024)
#define HEADER_MAX_BYTES (64 * 1024)
#define EXPIRE_EVERY_MS  10000
#define AUDIO_ALONE_MS   1000 /* so long a video sequence header is waited for before audio begins alone */
#define VIDEO_SILENT_MS  3000
#define STRINGIFY(x)     #x
#define DECIMAL(x)       STRINGIFY(x)

enum header { HEADER_METADATA, HEADER_VIDEO, HEADER_AUDIO, HEADERS };

struct ring_writer {
    struct ring_writer_pool *pool;
    char key[KEY_MAX];
    char session[24];
    int64_t next_session;           /* 0: none */
    struct buffer headers[HEADERS]; /* bodies */
    struct buffer group;
    bool group_is_key, group_has_gap;
    bool is_waiting;            /* for a key frame */
    bool has_gap;               /* the next entry says so */
    int64_t first_ms, video_ms; /* when anything, and a video frame, last came; 0: never */
    int64_t expire_ms;
    size_t in_flight_bytes;
    unsigned in_flight;
    bool is_dead;
};

/* One XADD on its way. */
struct flight {
    struct ring_writer *writer;
    size_t bytes;
    int64_t sent_us;
};

struct ring_writer *ring_writer_create(struct ring_writer_pool *pool, const char *broadcast, int64_t session)
{
    struct ring_writer *writer = alloc_zero(1, sizeof(*writer));

    writer->pool = pool;
    key_of(writer->key, KEY_MEDIA_RING, broadcast);
    snprintf(writer->session, sizeof(writer->session), "%" PRId64, session);
    for (int i = 0; i < HEADERS; i++)
        buffer_init(&writer->headers[i], HEADER_MAX_BYTES);
    buffer_init(&writer->group, GROUP_MAX_BYTES);
    writer->is_waiting = true;
    return writer;
}

static void release(struct ring_writer *writer)
{
    if (writer->in_flight > 0 || !writer->is_dead)
        return;
    for (int i = 0; i < HEADERS; i++)
        buffer_clear(&writer->headers[i]);
    buffer_clear(&writer->group);
    free(writer);
}

void ring_writer_destroy(struct ring_writer *writer)
{
    if (!writer)
        return;
    writer->is_dead = true;
    release(writer);
}

size_t ring_writer_buffered_bytes(const struct ring_writer *writer)
{
    return writer->group.capacity + writer->in_flight_bytes;
}

/* --- the gap ---------------------------------------------------------------------------------------------------- */

static void note_loss(struct ring_writer *writer)
{
    metric_add(writer->pool->metrics.dropped_groups, 1);
    writer->is_waiting = true;
    writer->has_gap = true;
}

static void drop_group(struct ring_writer *writer)
{
    note_loss(writer);
    buffer_reset(&writer->group);
}

/* --- to Redis --------------------------------------------------------------------------------------------------- */

static void on_added(int code, const struct redisReply *reply, void *context)
{
    struct flight *flight = context;
    struct ring_writer *writer = flight->writer;
    struct ring_writer_pool *pool = writer->pool;

    writer->in_flight--;
    writer->in_flight_bytes -= flight->bytes;
    pool->bytes -= flight->bytes;
    metric_set(pool->metrics.unanswered_bytes, (double)pool->bytes);
    if (code == 0) {
        metric_add(pool->metrics.groups, 1);
        metric_add(pool->metrics.bytes_total, (double)flight->bytes);
        metric_observe(pool->metrics.latency_seconds, (double)(clock_monotonic_us() - flight->sent_us) / 1e6);
    } else {
        /* Refused (out of memory, read only) or lost: what follows it cannot be decoded either. */
        note_loss(writer);
        buffer_reset(&writer->group);
    }
    free(flight);
    release(writer);
}

static bool is_over_bounds(const struct ring_writer *writer, size_t bytes)
{
    const struct ring_writer_pool *pool = writer->pool;

    return writer->in_flight_bytes + bytes > pool->max_bytes_per_writer || pool->bytes + bytes > pool->max_bytes;
}

/* `fields`: pairs behind the session. */
static void add_entry(struct ring_writer *writer, int count, const char *const *fields, const size_t *lens)
{
    const char *args[16] = {"XADD", writer->key,        "MAXLEN",       "~", DECIMAL(MEDIA_RING_MAX_GROUPS),
                            "*",    MEDIA_RING_SESSION, writer->session};
    size_t arg_lens[16];
    struct flight *flight = alloc_zero(1, sizeof(*flight));
    const int fixed = 8;

    for (int i = 0; i < fixed; i++)
        arg_lens[i] = strlen(args[i]);
    for (int i = 0; i < count; i++) {
        args[fixed + i] = fields[i];
        arg_lens[fixed + i] = lens[i];
        flight->bytes += lens[i];
    }
    flight->writer = writer;
    flight->sent_us = clock_monotonic_us();
    writer->in_flight++;
    writer->in_flight_bytes += flight->bytes;
    writer->pool->bytes += flight->bytes;
    redis_link_command(writer->pool->media, on_added, flight, fixed + count, args, arg_lens);
}

static void expire(struct ring_writer *writer)
{
    int64_t now_ms = clock_monotonic_ms();

    if (now_ms < writer->expire_ms)
        return;
    writer->expire_ms = now_ms + EXPIRE_EVERY_MS;
    redis_link_command(writer->pool->media, NULL, NULL, 3,
                       (const char *[]){"EXPIRE", writer->key, DECIMAL(MEDIA_RING_EXPIRE_S)}, NULL);
}

void ring_writer_flush(struct ring_writer *writer)
{
    const char *fields[6];
    size_t lens[6];
    int count = 0;

    if (writer->group.len == 0)
        return;
    if (!redis_link_is_up(writer->pool->media) || is_over_bounds(writer, writer->group.len)) {
        drop_group(writer);
        return;
    }
    fields[count] = MEDIA_RING_DATA, lens[count++] = strlen(MEDIA_RING_DATA);
    fields[count] = (const char *)writer->group.data, lens[count++] = writer->group.len;
    if (writer->group_is_key) {
        fields[count] = MEDIA_RING_KEY, lens[count++] = strlen(MEDIA_RING_KEY);
        fields[count] = "1", lens[count++] = 1;
    }
    if (writer->group_has_gap) {
        fields[count] = MEDIA_RING_GAP, lens[count++] = strlen(MEDIA_RING_GAP);
        fields[count] = "1", lens[count++] = 1;
    }
    writer->group_has_gap = false;
    add_entry(writer, count, fields, lens);
    buffer_reset(&writer->group);
    if (writer->group.capacity > GROUP_KEEP_BYTES)
        buffer_clear(&writer->group);
    expire(writer);
}

void ring_writer_end(struct ring_writer *writer, const char *reason)
{
    ring_writer_flush(writer);
    if (!redis_link_is_up(writer->pool->media))
        return;
    const char *fields[] = {MEDIA_RING_END, reason};
    const size_t lens[] = {strlen(fields[0]), strlen(reason)};
    add_entry(writer, 2, fields, lens);
    writer->expire_ms = 0;
    expire(writer);
}

void ring_writer_renumber(struct ring_writer *writer, int64_t session)
{
    writer->next_session = session;
}

/* --- gathering -------------------------------------------------------------------------------------------------- */

static void append(struct ring_writer *writer, enum flv_tag_type type, uint32_t timestamp_ms, const uint8_t *body,
                   size_t len)
{
    if (flv_tag_append(&writer->group, type, timestamp_ms, body, len) != 0)
        drop_group(writer);
}

/* An entry where a reader may start: it begins with what a decoder needs. */
static void begin_key_group(struct ring_writer *writer, uint32_t timestamp_ms)
{
    static const enum flv_tag_type types[HEADERS] = {FLV_TAG_SCRIPT, FLV_TAG_VIDEO, FLV_TAG_AUDIO};

    ring_writer_flush(writer);
    if (writer->next_session) {
        snprintf(writer->session, sizeof(writer->session), "%" PRId64, writer->next_session);
        writer->next_session = 0;
    }
    writer->is_waiting = false;
    writer->group_is_key = true;
    writer->group_has_gap = writer->has_gap;
    writer->has_gap = false;
    for (int i = 0; i < HEADERS; i++) {
        if (writer->headers[i].len > 0)
            append(writer, types[i], timestamp_ms, writer->headers[i].data, writer->headers[i].len);
    }
}

static void add_header(struct ring_writer *writer, enum header which, const struct flv_tag *tag)
{
    struct buffer *header = &writer->headers[which];

    /* Empty ones, and the repetitions that some encoders send with every key frame. */
    if (tag->payload_len == 0 || (header->len == tag->body_len && memcmp(header->data, tag->body, tag->body_len) == 0))
        return;
    buffer_reset(header);
    if (buffer_append(header, tag->body, tag->body_len) != 0)
        return;
    /* Changed in mid-stream: in its place too, a reader that is here already needs it. */
    if (!writer->is_waiting) {
        if (writer->group.len == 0)
            writer->group_is_key = false;
        append(writer, tag->type, tag->timestamp_ms, tag->body, tag->body_len);
    }
}

static bool has_video(const struct ring_writer *writer, int64_t now_ms)
{
    int64_t since_ms = writer->video_ms ? writer->video_ms : writer->first_ms;
    int64_t patience_ms = writer->headers[HEADER_VIDEO].len > 0 ? VIDEO_SILENT_MS : AUDIO_ALONE_MS;

    return now_ms - since_ms < patience_ms;
}

static void add_video(struct ring_writer *writer, const struct flv_tag *tag, int64_t now_ms)
{
    writer->video_ms = now_ms;
    if (writer->headers[HEADER_VIDEO].len == 0)
        return; /* nothing could decode it */
    if (tag->is_keyframe)
        begin_key_group(writer, tag->timestamp_ms);
    else if (writer->is_waiting)
        return;
    else if (writer->group.len == 0)
        writer->group_is_key = false;
    append(writer, tag->type, tag->timestamp_ms, tag->body, tag->body_len);
}

static void add_audio(struct ring_writer *writer, const struct flv_tag *tag, int64_t now_ms)
{
    if (writer->headers[HEADER_AUDIO].len == 0)
        return;
    if (writer->group.len == 0) {
        if (!has_video(writer, now_ms))
            begin_key_group(writer, tag->timestamp_ms);
        else
            writer->group_is_key = false;
    }
    if (!writer->is_waiting)
        append(writer, tag->type, tag->timestamp_ms, tag->body, tag->body_len);
}

void ring_writer_add(struct ring_writer *writer, const struct flv_tag *tag, int64_t now_ms)
{
    if (writer->first_ms == 0)
        writer->first_ms = now_ms;
    if (tag->type == FLV_TAG_SCRIPT)
        add_header(writer, HEADER_METADATA, tag);
    else if (tag->is_sequence_header)
        add_header(writer, tag->type == FLV_TAG_VIDEO ? HEADER_VIDEO : HEADER_AUDIO, tag);
    else if (tag->is_media && tag->type == FLV_TAG_VIDEO)
        add_video(writer, tag, now_ms);
    else if (tag->is_media)
        add_audio(writer, tag, now_ms);
    if (writer->group.len > GROUP_FULL_BYTES)
        ring_writer_flush(writer);
}
