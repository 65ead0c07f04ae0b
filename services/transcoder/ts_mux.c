/* See ts_mux.h. Clauses are those of ISO/IEC 13818-1. */
#include "services/transcoder/ts_mux.h"

#include "libcommon/alloc.h"
#include "libcommon/buffer.h"
#include "services/transcoder/aac.h"
#include "services/transcoder/h264.h"
#include "services/transcoder/ts_packet.h"

#include <assert.h>

enum {
    PID_PAT = 0,
    PID_PMT = 0x1000,
    PID_VIDEO = 0x100,
    PID_AUDIO = 0x101,
    STREAM_ID_VIDEO = 0xe0,
    STREAM_ID_AUDIO = 0xc0,
    STREAM_TYPE_H264 = 0x1b,
    STREAM_TYPE_ADTS = 0x0f,
    MAX_UNITS = 32768,
    MAX_AUDIO_PES_BYTES = 8192,
    MAX_AUDIO_PES_US = 100000,
    AUDIO_GAP_US = 1000,
    /* A hole in a segment longer than these many clock references is not filled with them. */
    MAX_PCR_FILL = 400,
    MICROSECONDS = 1000000,
};

static const uint8_t delimiter[] = {0, 0, 0, 1, H264_NAL_AUD, 0xf0}; /* any slice type may follow */

/* One PES packet to be: a video access unit, or a few audio frames. */
struct unit {
    enum ts_mux_streams stream;
    int64_t pts_us, dts_us;
    int64_t order_us;
    size_t sequence; /* as added: keeps the sorting stable */
    size_t offset, len_bytes;
    bool random_access, lacks_delimiter;
    int64_t samples; /* audio: so far, and their rate */
    int sample_rate;
};

struct ts_mux {
    int streams;
    size_t max_bytes;
    struct buffer video, audio; /* the units' bytes; audio apart, so that frames can be joined */
    struct buffer units;        /* of struct unit */
    size_t last_audio;          /* index of the audio unit that may still grow */
    bool has_audio, has_video;
};

uint32_t ts_continuity_pack(const struct ts_continuity *continuity)
{
    return (uint32_t)(continuity->pat & 15) | (uint32_t)(continuity->pmt & 15) << 4 |
           (uint32_t)(continuity->video & 15) << 8 | (uint32_t)(continuity->audio & 15) << 12 |
           (uint32_t)(continuity->pmt_version & 31) << 16 | (uint32_t)(continuity->streams & 3) << 21;
}

struct ts_continuity ts_continuity_unpack(uint32_t packed)
{
    return (struct ts_continuity){
        .pat = packed & 15,
        .pmt = packed >> 4 & 15,
        .video = packed >> 8 & 15,
        .audio = packed >> 12 & 15,
        .pmt_version = packed >> 16 & 31,
        .streams = packed >> 21 & 3,
    };
}

struct ts_mux *ts_mux_create(int streams, size_t max_bytes)
{
    struct ts_mux *mux = alloc_zero(1, sizeof *mux);

    mux->max_bytes = max_bytes;
    buffer_init(&mux->video, max_bytes);
    buffer_init(&mux->audio, max_bytes);
    buffer_init(&mux->units, MAX_UNITS * sizeof(struct unit));
    ts_mux_set_streams(mux, streams);
    return mux;
}

void ts_mux_destroy(struct ts_mux *mux)
{
    if (!mux)
        return;
    buffer_clear(&mux->video);
    buffer_clear(&mux->audio);
    buffer_clear(&mux->units);
    free(mux);
}

void ts_mux_set_streams(struct ts_mux *mux, int streams)
{
    assert(ts_mux_is_empty(mux) && streams > 0 && streams <= (TS_MUX_VIDEO | TS_MUX_AUDIO));
    mux->streams = streams;
}

void ts_mux_reset(struct ts_mux *mux)
{
    buffer_reset(&mux->video);
    buffer_reset(&mux->audio);
    buffer_reset(&mux->units);
    mux->has_audio = mux->has_video = false;
}

bool ts_mux_is_empty(const struct ts_mux *mux)
{
    return mux->units.len == 0;
}

size_t ts_mux_payload_bytes(const struct ts_mux *mux)
{
    return mux->video.len + mux->audio.len;
}

static struct unit *units_of(struct ts_mux *mux)
{
    return (struct unit *)(void *)mux->units.data;
}

static int add_unit(struct ts_mux *mux, struct unit *unit, struct buffer *bytes, const uint8_t *data)
{
    unit->sequence = mux->units.len / sizeof *unit;
    unit->offset = bytes->len;
    if (unit->len_bytes > mux->max_bytes - ts_mux_payload_bytes(mux) || !buffer_reserve(&mux->units, sizeof *unit) ||
        buffer_append(bytes, data, unit->len_bytes) < 0)
        return -1;
    return buffer_append(&mux->units, unit, sizeof *unit);
}

