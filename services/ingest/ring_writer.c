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

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>

#define GROUP_FULL_BYTES  (256 * 1024) /* a burst is written in several entries */
#define GROUP_GUESS_BYTES (64 * 1024)
#define GROUP_MAX_BYTES   (20 * 1024 * 1024) /* above GROUP_FULL_BYTES and the largest message, headers included */
#define HEAD_BYTES        640                /* room for the command in front of a group's data */
#define HEADER_MAX_BYTES  (64 * 1024)
#define EXPIRE_EVERY_MS   10000
#define AUDIO_ALONE_MS    1000 /* so long a video sequence header is waited for before audio begins alone */
#define VIDEO_SILENT_MS   3000
#define STRINGIFY(x)      #x
#define DECIMAL(x)        STRINGIFY(x)

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
    size_t last_group_bytes, in_flight_bytes;
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

/* --- the gap --- */

static void note_loss(struct ring_writer *writer)
{
    metric_add(writer->pool->metrics.dropped_groups, 1);
    writer->is_waiting = true;
    writer->has_gap = true;
}

static bool is_empty(const struct ring_writer *writer)
{
    return writer->group.len == 0;
}

static void drop_group(struct ring_writer *writer)
{
    note_loss(writer);
    buffer_clear(&writer->group);
}

/* --- to Redis --- */

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
        drop_group(writer);
    }
    free(flight);
    release(writer);
}

static bool is_over_bounds(const struct ring_writer *writer, size_t bytes)
{
    const struct ring_writer_pool *pool = writer->pool;

    return writer->in_flight_bytes + bytes > pool->max_bytes_per_writer || pool->bytes + bytes > pool->max_bytes;
}

static struct flight *take_off(struct ring_writer *writer, size_t bytes)
{
    struct flight *flight = alloc_zero(1, sizeof(*flight));

    flight->writer = writer;
    flight->bytes = bytes;
    flight->sent_us = clock_monotonic_us();
    writer->in_flight++;
    writer->in_flight_bytes += bytes;
    writer->pool->bytes += bytes;
    return flight;
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

/* The XADD up to the data, in the protocol's form. Returns its length. */
static size_t write_head(const struct ring_writer *writer, size_t data_len, char out[HEAD_BYTES])
{
    const int extra = (writer->group_is_key ? 2 : 0) + (writer->group_has_gap ? 2 : 0);
    int len =
        snprintf(out, HEAD_BYTES, "*%d\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n", 10 + extra, strlen(writer->key), writer->key);

    len += snprintf(out + len, HEAD_BYTES - (size_t)len,
                    "$6\r\nMAXLEN\r\n$1\r\n~\r\n$%zu\r\n" DECIMAL(MEDIA_RING_MAX_GROUPS) "\r\n$1\r\n*\r\n",
                    sizeof(DECIMAL(MEDIA_RING_MAX_GROUPS)) - 1);
    len += snprintf(out + len, HEAD_BYTES - (size_t)len, "$1\r\n" MEDIA_RING_SESSION "\r\n$%zu\r\n%s\r\n%s%s",
                    strlen(writer->session), writer->session,
                    writer->group_is_key ? "$1\r\n" MEDIA_RING_KEY "\r\n$1\r\n1\r\n" : "",
                    writer->group_has_gap ? "$1\r\n" MEDIA_RING_GAP "\r\n$1\r\n1\r\n" : "");
    len += snprintf(out + len, HEAD_BYTES - (size_t)len, "$1\r\n" MEDIA_RING_DATA "\r\n$%zu\r\n", data_len);
    assert(len < HEAD_BYTES);
    return (size_t)len;
}

/* The group becomes a command where it lies: the head right in front of the tags. */
void ring_writer_flush(struct ring_writer *writer)
{
    char head[HEAD_BYTES];
    size_t len;

    if (is_empty(writer))
        return;
    const size_t data_len = writer->group.len - HEAD_BYTES;
    if (!redis_link_is_up(writer->pool->media) || is_over_bounds(writer, data_len) ||
        buffer_append(&writer->group, "\r\n", 2) != 0) {
        drop_group(writer);
        return;
    }
    const size_t head_len = write_head(writer, data_len, head);
    uint8_t *memory = buffer_take(&writer->group, &len);
    memcpy(memory + HEAD_BYTES - head_len, head, head_len);
    writer->group_has_gap = false;
    writer->last_group_bytes = data_len < GROUP_GUESS_BYTES ? data_len : GROUP_GUESS_BYTES;
    redis_link_command_memory(writer->pool->media, on_added, take_off(writer, data_len), memory, HEAD_BYTES - head_len,
                              len - HEAD_BYTES + head_len);
    expire(writer);
}

void ring_writer_end(struct ring_writer *writer, const char *reason)
{
    ring_writer_flush(writer);
    if (!redis_link_is_up(writer->pool->media))
        return;
    const char *args[] = {
        "XADD",          writer->key,    "MAXLEN", "~", DECIMAL(MEDIA_RING_MAX_GROUPS), "*", MEDIA_RING_SESSION,
        writer->session, MEDIA_RING_END, reason};
    redis_link_command(writer->pool->media, on_added, take_off(writer, 0), sizeof(args) / sizeof(args[0]), args, NULL);
    writer->expire_ms = 0;
    expire(writer);
}

void ring_writer_renumber(struct ring_writer *writer, int64_t session)
{
    writer->next_session = session;
}

/* --- gathering --- */

static void append(struct ring_writer *writer, enum flv_tag_type type, uint32_t timestamp_ms, const uint8_t *body,
                   size_t len)
{
    if (is_empty(writer)) {
        /* About as large as the last one, so that it seldom grows; the head's room first. */
        if (!buffer_reserve(&writer->group, HEAD_BYTES + FLV_TAG_OVERHEAD + len + writer->last_group_bytes / 8 * 9)) {
            drop_group(writer);
            return;
        }
        buffer_commit(&writer->group, HEAD_BYTES);
    }
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
        if (is_empty(writer))
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
    else if (is_empty(writer))
        writer->group_is_key = false;
    append(writer, tag->type, tag->timestamp_ms, tag->body, tag->body_len);
}

static void add_audio(struct ring_writer *writer, const struct flv_tag *tag, int64_t now_ms)
{
    if (writer->headers[HEADER_AUDIO].len == 0)
        return;
    if (is_empty(writer)) {
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
