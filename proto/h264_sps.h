/* The H.264 sequence parameter set (ISO/IEC 14496-10, 7.3.2.1.1 and annex E), as far as it is of use: what a
 * publisher's pictures are like. Here, since both ends of the media hand-off ask: what ingest lets in is what a
 * transcoder takes. No I/O, no allocation. Any thread. All input may be hostile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H264_CODEC_STRING_SIZE 12 /* "avc1.640028" */

enum h264_nal_type {
    H264_NAL_SLICE = 1,
    H264_NAL_IDR = 5,
    H264_NAL_SEI = 6,
    H264_NAL_SPS = 7,
    H264_NAL_PPS = 8,
    H264_NAL_AUD = 9,
    H264_NAL_END_OF_SEQUENCE = 10,
    H264_NAL_END_OF_STREAM = 11,
    H264_NAL_FILLER = 12,
};

struct h264_sps {
    uint8_t profile_idc, constraint_flags, level_idc;
    int chroma_format_idc;         /* 1: 4:2:0 */
    int bit_depth;                 /* luma */
    bool interlaced;               /* fields may occur */
    int width, height;             /* luma samples after cropping */
    int coded_width, coded_height; /* before: whole macroblocks, which is what a decoder keeps */
    int sar_width, sar_height;     /* shape of a sample; 1:1 when not told */
    int max_num_ref_frames;
    int num_reorder_frames; /* frames that precede another in decoding and follow it in output; -1: not told */
    /* frames per second = rate_num / rate_den; 0/1 when not told. What a publisher writes here may be a lie. */
    uint32_t rate_num, rate_den;
    bool fixed_frame_rate;
};

/* Level 5.2: 4096x2304. A picture of 8192x4320 costs its sender nothing (an empty one some kilobytes), and a decoder
 * more than a gigabyte. */
#define H264_MAX_PICTURE_SAMPLES (36864 * 256)

enum h264_sps_error {
    H264_SPS_BROKEN = -1,    /* no SPS, truncated, or values outside the standard */
    H264_SPS_TOO_LARGE = -2, /* a picture above H264_MAX_PICTURE_SAMPLES, as coded */
};
/* `nal` with its header byte. 0 or a h264_sps_error. A VUI that cannot be read is taken as absent. */
int h264_sps_parse(const uint8_t *nal, size_t len_bytes, struct h264_sps *sps) __attribute__((warn_unused_result));
/* The size at which the picture is to be shown when samples are not square: the width is adapted. */
void h264_sps_display_size(const struct h264_sps *sps, int *width, int *height);
/* RFC 6381: "avc1.PPCCLL". */
void h264_codec_string(const struct h264_sps *sps, char out[H264_CODEC_STRING_SIZE]);

/* The payload of a NAL unit: copies without emulation prevention bytes (7.4.1), at most `max_bytes`. Returns the bytes
 * written. */
size_t h264_unescape(const uint8_t *nal, size_t len_bytes, uint8_t *out, size_t max_bytes);