/* A delimiter counts only in front of everything else. */
static void inspect_video(struct unit *unit, const uint8_t *at, size_t left)
{
    struct h264_nal nal;
    bool first = true;

    unit->lacks_delimiter = true;
    while (h264_annexb_next(&at, &left, &nal) > 0) {
        if (first && nal.type == H264_NAL_AUD)
            unit->lacks_delimiter = false;
        first = false;
        if (nal.type == H264_NAL_SLICE || nal.type == H264_NAL_IDR) {
            unit->random_access = nal.type == H264_NAL_IDR;
            return;
        }
    }
}

int ts_mux_add_video(struct ts_mux *mux, int64_t pts_us, int64_t dts_us, const uint8_t *access_unit, size_t len_bytes)
{
    struct unit unit = {
        .stream = TS_MUX_VIDEO, .pts_us = pts_us, .dts_us = dts_us, .order_us = dts_us, .len_bytes = len_bytes};

    if (!(mux->streams & TS_MUX_VIDEO) || len_bytes == 0)
        return -1;
    inspect_video(&unit, access_unit, len_bytes);
    /* The segment's picture comes first, also when a frame of audio is a little older. */
    if (!mux->has_video)
        unit.order_us = INT64_MIN;
    if (add_unit(mux, &unit, &mux->video, access_unit) < 0)
        return -1;
    mux->has_video = true;
    return 0;
}

/* Whether the frame follows the open audio unit without a gap and fits into its PES packet. */
static bool may_join(const struct unit *open, int64_t pts_us, const struct aac_adts *adts)
{
    int64_t len_us = open->samples * MICROSECONDS / open->sample_rate, gap_us = pts_us - (open->pts_us + len_us);

    return open->sample_rate == adts->sample_rate && gap_us >= -AUDIO_GAP_US && gap_us <= AUDIO_GAP_US &&
           len_us < MAX_AUDIO_PES_US && open->len_bytes + (size_t)adts->frame_len <= MAX_AUDIO_PES_BYTES;
}

static int add_audio_frame(struct ts_mux *mux, int64_t pts_us, const uint8_t *frame, const struct aac_adts *adts)
{
    size_t len_bytes = (size_t)adts->frame_len;
    int64_t samples = (int64_t)adts->blocks * 1024;

    if (mux->has_audio && may_join(&units_of(mux)[mux->last_audio], pts_us, adts)) {
        struct unit *open = &units_of(mux)[mux->last_audio];
        if (len_bytes > mux->max_bytes - ts_mux_payload_bytes(mux) || buffer_append(&mux->audio, frame, len_bytes) < 0)
            return -1;
        open->len_bytes += len_bytes;
        open->samples += samples;
        return 0;
    }
    struct unit unit = {.stream = TS_MUX_AUDIO,
                        .pts_us = pts_us,
                        .dts_us = pts_us,
                        .order_us = pts_us,
                        .len_bytes = len_bytes,
                        .random_access = !(mux->streams & TS_MUX_VIDEO),
                        .samples = samples,
                        .sample_rate = adts->sample_rate};
    if (add_unit(mux, &unit, &mux->audio, frame) < 0)
        return -1;
    mux->has_audio = true;
    mux->last_audio = unit.sequence;
    return 0;
}

int ts_mux_add_audio(struct ts_mux *mux, int64_t pts_us, const uint8_t *adts, size_t len_bytes)
{
    struct aac_adts frame;
    int64_t samples = 0;

    if (!(mux->streams & TS_MUX_AUDIO) || len_bytes == 0)
        return -1;
    for (size_t at = 0; at < len_bytes; at += (size_t)frame.frame_len)
        if (aac_adts_parse(adts + at, len_bytes - at, &frame) < 0 || (size_t)frame.frame_len > len_bytes - at)
            return -1;
    for (size_t at = 0; at < len_bytes; at += (size_t)frame.frame_len) {
        if (aac_adts_parse(adts + at, len_bytes - at, &frame) < 0 ||
            add_audio_frame(mux, pts_us + samples * MICROSECONDS / frame.sample_rate, adts + at, &frame) < 0)
            return -1;
        samples += (int64_t)frame.blocks * 1024;
    }
    return 0;
}

static int compare_units(const void *left, const void *right)
{
    const struct unit *a = left, *b = right;

    if (a->order_us != b->order_us)
        return a->order_us < b->order_us ? -1 : 1;
    if (a->stream != b->stream)
        return a->stream == TS_MUX_VIDEO ? -1 : 1;
    return a->sequence < b->sequence ? -1 : a->sequence > b->sequence;
}

static uint64_t clock_90khz(int64_t time_us)
{
    return (uint64_t)((time_us + TS_MUX_START_US) * 9 / 100);
}

