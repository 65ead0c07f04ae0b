/* A chunk is a header of 1 to 18 bytes and up to chunk_size bytes of a message. Headers that a read cut in two wait in
 * `held`; so do up to four bytes that had to be looked at to tell an extended timestamp from payload.
 *
 * Extended timestamps: where the 24-bit field says 0xffffff, four bytes follow. In chunks of type 3 the specification
 * wants them repeated, but some encoders leave them out. The four bytes are taken for a repetition only if they are
 * equal to what was sent. */
#include "services/ingest/rtmp_chunk.h"

#include "libcommon/alloc.h"

#include <stdbool.h>

#define DEFAULT_CHUNK_SIZE 128
#define MAX_HEADER         18
#define MAX_STREAMS        64
#define EXTENDED           0xffffffu
#define SMALLEST_BODY      1024
#define KEEP_BODY          (16 * 1024) /* a larger buffer goes back after its message: many publishers, few key frames */
#define KEEP_BODIES        (4 * KEEP_BODY) /* and so does any, while the chunk streams together have more than this */

struct chunk_stream {
    uint32_t id;
    uint32_t timestamp_ms; /* of the message */
    uint32_t field;        /* what the last header of type 0, 1 or 2 gave: absolute or a delta */
    bool is_extended;      /* the field came as an extended timestamp */
    uint8_t type;
    uint32_t stream_id;
    size_t len; /* of the message */
    uint8_t *body;
    size_t received, capacity;
};

struct rtmp_chunk_reader {
    struct rtmp_chunk_limits limits;
    size_t chunk_size;
    struct chunk_stream *streams;
    size_t streams_count;
    size_t buffered;
    size_t current;    /* index of the stream whose chunk is being read; valid while chunk_left > 0 */
    size_t chunk_left; /* payload of the current chunk still to come */
    uint8_t held[MAX_HEADER];
    size_t held_len;
};

/* A header as it stands in the bytes. */
struct header {
    int format;
    uint32_t stream;
    uint32_t field;
    bool is_extended;
    size_t len; /* message length, formats 0 and 1 */
    uint8_t type;
    uint32_t stream_id;
    size_t size; /* bytes of the header */
};

static uint32_t read_u24(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
}

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | read_u24(bytes + 1);
}

struct rtmp_chunk_reader *rtmp_chunk_reader_create(const struct rtmp_chunk_limits *limits)
{
    struct rtmp_chunk_reader *reader = alloc_zero(1, sizeof(*reader));

    reader->limits = *limits;
    reader->chunk_size = DEFAULT_CHUNK_SIZE;
    return reader;
}

void rtmp_chunk_reader_set_limits(struct rtmp_chunk_reader *reader, const struct rtmp_chunk_limits *limits)
{
    reader->limits = *limits;
}

void rtmp_chunk_reader_destroy(struct rtmp_chunk_reader *reader)
{
    if (!reader)
        return;
    for (size_t i = 0; i < reader->streams_count; i++)
        free(reader->streams[i].body);
    free(reader->streams);
    free(reader);
}

size_t rtmp_chunk_buffered_bytes(const struct rtmp_chunk_reader *reader)
{
    return reader->buffered;
}

static struct chunk_stream *find_stream(struct rtmp_chunk_reader *reader, uint32_t id)
{
    for (size_t i = 0; i < reader->streams_count; i++) {
        if (reader->streams[i].id == id)
            return &reader->streams[i];
    }
    return NULL;
}

static struct chunk_stream *add_stream(struct rtmp_chunk_reader *reader, uint32_t id)
{
    if (reader->streams_count == MAX_STREAMS)
        return NULL;
    /* Doubling from 4: most encoders use three or four. */
    size_t count = reader->streams_count;
    if (count == 0 || (count >= 4 && (count & (count - 1)) == 0)) {
        size_t capacity = count ? count * 2 : 4;
        struct chunk_stream *streams = realloc(reader->streams, capacity * sizeof(*streams));
        if (!streams)
            return NULL;
        reader->streams = streams;
    }
    struct chunk_stream *stream = &reader->streams[reader->streams_count++];
    *stream = (struct chunk_stream){.id = id};
    return stream;
}

