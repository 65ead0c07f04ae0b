/* See h264_sps.h. Clauses are those of ISO/IEC 14496-10. */
#include "proto/h264_sps.h"

#include "libcommon/bit_reader.h"

#include <stdio.h>

enum { MAX_SPS_BYTES = 1024, MAX_SIDE = 16384, MACROBLOCK = 16, EXTENDED_SAR = 255, MAX_REORDER_FRAMES = 16 };

size_t h264_unescape(const uint8_t *nal, size_t len_bytes, uint8_t *out, size_t max_bytes)
{
    size_t written = 0;
    int zeros = 0;

    for (size_t i = 0; i < len_bytes && written < max_bytes; i++) {
        if (zeros >= 2 && nal[i] == 3) {
            zeros = 0;
            continue;
        }
        zeros = nal[i] == 0 ? zeros + 1 : 0;
        out[written++] = nal[i];
    }
    return written;
}

/* 7.3.2.1.1.1: the values are of no use here, but their length is only known by reading them. */
static void skip_scaling_list(struct bit_reader *bits, int size)
{
    int last = 8, next = 8;

    for (int i = 0; i < size && !bits->overrun; i++) {
        if (next != 0)
            next = (last + bit_reader_se(bits) % 256 + 256) % 256;
        last = next == 0 ? last : next;
    }
}

static bool has_chroma_fields(int profile_idc)
{
    static const uint8_t profiles[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};

    for (size_t i = 0; i < sizeof profiles; i++)
        if (profiles[i] == profile_idc)
            return true;
    return false;
}

/* Returns ChromaArrayType, or -1. */
static int parse_chroma(struct bit_reader *bits, struct h264_sps *sps)
{
    bool separate_planes = false;

    sps->chroma_format_idc = 1;
    sps->bit_depth = 8;
    if (!has_chroma_fields(sps->profile_idc))
        return 1;
    uint32_t chroma = bit_reader_ue(bits);
    if (chroma > 3)
        return -1;
    sps->chroma_format_idc = (int)chroma;
    if (chroma == 3)
        separate_planes = bit_reader_flag(bits);
    uint32_t luma_depth = bit_reader_ue(bits), chroma_depth = bit_reader_ue(bits);
    if (luma_depth > 6 || chroma_depth > 6)
        return -1;
    sps->bit_depth = 8 + (int)luma_depth;
    bit_reader_take(bits, 1);
    if (bit_reader_flag(bits))
        for (int i = 0; i < (chroma == 3 ? 12 : 8); i++)
            if (bit_reader_flag(bits))
                skip_scaling_list(bits, i < 6 ? 16 : 64);
    return separate_planes ? 0 : sps->chroma_format_idc;
}

/* Picture order count (8.2.1). Returns its type, or -1. */
static int skip_picture_order(struct bit_reader *bits)
{
    if (bit_reader_ue(bits) > 12)
        return -1;
    uint32_t type = bit_reader_ue(bits);
    if (type > 2)
        return -1;
    if (type == 0 && bit_reader_ue(bits) > 12)
        return -1;
    if (type == 1) {
        bit_reader_take(bits, 1);
        bit_reader_se(bits);
        bit_reader_se(bits);
        uint32_t cycle = bit_reader_ue(bits);
        if (cycle > 255)
            return -1;
        while (cycle--)
            bit_reader_se(bits);
    }
    return (int)type;
}

static int parse_size(struct bit_reader *bits, int chroma_array_type, struct h264_sps *sps)
{
    int64_t width = ((int64_t)bit_reader_ue(bits) + 1) * MACROBLOCK;
    int64_t height = ((int64_t)bit_reader_ue(bits) + 1) * MACROBLOCK;
    bool frames_only = bit_reader_flag(bits);

    sps->interlaced = !frames_only;
    if (!frames_only) {
        height *= 2;
        bit_reader_take(bits, 1);
    }
    /* Of what is coded, not of what is shown: that is what a decoder keeps, up to seventeen times. */
    if (width > MAX_SIDE || height > MAX_SIDE || width * height > (int64_t)H264_MAX_PICTURE_SAMPLES)
        return bits->overrun ? H264_SPS_BROKEN : H264_SPS_TOO_LARGE;
    sps->coded_width = (int)width;
    sps->coded_height = (int)height;
    bit_reader_take(bits, 1);
    if (bit_reader_flag(bits)) {
        /* 7.4.2.1.1: crop units depend on the chroma subsampling, and on fields vertically. */
        int64_t unit_x = chroma_array_type == 1 || chroma_array_type == 2 ? 2 : 1;
        int64_t unit_y = (chroma_array_type == 1 ? 2 : 1) * (frames_only ? 1 : 2);
        int64_t left = bit_reader_ue(bits), right = bit_reader_ue(bits);
        int64_t top = bit_reader_ue(bits), bottom = bit_reader_ue(bits);
        width -= unit_x * (left + right);
        height -= unit_y * (top + bottom);
    }
    if (width < 1 || height < 1)
        return H264_SPS_BROKEN;
    sps->width = (int)width;
    sps->height = (int)height;
    return 0;
}

