/* FLV tags: how media travels from a publisher (RTMP carries their bodies) through the ring (proto/media_ring.h) to the
 * transcoder. A reader and a writer over plain memory; no I/O, no allocation but flv_tag_append's buffer. Any thread.
 *
 *     const uint8_t *at = entry; size_t left = entry_len; struct flv_tag tag; int taken;
 *     while ((taken = flv_tag_parse(at, left, &tag)) > 0) {
 *         … tag.payload: AVCC NAL units, raw AAC, or the sequence header's configuration record …
 *         at += taken; left -= (size_t)taken;
 *     }
 *     if (taken < 0) … broken …
 *
 * Only H.264 and AAC are understood in depth; of every other codec the number (or FourCC) is told. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

#define FLV_TAG_HEADER_SIZE   11
#define FLV_TAG_TRAILER_SIZE  4 /* PreviousTagSize */
#define FLV_TAG_OVERHEAD      (FLV_TAG_HEADER_SIZE + FLV_TAG_TRAILER_SIZE)
#define FLV_MAX_BODY          0xffffff
#define FLV_MAX_AVC_CONFIG    4096 /* no real SPS + PPS comes near */
#define FLV_MAX_AVC_NAL_UNITS 4096 /* in one access unit */

enum flv_tag_type { FLV_TAG_AUDIO = 8, FLV_TAG_VIDEO = 9, FLV_TAG_SCRIPT = 18 };

enum flv_video_codec { FLV_VIDEO_NONE = 0, FLV_VIDEO_AVC = 7, FLV_VIDEO_ENHANCED = 0x100 /* see fourcc */ };
enum flv_audio_codec { FLV_AUDIO_MP3 = 2, FLV_AUDIO_SPEEX = 11, FLV_AUDIO_AAC = 10, FLV_AUDIO_ENHANCED = 0x100 };

struct flv_tag {
    enum flv_tag_type type;
    uint32_t timestamp_ms; /* decoding time as sent: wraps, may jump */
    const uint8_t *body;   /* of the tag: what an RTMP message carries */
    size_t body_len;

    /* Audio and video only; zero for script data. */
    int codec;                     /* enum flv_video_codec or flv_audio_codec, or the format's number of another one */
    char fourcc[5];                /* of an Enhanced RTMP codec ("hvc1"), else "" */
    bool is_sequence_header;       /* payload is the AVCDecoderConfigurationRecord or AudioSpecificConfig */
    bool is_keyframe;              /* video: a frame to start at; never true for a sequence header */
    bool is_end_of_sequence;       /* AVC: no payload */
    bool is_media;                 /* a frame: neither sequence header, end of sequence, info frame nor empty */
    int32_t composition_offset_ms; /* AVC frames: presentation time - decoding time */
    const uint8_t *payload;        /* after the codec's own header bytes */
    size_t payload_len;
};

/* The next tag in `bytes`. Pointers in `tag` point into `bytes`. Returns the bytes taken (header, body and
 * PreviousTagSize), 0 when `bytes` ends before the tag does (or is empty), or -1 when it is no tag: unknown type,
 * a stream id that is not 0, an encrypted one, or a PreviousTagSize that lies. A body too short for its codec's header
 * is not an error here: payload is empty and is_media false. */
int flv_tag_parse(const uint8_t *bytes, size_t len_bytes, struct flv_tag *tag) __attribute__((warn_unused_result));

/* Describes a body that came without a tag header (an RTMP message). */
void flv_body_parse(enum flv_tag_type type, uint32_t timestamp_ms, const uint8_t *body, size_t len_bytes,
                    struct flv_tag *tag);

/* Appends a whole tag. 0, or -1: over the buffer's maximum, memory out, or a body above FLV_MAX_BODY; the buffer is
 * then as it was. */
int flv_tag_append(struct buffer *buffer, enum flv_tag_type type, uint32_t timestamp_ms, const void *body,
                   size_t len_bytes) __attribute__((warn_unused_result));
/* The parts around a body, for those who assemble a tag in place. */
void flv_tag_write_header(uint8_t out[FLV_TAG_HEADER_SIZE], enum flv_tag_type type, uint32_t timestamp_ms,
                          size_t body_len);
void flv_tag_write_trailer(uint8_t out[FLV_TAG_TRAILER_SIZE], size_t body_len);

struct flv_avc_config {
    uint8_t profile, compatibility, level; /* as in avc1.PPCCLL */
    int nal_length_size;                   /* 1, 2 or 4 */
    int sps_count, pps_count;
    const uint8_t *sps; /* the first of them in the record: a length of 16 bits and the NAL unit, then the next */
};
/* `record`: the payload of an AVC sequence header. 0, or -1: not one, or its size fields lie. */
int flv_avc_config_parse(const uint8_t *record, size_t len_bytes, struct flv_avc_config *config)
    __attribute__((warn_unused_result));
/* Whether the lengths in front of the NAL units add up to the payload exactly. */
bool flv_avc_payload_is_sound(const uint8_t *payload, size_t len_bytes, int nal_length_size);

struct flv_aac_config {
    int object_type; /* 2 is AAC LC */
    int sample_rate; /* Hz */
    int channels;    /* 0: described in the stream itself (program config element) */
};
/* `config`: the payload of an AAC sequence header. 0, or -1. */
int flv_aac_config_parse(const uint8_t *config_bytes, size_t len_bytes, struct flv_aac_config *config)
    __attribute__((warn_unused_result));