size_t rtmp_chunk_allocated_bytes(const struct rtmp_chunk_reader *reader)
{
    size_t bytes = 0;

    for (size_t i = 0; i < reader->streams_count; i++)
        bytes += reader->streams[i].capacity;
    return bytes;
}

static void forget_body(struct rtmp_chunk_reader *reader, struct chunk_stream *stream)
{
    reader->buffered -= stream->received;
    stream->received = 0;
    if (stream->capacity > KEEP_BODY || rtmp_chunk_allocated_bytes(reader) > KEEP_BODIES) {
        free(stream->body);
        stream->body = NULL;
        stream->capacity = 0;
    }
}

static enum rtmp_chunk_result append_body(struct rtmp_chunk_reader *reader, struct chunk_stream *stream,
                                          const uint8_t *bytes, size_t len)
{
    if (len == 0)
        return RTMP_CHUNK_MORE;
    if (reader->buffered + len > reader->limits.max_buffered_bytes)
        return RTMP_CHUNK_TOO_MUCH;
    if (stream->received + len > stream->capacity) {
        size_t capacity = stream->capacity ? stream->capacity * 2 : SMALLEST_BODY;
        while (capacity < stream->received + len)
            capacity *= 2;
        if (capacity > stream->len)
            capacity = stream->len;
        uint8_t *body = realloc(stream->body, capacity);
        if (!body)
            return RTMP_CHUNK_TOO_MUCH;
        stream->body = body;
        stream->capacity = capacity;
    }
    memcpy(stream->body + stream->received, bytes, len);
    stream->received += len;
    reader->buffered += len;
    return RTMP_CHUNK_MORE;
}

/* 1: `header` is filled; 0: more bytes are needed. */
static int parse_header(struct rtmp_chunk_reader *reader, const uint8_t *bytes, size_t len, struct header *header)
{
    static const size_t sizes[4] = {11, 7, 3, 0};
    size_t at = 1;

    if (len < 1)
        return 0;
    *header = (struct header){.format = bytes[0] >> 6, .stream = bytes[0] & 0x3f};
    if (header->stream < 2) {
        at += header->stream + 1;
        if (len < at)
            return 0;
        header->stream = 64 + bytes[1] + (at == 3 ? (uint32_t)bytes[2] << 8 : 0);
    }
    const uint8_t *fields = bytes + at;
    at += sizes[header->format];
    if (len < at)
        return 0;
    if (header->format < 3) {
        header->field = read_u24(fields);
        header->is_extended = header->field == EXTENDED;
    }
    if (header->format < 2) {
        header->len = read_u24(fields + 3);
        header->type = fields[6];
    }
    if (header->format == 0)
        header->stream_id =
            (uint32_t)fields[10] << 24 | (uint32_t)fields[9] << 16 | (uint32_t)fields[8] << 8 | fields[7];
    if (header->is_extended) {
        if (len < at + 4)
            return 0;
        header->field = read_u32(bytes + at);
        at += 4;
    }
    const struct chunk_stream *stream = header->format == 3 ? find_stream(reader, header->stream) : NULL;
    if (stream && stream->is_extended) {
        if (len < at + 4)
            return 0;
        uint32_t repeated = read_u32(bytes + at);
        if (repeated == stream->field || (stream->received > 0 && repeated == stream->timestamp_ms))
            at += 4;
    }
    header->size = at;
    return 1;
}

static enum rtmp_chunk_result begin_message(struct rtmp_chunk_reader *reader, struct chunk_stream *stream,
                                            const struct header *header)
{
    if (header->format < 2) {
        stream->len = header->len;
        stream->type = header->type;
    }
    if (header->format == 0)
        stream->stream_id = header->stream_id;
    if (header->format < 3) {
        stream->field = header->field;
        stream->is_extended = header->is_extended;
    }
    /* A message that begins with type 3 repeats the last field as its delta, also when that was an absolute time. */
    stream->timestamp_ms = header->format == 0 ? header->field : stream->timestamp_ms + stream->field;
    return stream->len > reader->limits.max_message_bytes ? RTMP_CHUNK_MESSAGE_TOO_BIG : RTMP_CHUNK_MORE;
}