/* Table E-1. */
static void parse_sample_aspect(struct bit_reader *bits, struct h264_sps *sps)
{
    static const uint8_t table[][2] = {{1, 1},   {1, 1},    {12, 11}, {10, 11}, {16, 11}, {40, 33},
                                       {24, 11}, {20, 11},  {32, 11}, {80, 33}, {18, 11}, {15, 11},
                                       {64, 33}, {160, 99}, {4, 3},   {3, 2},   {2, 1}};
    uint32_t idc = bit_reader_take(bits, 8), width = 1, height = 1;

    if (idc == EXTENDED_SAR) {
        width = bit_reader_take(bits, 16);
        height = bit_reader_take(bits, 16);
    } else if (idc < sizeof table / sizeof *table) {
        width = table[idc][0];
        height = table[idc][1];
    }
    if (width != 0 && height != 0) {
        sps->sar_width = (int)width;
        sps->sar_height = (int)height;
    }
}

/* E.1.2 */
static void skip_hrd(struct bit_reader *bits)
{
    uint32_t count = bit_reader_ue(bits) + 1;

    if (count > 32)
        bits->overrun = true;
    bit_reader_take(bits, 8);
    for (uint32_t i = 0; i < count && !bits->overrun; i++) {
        bit_reader_ue(bits);
        bit_reader_ue(bits);
        bit_reader_take(bits, 1);
    }
    bit_reader_take(bits, 20);
}

static void parse_timing(struct bit_reader *bits, struct h264_sps *sps)
{
    uint32_t units = bit_reader_take(bits, 32), scale = bit_reader_take(bits, 32);

    sps->fixed_frame_rate = bit_reader_flag(bits);
    /* A tick is a field's time: two of them to a frame. */
    if (units == 0 || scale == 0 || units > UINT32_MAX / 2)
        return;
    sps->rate_num = scale;
    sps->rate_den = units * 2;
}

/* E.1.1 */
static void parse_vui(struct bit_reader *bits, struct h264_sps *sps)
{
    if (bit_reader_flag(bits))
        parse_sample_aspect(bits, sps);
    if (bit_reader_flag(bits))
        bit_reader_take(bits, 1);
    if (bit_reader_flag(bits)) {
        bit_reader_take(bits, 4);
        if (bit_reader_flag(bits))
            bit_reader_take(bits, 24);
    }
    if (bit_reader_flag(bits)) {
        bit_reader_ue(bits);
        bit_reader_ue(bits);
    }
    if (bit_reader_flag(bits))
        parse_timing(bits, sps);
    bool nal_hrd = bit_reader_flag(bits);
    if (nal_hrd)
        skip_hrd(bits);
    bool vcl_hrd = bit_reader_flag(bits);
    if (vcl_hrd)
        skip_hrd(bits);
    if (nal_hrd || vcl_hrd)
        bit_reader_take(bits, 1);
    bit_reader_take(bits, 1);
    if (!bit_reader_flag(bits))
        return;
    bit_reader_take(bits, 1);
    for (int i = 0; i < 4; i++)
        bit_reader_ue(bits);
    uint32_t reorder = bit_reader_ue(bits);
    bit_reader_ue(bits);
    if (!bits->overrun && reorder <= MAX_REORDER_FRAMES)
        sps->num_reorder_frames = (int)reorder;
}

int h264_sps_parse(const uint8_t *nal, size_t len_bytes, struct h264_sps *sps)
{
    uint8_t rbsp[MAX_SPS_BYTES];
    struct bit_reader bits;

    *sps = (struct h264_sps){.sar_width = 1, .sar_height = 1, .num_reorder_frames = -1, .rate_den = 1};
    if (len_bytes < 5 || (nal[0] & 0x1f) != H264_NAL_SPS)
        return H264_SPS_BROKEN;
    bit_reader_init(&bits, rbsp, h264_unescape(nal + 1, len_bytes - 1, rbsp, sizeof rbsp));
    sps->profile_idc = (uint8_t)bit_reader_take(&bits, 8);
    sps->constraint_flags = (uint8_t)bit_reader_take(&bits, 8);
    sps->level_idc = (uint8_t)bit_reader_take(&bits, 8);
    if (bit_reader_ue(&bits) > 31)
        return H264_SPS_BROKEN;
    int chroma_array_type = parse_chroma(&bits, sps);
    int order_type = chroma_array_type < 0 ? -1 : skip_picture_order(&bits);
    if (order_type < 0)
        return H264_SPS_BROKEN;
    /* Output order is decoding order then. */
    if (order_type == 2 || sps->profile_idc == 66)
        sps->num_reorder_frames = 0;
    uint32_t references = bit_reader_ue(&bits);
    if (references > 16)
        return H264_SPS_BROKEN;
    sps->max_num_ref_frames = (int)references;
    bit_reader_take(&bits, 1);
    int size_error = parse_size(&bits, chroma_array_type, sps);
    if (size_error != 0)
        return size_error;
    bool has_vui = bit_reader_flag(&bits);
    if (bits.overrun)
        return H264_SPS_BROKEN;
    if (has_vui) {
        struct h264_sps with_vui = *sps;
        parse_vui(&bits, &with_vui);
        /* Decoders need nothing of it, so one cut short is no reason to refuse the stream. */
        if (!bits.overrun)
            *sps = with_vui;
    }
    return 0;
}

void h264_sps_display_size(const struct h264_sps *sps, int *width, int *height)
{
    int64_t stretched = ((int64_t)sps->width * sps->sar_width + sps->sar_height / 2) / sps->sar_height;

    *height = sps->height;
    *width = stretched < 1 || stretched > MAX_SIDE ? sps->width : (int)stretched;
}

void h264_codec_string(const struct h264_sps *sps, char out[H264_CODEC_STRING_SIZE])
{
    snprintf(out, H264_CODEC_STRING_SIZE, "avc1.%02x%02x%02x", sps->profile_idc, sps->constraint_flags, sps->level_idc);
}
