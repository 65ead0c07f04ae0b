/* See flv.h. The layout is that of Adobe's "Video File Format Specification" 10.1, annex E. */
#include "proto/flv.h"

#include "libcommon/buffer.h"

#include <string.h>

enum { FRAME_TYPE_KEY = 1, FRAME_TYPE_INFO = 5 };
enum { AVC_SEQUENCE_HEADER = 0, AVC_NAL_UNITS = 1, AVC_END_OF_SEQUENCE = 2 };
enum { AAC_SEQUENCE_HEADER = 0, AAC_RAW = 1 };
enum { ENHANCED_VIDEO_FLAG = 0x80, ENHANCED_AUDIO_FORMAT = 9, ENHANCED_SEQUENCE_START = 0 };

static uint32_t read_u24(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
}

static uint32_t read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | read_u24(bytes + 1);
}

static void write_u24(uint8_t *out, uint32_t value)
{
    out[0] = (uint8_t)(value >> 16);
    out[1] = (uint8_t)(value >> 8);
    out[2] = (uint8_t)value;
}

static void take_fourcc(struct flv_tag *tag, const uint8_t *body, size_t len_bytes)
{
    if (len_bytes < 5)
        return;
    for (int i = 0; i < 4; i++) {
        uint8_t c = body[1 + i];
        tag->fourcc[i] = c > 0x20 && c < 0x7f ? (char)c : '?'; /* it goes into logs and statuses */
    }
}

static void parse_enhanced_video(struct flv_tag *tag, const uint8_t *body, size_t len_bytes)
{
    int packet_type = body[0] & 0x0f;

    tag->codec = FLV_VIDEO_ENHANCED;
    take_fourcc(tag, body, len_bytes);
    tag->is_sequence_header = packet_type == ENHANCED_SEQUENCE_START;
    tag->is_keyframe = !tag->is_sequence_header && ((body[0] >> 4) & 7) == FRAME_TYPE_KEY;
    tag->is_media = !tag->is_sequence_header && len_bytes > 5;
}

static void parse_video(struct flv_tag *tag, const uint8_t *body, size_t len_bytes)
{
    int frame_type = body[0] >> 4;

    if (body[0] & ENHANCED_VIDEO_FLAG) {
        parse_enhanced_video(tag, body, len_bytes);
        return;
    }
    tag->codec = body[0] & 0x0f;
    if (tag->codec != FLV_VIDEO_AVC) {
        tag->is_media = frame_type != FRAME_TYPE_INFO && len_bytes > 1;
        tag->is_keyframe = tag->is_media && frame_type == FRAME_TYPE_KEY;
        return;
    }
    if (frame_type == FRAME_TYPE_INFO || len_bytes < 5)
        return;
    tag->is_sequence_header = body[1] == AVC_SEQUENCE_HEADER;
    tag->is_end_of_sequence = body[1] == AVC_END_OF_SEQUENCE;
    tag->payload = body + 5;
    tag->payload_len = len_bytes - 5;
    if (body[1] == AVC_NAL_UNITS && tag->payload_len > 0) {
        uint32_t offset = read_u24(body + 2);
        tag->composition_offset_ms = (int32_t)(offset & 0x800000 ? offset | 0xff000000u : offset);
        tag->is_media = true;
        tag->is_keyframe = frame_type == FRAME_TYPE_KEY;
    }
}

static void parse_audio(struct flv_tag *tag, const uint8_t *body, size_t len_bytes)
{
    tag->codec = body[0] >> 4;
    if (tag->codec == ENHANCED_AUDIO_FORMAT) {
        tag->codec = FLV_AUDIO_ENHANCED;
        take_fourcc(tag, body, len_bytes);
        tag->is_sequence_header = (body[0] & 0x0f) == ENHANCED_SEQUENCE_START;
        tag->is_media = !tag->is_sequence_header && len_bytes > 5;
    } else if (tag->codec != FLV_AUDIO_AAC) {
        tag->is_media = len_bytes > 1;
    } else if (len_bytes >= 2) {
        tag->is_sequence_header = body[1] == AAC_SEQUENCE_HEADER;
        tag->payload = body + 2;
        tag->payload_len = len_bytes - 2;
        tag->is_media = body[1] == AAC_RAW && tag->payload_len > 0;
    }
}

void flv_body_parse(enum flv_tag_type type, uint32_t timestamp_ms, const uint8_t *body, size_t len_bytes,
                    struct flv_tag *tag)
{
    *tag = (struct flv_tag){.type = type, .timestamp_ms = timestamp_ms, .body = body, .body_len = len_bytes};
    tag->payload = body + len_bytes;
    if (len_bytes == 0)
        return;
    if (type == FLV_TAG_VIDEO) {
        parse_video(tag, body, len_bytes);
    } else if (type == FLV_TAG_AUDIO) {
        parse_audio(tag, body, len_bytes);
    } else {
        tag->payload = body;
        tag->payload_len = len_bytes;
    }
}