static enum rtmp_chunk_result begin_chunk(struct rtmp_chunk_reader *reader, const struct header *header)
{
    struct chunk_stream *stream = find_stream(reader, header->stream);

    if (!stream) {
        /* Some encoders open a chunk stream with type 1; nothing but stream id 0 is missing then. */
        if (header->format > 1)
            return RTMP_CHUNK_BROKEN;
        stream = add_stream(reader, header->stream);
        if (!stream)
            return RTMP_CHUNK_TOO_MUCH;
    }
    /* A full header in the middle of a message begins a new one: the old one was given up by its sender. */
    if (stream->received > 0 && header->format < 3)
        forget_body(reader, stream);
    if (stream->received == 0) {
        enum rtmp_chunk_result result = begin_message(reader, stream, header);
        if (result != RTMP_CHUNK_MORE)
            return result;
    }
    size_t missing = stream->len - stream->received;
    reader->current = (size_t)(stream - reader->streams);
    reader->chunk_left = missing < reader->chunk_size ? missing : reader->chunk_size;
    return RTMP_CHUNK_MORE;
}

/* Set Chunk Size and Abort. MESSAGE: it is none of this layer's, hand it out. */
static enum rtmp_chunk_result carry_out(struct rtmp_chunk_reader *reader, const struct rtmp_message *message)
{
    if (message->type != RTMP_SET_CHUNK_SIZE && message->type != RTMP_ABORT)
        return RTMP_CHUNK_MESSAGE;
    if (message->len_bytes < 4)
        return RTMP_CHUNK_BROKEN;
    uint32_t value = read_u32(message->body);
    if (message->type == RTMP_ABORT) {
        struct chunk_stream *stream = find_stream(reader, value);
        if (stream)
            forget_body(reader, stream);
        return RTMP_CHUNK_MORE;
    }
    if (value == 0 || value > reader->limits.max_chunk_bytes)
        return RTMP_CHUNK_SIZE_REFUSED;
    reader->chunk_size = value;
    return RTMP_CHUNK_MORE;
}

static void describe(const struct chunk_stream *stream, const uint8_t *body, struct rtmp_message *message)
{
    *message = (struct rtmp_message){.type = stream->type,
                                     .timestamp_ms = stream->timestamp_ms,
                                     .stream_id = stream->stream_id,
                                     .body = body,
                                     .len_bytes = stream->len};
}

/* Takes payload of the current chunk. MESSAGE: `message` is complete. */
static enum rtmp_chunk_result take_payload(struct rtmp_chunk_reader *reader, const uint8_t *bytes, size_t len,
                                           size_t *taken, struct rtmp_message *message)
{
    struct chunk_stream *stream = &reader->streams[reader->current];
    size_t part = reader->chunk_left < len ? reader->chunk_left : len;

    *taken = part;
    if (stream->received == 0 && part == stream->len) {
        reader->chunk_left = 0;
        describe(stream, bytes, message);
        return RTMP_CHUNK_MESSAGE;
    }
    enum rtmp_chunk_result result = append_body(reader, stream, bytes, part);
    if (result != RTMP_CHUNK_MORE)
        return result;
    reader->chunk_left -= part;
    if (stream->received < stream->len)
        return RTMP_CHUNK_MORE;
    describe(stream, stream->body, message);
    return RTMP_CHUNK_MESSAGE;
}

/* The message has been dealt with (or will be, before the next call): its memory serves the next one. A large buffer is
 * freed at the next call only, since the caller still reads it. */
static void finish_messages(struct rtmp_chunk_reader *reader)
{
    for (size_t i = 0; i < reader->streams_count; i++) {
        struct chunk_stream *stream = &reader->streams[i];
        if (stream->received > 0 && stream->received == stream->len)
            forget_body(reader, stream);
    }
}

