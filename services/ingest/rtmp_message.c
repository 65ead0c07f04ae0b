/* See rtmp_message.h. All messages are short, so one chunk each; every header is a full one. */
#include "services/ingest/rtmp_message.h"

#include "services/ingest/amf0.h"

#include "libcommon/buffer.h"

#include <string.h>

#define CONTROL_CHUNK_STREAM 2
#define COMMAND_CHUNK_STREAM 3
#define HEADER_SIZE          12
#define LIMIT_DYNAMIC        2

static void write_u32(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

static void send_message(struct buffer *out, uint8_t chunk_stream, enum rtmp_message_type type, uint32_t stream_id,
                         const uint8_t *body, size_t len)
{
    uint8_t *header;

    if (len > RTMP_OUT_CHUNK_SIZE || !(header = buffer_reserve(out, HEADER_SIZE + len)))
        return;
    memset(header, 0, 4); /* format 0, timestamp 0 */
    header[0] = chunk_stream;
    header[4] = 0;
    header[5] = (uint8_t)(len >> 8);
    header[6] = (uint8_t)len;
    header[7] = (uint8_t)type;
    for (int i = 0; i < 4; i++) /* the one little-endian number of the protocol */
        header[8 + i] = (uint8_t)(stream_id >> (8 * i));
    memcpy(header + HEADER_SIZE, body, len);
    buffer_commit(out, HEADER_SIZE + len);
}

void rtmp_send_control(struct buffer *out, enum rtmp_message_type type, uint32_t value)
{
    uint8_t body[4];

    write_u32(body, value);
    send_message(out, CONTROL_CHUNK_STREAM, type, 0, body, sizeof(body));
}

void rtmp_send_peer_bandwidth(struct buffer *out, uint32_t window_bytes)
{
    uint8_t body[5];

    write_u32(body, window_bytes);
    body[4] = LIMIT_DYNAMIC;
    send_message(out, CONTROL_CHUNK_STREAM, RTMP_SET_PEER_BANDWIDTH, 0, body, sizeof(body));
}

void rtmp_send_user_event(struct buffer *out, enum rtmp_user_event event, uint32_t value)
{
    uint8_t body[6] = {0, (uint8_t)event};

    write_u32(body + 2, value);
    send_message(out, CONTROL_CHUNK_STREAM, RTMP_USER_CONTROL, 0, body, sizeof(body));
}

void rtmp_send_command(struct buffer *out, uint32_t stream_id, const struct buffer *body)
{
    send_message(out, COMMAND_CHUNK_STREAM, RTMP_COMMAND_AMF0, stream_id, body->data, body->len);
}

void rtmp_send_status(struct buffer *out, uint32_t stream_id, const char *command, double transaction,
                      const char *level, const char *code, const char *description)
{
    struct buffer body;

    buffer_init(&body, RTMP_OUT_CHUNK_SIZE);
    amf0_write_string(&body, command);
    amf0_write_number(&body, transaction);
    amf0_write_null(&body);
    amf0_write_object_begin(&body);
    amf0_write_name(&body, "level");
    amf0_write_string(&body, level);
    amf0_write_name(&body, "code");
    amf0_write_string(&body, code);
    amf0_write_name(&body, "description");
    amf0_write_string(&body, description);
    amf0_write_object_end(&body);
    rtmp_send_command(out, stream_id, &body);
    buffer_clear(&body);
}