/* 2.4.4.3 and 2.4.4.8: which streams the program has. */
static int write_tables(const struct ts_mux *mux, struct ts_continuity *continuity, struct buffer *out)
{
    static const uint8_t pat[] = {0x00, 0x01, 0xc1, 0, 0, 0x00, 0x01, 0xe0 | PID_PMT >> 8, PID_PMT & 0xff};
    int pcr_pid = mux->streams & TS_MUX_VIDEO ? PID_VIDEO : PID_AUDIO;
    uint8_t pmt[32] = {0x00, 0x01};
    size_t len = 2;

    if (continuity->streams != 0 && continuity->streams != mux->streams)
        continuity->pmt_version = (continuity->pmt_version + 1) & 31;
    continuity->streams = (uint8_t)mux->streams;
    pmt[len++] = (uint8_t)(0xc1 | continuity->pmt_version << 1);
    len += 2; /* section 0 of 0 */
    pmt[len++] = (uint8_t)(0xe0 | pcr_pid >> 8);
    pmt[len++] = (uint8_t)pcr_pid;
    pmt[len++] = 0xf0; /* no descriptors, here and with each stream */
    pmt[len++] = 0;
    for (int stream = TS_MUX_VIDEO; stream <= TS_MUX_AUDIO; stream++) {
        int pid = stream == TS_MUX_VIDEO ? PID_VIDEO : PID_AUDIO;
        if (!(mux->streams & stream))
            continue;
        pmt[len++] = stream == TS_MUX_VIDEO ? STREAM_TYPE_H264 : STREAM_TYPE_ADTS;
        pmt[len++] = (uint8_t)(0xe0 | pid >> 8);
        pmt[len++] = (uint8_t)pid;
        pmt[len++] = 0xf0;
        pmt[len++] = 0;
    }
    if (ts_packet_write_section(out, PID_PAT, &continuity->pat, 0, pat, sizeof pat) < 0)
        return -1;
    return ts_packet_write_section(out, PID_PMT, &continuity->pmt, 2, pmt, len);
}

/* Clock references on their own wherever the units of their PID lie too far apart; `next_us` is about to be written. */
static int fill_clock(int pid, uint8_t *counter, int64_t *last_us, int64_t next_us, bool carries_clock,
                      struct buffer *out)
{
    int64_t from_us = *last_us;

    if (from_us == INT64_MIN) {
        if (carries_clock)
            return 0;
        *last_us = next_us;
        return ts_packet_write_clock(out, pid, *counter, clock_90khz(next_us - TS_MUX_PCR_DELAY_US));
    }
    for (int i = 0; i < MAX_PCR_FILL && next_us - *last_us > TS_MUX_PCR_INTERVAL_US; i++) {
        *last_us += TS_MUX_PCR_INTERVAL_US;
        if (ts_packet_write_clock(out, pid, *counter, clock_90khz(*last_us - TS_MUX_PCR_DELAY_US)) < 0)
            return -1;
    }
    return 0;
}

static int write_units(struct ts_mux *mux, struct ts_continuity *continuity, struct buffer *out)
{
    bool clock_on_video = mux->streams & TS_MUX_VIDEO;
    int clock_pid = clock_on_video ? PID_VIDEO : PID_AUDIO;
    uint8_t *clock_counter = clock_on_video ? &continuity->video : &continuity->audio;
    struct unit *units = units_of(mux);
    int64_t clock_us = INT64_MIN;

    for (size_t i = 0; i < mux->units.len / sizeof *units; i++) {
        const struct unit *unit = &units[i];
        bool video = unit->stream == TS_MUX_VIDEO, carries_clock = video == clock_on_video;
        struct ts_pes pes = {
            .pid = video ? PID_VIDEO : PID_AUDIO,
            .stream_id = video ? STREAM_ID_VIDEO : STREAM_ID_AUDIO,
            .random_access = unit->random_access,
            .has_clock = carries_clock,
            .clock = clock_90khz(unit->dts_us - TS_MUX_PCR_DELAY_US),
            .pts = clock_90khz(unit->pts_us),
            .dts = clock_90khz(unit->dts_us),
            .prefix = delimiter,
            .prefix_len = unit->lacks_delimiter ? sizeof delimiter : 0,
            .data = (video ? mux->video.data : mux->audio.data) + unit->offset,
            .data_len = unit->len_bytes,
        };
        if (fill_clock(clock_pid, clock_counter, &clock_us, unit->dts_us, carries_clock, out) < 0 ||
            ts_packet_write_pes(out, &pes, video ? &continuity->video : &continuity->audio) < 0)
            return -1;
        if (carries_clock)
            clock_us = unit->dts_us;
    }
    return 0;
}

int ts_mux_write_segment(struct ts_mux *mux, struct ts_continuity *continuity, struct buffer *out)
{
    struct ts_continuity next = *continuity;
    size_t len_before = out->len;

    if (!ts_mux_is_empty(mux))
        qsort(mux->units.data, mux->units.len / sizeof(struct unit), sizeof(struct unit), compare_units);
    /* Sorting moves the open audio unit: frames added after a failure begin a new one. */
    mux->has_audio = false;
    if (write_tables(mux, &next, out) < 0 || write_units(mux, &next, out) < 0) {
        out->len = len_before;
        return -1;
    }
    *continuity = next;
    ts_mux_reset(mux);
    return 0;
}