/* Completes a header from `held` and the new bytes. 1: begun; 0: more needed; else an error. `taken`: of `bytes`. */
static int read_header(struct rtmp_chunk_reader *reader, const uint8_t *bytes, size_t len, size_t *taken)
{
    struct header header;
    enum rtmp_chunk_result result;

    if (reader->held_len == 0 && parse_header(reader, bytes, len, &header)) {
        *taken = header.size;
        result = begin_chunk(reader, &header);
        return result == RTMP_CHUNK_MORE ? 1 : (int)result;
    }
    size_t part = MAX_HEADER - reader->held_len < len ? MAX_HEADER - reader->held_len : len;
    size_t held = reader->held_len;
    memcpy(reader->held + held, bytes, part);
    if (!parse_header(reader, reader->held, held + part, &header)) {
        reader->held_len += part;
        *taken = part;
        return 0;
    }
    if (header.size >= held) {
        *taken = header.size - held;
        reader->held_len = 0;
    } else { /* the look ahead found payload instead of an extended timestamp: it stays held */
        *taken = 0;
        reader->held_len = held - header.size;
        memmove(reader->held, reader->held + header.size, reader->held_len);
    }
    result = begin_chunk(reader, &header);
    return result == RTMP_CHUNK_MORE ? 1 : (int)result;
}

/* One step: a header, or payload. MORE with `*taken` == `len`: nothing is left to do. */
static enum rtmp_chunk_result step(struct rtmp_chunk_reader *reader, bool in_chunk, const uint8_t *bytes, size_t len,
                                   size_t *taken, struct rtmp_message *message)
{
    size_t held_taken;
    enum rtmp_chunk_result result;

    if (!in_chunk || reader->held_len == 0)
        return take_payload(reader, bytes, len, taken, message);
    /* Payload that was looked at too early (at most 4 bytes): through the copying path, since `held` is reused. */
    uint8_t early[MAX_HEADER];
    struct chunk_stream *stream = &reader->streams[reader->current];
    memcpy(early, reader->held, reader->held_len);
    held_taken = reader->chunk_left < reader->held_len ? reader->chunk_left : reader->held_len;
    *taken = 0;
    result = append_body(reader, stream, early, held_taken);
    if (result != RTMP_CHUNK_MORE)
        return result;
    reader->held_len -= held_taken;
    memmove(reader->held, early + held_taken, reader->held_len);
    reader->chunk_left -= held_taken;
    if (stream->received < stream->len)
        return RTMP_CHUNK_MORE;
    describe(stream, stream->body, message);
    return RTMP_CHUNK_MESSAGE;
}

enum rtmp_chunk_result rtmp_chunk_read(struct rtmp_chunk_reader *reader, const uint8_t *bytes, size_t len_bytes,
                                       size_t *taken, struct rtmp_message *message)
{
    enum rtmp_chunk_result result;
    size_t part;

    *taken = 0;
    finish_messages(reader);
    for (;;) {
        if (reader->chunk_left == 0) {
            if (*taken == len_bytes && reader->held_len == 0)
                return RTMP_CHUNK_MORE;
            int begun = read_header(reader, bytes + *taken, len_bytes - *taken, &part);
            *taken += part;
            if (begun <= 0)
                return (enum rtmp_chunk_result)begun;
            /* An empty message is complete with its header. */
            if (reader->chunk_left > 0 && *taken == len_bytes && reader->held_len == 0)
                return RTMP_CHUNK_MORE;
        } else if (*taken == len_bytes && reader->held_len == 0) {
            return RTMP_CHUNK_MORE;
        }
        result = step(reader, reader->chunk_left > 0, bytes + *taken, len_bytes - *taken, &part, message);
        *taken += part;
        if (result == RTMP_CHUNK_MESSAGE)
            result = carry_out(reader, message);
        if (result != RTMP_CHUNK_MORE)
            return result;
        finish_messages(reader);
    }
}
