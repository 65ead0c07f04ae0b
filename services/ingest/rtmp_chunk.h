/* RTMP's chunk layer, inbound: bytes become messages. Pure: no I/O, no clock, no logs. One reader per connection.
 *
 *     while ((result = rtmp_chunk_read(reader, bytes, len, &taken, &message)) == RTMP_CHUNK_MESSAGE) {
 *         handle(&message); bytes += taken; len -= taken;
 *     }
 *
 * A message that lies whole in the given bytes is handed out in place; only one that spans chunks or reads is copied
 * together. Memory grows with what has arrived, never with what a header promises, up to `max_buffered_bytes` over all
 * chunk streams. Set Chunk Size and Abort concern this layer alone and are carried out here. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rtmp_chunk_limits {
    size_t max_message_bytes;
    size_t max_chunk_bytes;
    size_t max_buffered_bytes; /* of unfinished messages together */
};

enum rtmp_message_type {
    RTMP_SET_CHUNK_SIZE = 1,
    RTMP_ABORT = 2,
    RTMP_ACKNOWLEDGEMENT = 3,
    RTMP_USER_CONTROL = 4,
    RTMP_WINDOW_ACK_SIZE = 5,
    RTMP_SET_PEER_BANDWIDTH = 6,
    RTMP_AUDIO = 8,
    RTMP_VIDEO = 9,
    RTMP_DATA_AMF3 = 15,
    RTMP_COMMAND_AMF3 = 17,
    RTMP_DATA_AMF0 = 18,
    RTMP_COMMAND_AMF0 = 20,
    RTMP_AGGREGATE = 22,
};

struct rtmp_message {
    uint8_t type;
    uint32_t timestamp_ms;
    uint32_t stream_id;
    const uint8_t *body; /* valid until the next call with this reader */
    size_t len_bytes;
};

enum rtmp_chunk_result {
    RTMP_CHUNK_MORE = 0, /* all bytes were taken */
    RTMP_CHUNK_MESSAGE = 1,
    RTMP_CHUNK_BROKEN = -1,          /* a header that refers to none before it, a control message that is too short */
    RTMP_CHUNK_MESSAGE_TOO_BIG = -2, /* max_message_bytes */
    RTMP_CHUNK_SIZE_REFUSED = -3,    /* a chunk size of 0 or above max_chunk_bytes */
    RTMP_CHUNK_TOO_MUCH = -4,        /* max_buffered_bytes, or more than 64 chunk streams */
};

struct rtmp_chunk_reader;

struct rtmp_chunk_reader *rtmp_chunk_reader_create(const struct rtmp_chunk_limits *limits);
/* For messages that begin from now on. */
void rtmp_chunk_reader_set_limits(struct rtmp_chunk_reader *reader, const struct rtmp_chunk_limits *limits);
void rtmp_chunk_reader_destroy(struct rtmp_chunk_reader *reader); /* NULL is fine */

/* Reads on until a message is complete; `taken` says how many of the bytes it needed. After an error the reader is only
 * good for rtmp_chunk_reader_destroy(). */
enum rtmp_chunk_result rtmp_chunk_read(struct rtmp_chunk_reader *reader, const uint8_t *bytes, size_t len_bytes,
                                       size_t *taken, struct rtmp_message *message) __attribute__((warn_unused_result));
/* What has come of unfinished messages. */
size_t rtmp_chunk_buffered_bytes(const struct rtmp_chunk_reader *reader);
/* Memory held for them and for those to come: at most twice max_buffered_bytes, and a little that is kept. */
size_t rtmp_chunk_allocated_bytes(const struct rtmp_chunk_reader *reader);