int flv_tag_parse(const uint8_t *bytes, size_t len_bytes, struct flv_tag *tag)
{
    if (len_bytes == 0)
        return 0;
    /* The two bits above the type are reserved (0), then "filtered" (encrypted): neither is anything we write. */
    if (bytes[0] != FLV_TAG_AUDIO && bytes[0] != FLV_TAG_VIDEO && bytes[0] != FLV_TAG_SCRIPT)
        return -1;
    if (len_bytes < FLV_TAG_HEADER_SIZE)
        return 0;
    if (read_u24(bytes + 8) != 0)
        return -1;

    size_t body_len = read_u24(bytes + 1);
    size_t tag_len = body_len + FLV_TAG_OVERHEAD;
    if (len_bytes < tag_len)
        return 0;
    if (read_u32(bytes + FLV_TAG_HEADER_SIZE + body_len) != FLV_TAG_HEADER_SIZE + body_len)
        return -1;
    flv_body_parse((enum flv_tag_type)bytes[0], (uint32_t)bytes[7] << 24 | read_u24(bytes + 4),
                   bytes + FLV_TAG_HEADER_SIZE, body_len, tag);
    return (int)tag_len;
}

void flv_tag_write_header(uint8_t out[FLV_TAG_HEADER_SIZE], enum flv_tag_type type, uint32_t timestamp_ms,
                          size_t body_len)
{
    out[0] = (uint8_t)type;
    write_u24(out + 1, (uint32_t)body_len);
    write_u24(out + 4, timestamp_ms & 0xffffff);
    out[7] = (uint8_t)(timestamp_ms >> 24);
    write_u24(out + 8, 0);
}

void flv_tag_write_trailer(uint8_t out[FLV_TAG_TRAILER_SIZE], size_t body_len)
{
    uint32_t size = (uint32_t)(FLV_TAG_HEADER_SIZE + body_len);

    out[0] = (uint8_t)(size >> 24);
    write_u24(out + 1, size & 0xffffff);
}

int flv_tag_append(struct buffer *buffer, enum flv_tag_type type, uint32_t timestamp_ms, const void *body,
                   size_t len_bytes)
{
    if (len_bytes > FLV_MAX_BODY)
        return -1;
    uint8_t *out = buffer_reserve(buffer, len_bytes + FLV_TAG_OVERHEAD);
    if (!out)
        return -1;
    flv_tag_write_header(out, type, timestamp_ms, len_bytes);
    if (len_bytes > 0)
        memcpy(out + FLV_TAG_HEADER_SIZE, body, len_bytes);
    flv_tag_write_trailer(out + FLV_TAG_HEADER_SIZE + len_bytes, len_bytes);
    buffer_commit(buffer, len_bytes + FLV_TAG_OVERHEAD);
    return 0;
}

/* Skips `count` parameter sets (a 16-bit length, then the bytes). -1: they do not fit. */
static int skip_parameter_sets(const uint8_t *record, size_t len_bytes, size_t *at, int count)
{
    for (int i = 0; i < count; i++) {
        if (len_bytes - *at < 2)
            return -1;
        size_t size = (size_t)record[*at] << 8 | record[*at + 1];
        *at += 2;
        if (size == 0 || size > len_bytes - *at)
            return -1;
        *at += size;
    }
    return 0;
}

int flv_avc_config_parse(const uint8_t *record, size_t len_bytes, struct flv_avc_config *config)
{
    size_t at = 6;

    if (len_bytes < 7 || len_bytes > FLV_MAX_AVC_CONFIG || record[0] != 1)
        return -1;
    *config = (struct flv_avc_config){.profile = record[1],
                                      .compatibility = record[2],
                                      .level = record[3],
                                      .nal_length_size = (record[4] & 3) + 1,
                                      .sps_count = record[5] & 0x1f,
                                      .sps = record + at};
    if (config->nal_length_size == 3 || config->sps_count == 0)
        return -1;
    if (skip_parameter_sets(record, len_bytes, &at, config->sps_count) != 0 || at >= len_bytes)
        return -1;
    config->pps_count = record[at++];
    /* What follows (chroma format of High profiles) is left out by some encoders and padded by others. */
    return config->pps_count > 0 ? skip_parameter_sets(record, len_bytes, &at, config->pps_count) : -1;
}

bool flv_avc_payload_is_sound(const uint8_t *payload, size_t len_bytes, int nal_length_size)
{
    size_t prefix = (size_t)nal_length_size;

    for (int units = 0; len_bytes > 0; units++) {
        size_t size = 0;
        if (len_bytes < prefix || units == FLV_MAX_AVC_NAL_UNITS)
            return false;
        for (size_t i = 0; i < prefix; i++)
            size = size << 8 | payload[i];
        if (size > len_bytes - prefix)
            return false;
        payload += prefix + size;
        len_bytes -= prefix + size;
    }
    return true;
}

int flv_aac_config_parse(const uint8_t *config_bytes, size_t len_bytes, struct flv_aac_config *config)
{
    static const int rates[] = {96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                22050, 16000, 12000, 11025, 8000,  7350};
    uint64_t bits = 0;
    int left = 0;

    /* The fields in question end within the first 6 bytes, also with both escapes. */
    for (size_t i = 0; i < len_bytes && i < 8; i++, left += 8)
        bits = bits << 8 | config_bytes[i];
    bits = left ? bits << (64 - left) : 0;
#define TAKE(count) (left -= (count), taken = bits >> (64 - (count)), bits <<= (count), (int)taken)
    uint64_t taken;
    int object_type = TAKE(5);
    if (object_type == 31)
        object_type = 32 + TAKE(6);
    int rate_index = TAKE(4);
    int rate = rate_index == 15 ? TAKE(24) : rate_index < 13 ? rates[rate_index] : 0;
    int channels = TAKE(4);
#undef TAKE
    if (left < 0 || object_type == 0 || rate < 7350 || rate > 96000 || channels > 7)
        return -1;
    *config = (struct flv_aac_config){
        .object_type = object_type, .sample_rate = rate, .channels = channels == 7 ? 8 : channels};
    return 0;
}
