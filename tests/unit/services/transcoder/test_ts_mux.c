/* Segments are taken apart again by a demultiplexer of the test's own: every packet whole, counters and clocks going on
 * from segment to segment, every byte of every unit there. */
#include "services/transcoder/ts_mux.h"

#include "libcommon/buffer.h"
#include "services/transcoder/aac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_SEEN 4096
static const uint8_t delimiter[] = {0, 0, 0, 1, 9, 0xf0};
static const struct aac_config aac_48khz = {AAC_LC, 48000, 48000, 2, 2, false, false, 1024};

struct seen_pes {
    int pid;
    bool random_access;
    uint64_t pts, dts;
    const uint8_t *payload; /* in demux.bytes */
    size_t len;
};
struct demux {
    int counters[0x2000]; /* -1: not seen yet */
    struct seen_pes seen[MAX_SEEN];
    int count, clocks, pmt_version, pcr_pid, types[2];
    uint64_t last_clock, widest_clock_gap;
    struct buffer bytes;
    size_t starts[MAX_SEEN];
};

static uint64_t read_time(const uint8_t *at)
{
    assert_int_equal(at[0] & at[2] & at[4] & 1, 1);
    return (uint64_t)(at[0] >> 1 & 7) << 30 | (uint64_t)at[1] << 22 | (uint64_t)(at[2] >> 1) << 15 |
           (uint64_t)at[3] << 7 | at[4] >> 1;
}

static uint64_t forward(uint64_t from, uint64_t to)
{
    return (to - from) & 0x1ffffffff;
}

static void begin_pes(struct demux *demux, int pid, const uint8_t *at, size_t len, bool random_access)
{
    struct seen_pes *pes = &demux->seen[demux->count];
    size_t declared = (size_t)at[4] << 8 | at[5], header = 9u + at[8];

    assert_true(demux->count < MAX_SEEN);
    assert_true(len >= header);
    assert_memory_equal(at, "\0\0\1", 3);
    assert_int_equal(at[3], pid == 0x100 ? 0xe0 : 0xc0);
    assert_int_equal(at[6] & 0xc0, 0x80);
    pes->pid = pid;
    pes->random_access = random_access;
    pes->pts = pes->dts = read_time(at + 9);
    if ((at[7] & 0xc0) == 0xc0)
        pes->dts = read_time(at + 14);
    pes->len = declared == 0 ? 0 : declared - (header - 6);
    demux->starts[demux->count++] = demux->bytes.len;
    assert_int_equal(buffer_append(&demux->bytes, at + header, len - header), 0);
}

static void take_clock(struct demux *demux, int pid, const uint8_t *at)
{
    uint64_t clock =
        (uint64_t)at[0] << 25 | (uint64_t)at[1] << 17 | (uint64_t)at[2] << 9 | (uint64_t)at[3] << 1 | at[4] >> 7;

    assert_int_equal(pid, demux->pcr_pid);
    if (demux->clocks++ > 0) {
        uint64_t gap = forward(demux->last_clock, clock);
        assert_true(gap < 0x100000000);
        if (gap > demux->widest_clock_gap)
            demux->widest_clock_gap = gap;
    }
    demux->last_clock = clock;
}

static void take_table(struct demux *demux, int pid, const uint8_t *at)
{
    assert_int_equal(at[0], 0);
    if (pid == 0) {
        assert_memory_equal(at + 1, "\x00\xb0\x0d\x00\x01\xc1\x00\x00\x00\x01\xf0\x00\x2a\xb1\x04\xb2", 16);
        return;
    }
    at++;
    demux->pmt_version = at[5] >> 1 & 31;
    demux->pcr_pid = (at[8] & 0x1f) << 8 | at[9];
    demux->types[0] = demux->types[1] = 0;
    for (size_t i = 12; i + 5 <= 3u + at[2] - 4; i += 5)
        demux->types[((at[i + 1] & 0x1f) << 8 | at[i + 2]) - 0x100] = at[i];
}

static void take_packet(struct demux *demux, const uint8_t *packet)
{
    int pid = (packet[1] & 0x1f) << 8 | packet[2], counter = packet[3] & 15;
    bool start = packet[1] & 0x40, payload = packet[3] & 0x10, random_access = false;
    size_t at = 4;

    assert_int_equal(packet[0], 0x47);
    assert_int_not_equal(pid, 0x1fff);
    if (demux->counters[pid] >= 0)
        assert_int_equal(counter, (demux->counters[pid] + (payload ? 1 : 0)) & 15);
    demux->counters[pid] = counter;
    if (packet[3] & 0x20) {
        at += 1u + packet[4];
        assert_true(at <= TS_PACKET_SIZE);
        if (packet[4] > 0) {
            random_access = packet[5] & 0x40;
            if (packet[5] & 0x10)
                take_clock(demux, pid, packet + 6);
        }
    }
    if (!payload) {
        assert_int_equal(at, TS_PACKET_SIZE);
        return;
    }
    if (pid == 0 || pid == 0x1000)
        take_table(demux, pid, packet + at);
    else if (start)
        begin_pes(demux, pid, packet + at, TS_PACKET_SIZE - at, random_access);
    else {
        assert_int_equal(demux->seen[demux->count - 1].pid, pid);
        assert_int_equal(buffer_append(&demux->bytes, packet + at, TS_PACKET_SIZE - at), 0);
    }
}

static struct demux *demux_create(void)
{
    struct demux *demux = calloc(1, sizeof *demux);

    assert_non_null(demux);
    memset(demux->counters, 0xff, sizeof demux->counters);
    buffer_init(&demux->bytes, 64 << 20);
    return demux;
}

static void demux_destroy(struct demux *demux)
{
    buffer_clear(&demux->bytes);
    free(demux);
}

/* Counters and clocks go on from the segment before; the units are those of this one. */
static void demux_segment(struct demux *demux, const struct buffer *segment)
{
    demux->count = 0;
    buffer_reset(&demux->bytes);
    assert_int_equal(segment->len % TS_PACKET_SIZE, 0);
    for (size_t at = 0; at < segment->len; at += TS_PACKET_SIZE)
        take_packet(demux, segment->data + at);
    for (int i = 0; i < demux->count; i++) {
        size_t end = i + 1 < demux->count ? demux->starts[i + 1] : demux->bytes.len;
        demux->seen[i].payload = demux->bytes.data + demux->starts[i];
        if (demux->seen[i].len != 0)
            assert_int_equal(demux->seen[i].len, end - demux->starts[i]);
        demux->seen[i].len = end - demux->starts[i];
    }
}

static size_t make_picture(uint8_t *out, size_t len, bool idr, unsigned seed)
{
    memcpy(out, "\0\0\0\1", 4);
    out[4] = idr ? 0x65 : 0x41;
    for (size_t i = 5; i < len; i++)
        out[i] = (uint8_t)(((seed + i) * 2654435761u >> 13) | 4);
    return len;
}

static size_t make_frame(uint8_t *out, size_t raw_len)
{
    assert_int_equal(aac_adts_write(&aac_48khz, raw_len, out), 0);
    memset(out + AAC_ADTS_HEADER_SIZE, 0x5a, raw_len);
    return raw_len + AAC_ADTS_HEADER_SIZE;
}

/* Two seconds of 30 pictures a second with reordering, and audio added late, as encoders on their own threads do. */
static void fill_segment(struct ts_mux *mux, int64_t start_us, unsigned seed)
{
    static uint8_t bytes[70000];
    size_t len;

    for (int i = 0; i < 60; i++) {
        int64_t dts_us = start_us + i * 1000000LL / 30 - 66667;
        len = make_picture(bytes, i == 0 ? 66000 : 200 + (seed + (unsigned)i * 37) % 400, i == 0, seed + (unsigned)i);
        assert_int_equal(ts_mux_add_video(mux, dts_us + 66667 + (i % 3) * 33333, dts_us, bytes, len), 0);
    }
    for (int i = 0; i < 93; i++) {
        len = make_frame(bytes, 150 + (unsigned)i % 30);
        assert_int_equal(ts_mux_add_audio(mux, start_us + i * 64000LL / 3, bytes, len), 0);
    }
}

static void check_filled_segment(const struct demux *demux, int64_t start_us, unsigned seed)
{
    static uint8_t expected[70000];
    int pictures = 0;
    size_t frames = 0;

    assert_int_equal(demux->seen[0].pid, 0x100);
    assert_true(demux->seen[0].random_access);
    for (int i = 0; i < demux->count; i++) {
        const struct seen_pes *pes = &demux->seen[i];
        uint64_t base = (uint64_t)(start_us + TS_MUX_START_US) * 9 / 100;
        if (pes->pid == 0x101) {
            struct aac_adts adts;
            /* Microseconds are cut off, then 90 kHz. */
            assert_in_range(forward(base - 1, pes->pts), frames * 1920, frames * 1920 + 1);
            for (size_t at = 0; at < pes->len; at += (size_t)adts.frame_len, frames++)
                assert_int_equal(aac_adts_parse(pes->payload + at, pes->len - at, &adts), 0);
            continue;
        }
        size_t len = make_picture(expected, pictures == 0 ? 66000 : 200 + (seed + (unsigned)pictures * 37) % 400,
                                  pictures == 0, seed + (unsigned)pictures);
        assert_int_equal(pes->len, len + sizeof delimiter);
        assert_memory_equal(pes->payload, delimiter, sizeof delimiter);
        assert_memory_equal(pes->payload + sizeof delimiter, expected, len);
        assert_int_equal(pes->random_access, pictures == 0);
        /* What is sent next is never older than the clock that was sent with it. */
        assert_true(forward(demux->last_clock, base) < 0x100000000 || forward(base, demux->last_clock) < 270000);
        pictures++;
    }
    assert_int_equal(pictures, 60);
    assert_int_equal(frames, 93);
}

static void test_segments_go_on(void **state)
{
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    struct buffer segment;

    buffer_init(&segment, 4 << 20);
    for (unsigned i = 0; i < 7; i++) {
        /* A process of its own for every segment: all it gets is the checkpoint's number. */
        struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO | TS_MUX_AUDIO, 1 << 20);
        continuity = ts_continuity_unpack(ts_continuity_pack(&continuity));
        fill_segment(mux, i * 2000000LL, i);
        buffer_reset(&segment);
        assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
        assert_true(ts_mux_is_empty(mux));
        assert_int_equal(ts_mux_payload_bytes(mux), 0);
        ts_mux_destroy(mux);
        assert_memory_equal(segment.data, "\x47\x40\x00", 3);
        assert_memory_equal(segment.data + TS_PACKET_SIZE, "\x47\x50\x00", 3);
        demux_segment(demux, &segment);
        check_filled_segment(demux, i * 2000000LL, i);
        assert_int_equal(demux->types[0], 0x1b);
        assert_int_equal(demux->types[1], 0x0f);
        assert_int_equal(demux->pmt_version, 0);
    }
    assert_true(demux->widest_clock_gap <= 9000);
    buffer_clear(&segment);
    demux_destroy(demux);
}

static void test_33_bits_wrap(void **state)
{
    /* 2^33 / 90 kHz = 26.5 h; the segment begins a second before. */
    int64_t start_us = (INT64_C(1) << 33) * 100 / 9 - TS_MUX_START_US - 1000000;
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO | TS_MUX_AUDIO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    struct buffer segment;
    bool wrapped = false;

    start_us -= start_us % 100;
    buffer_init(&segment, 4 << 20);
    for (unsigned i = 0; i < 2; i++) {
        fill_segment(mux, start_us + i * 2000000LL, i);
        buffer_reset(&segment);
        assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
        demux_segment(demux, &segment);
        check_filled_segment(demux, start_us + i * 2000000LL, i);
        for (int k = 0; k < demux->count; k++)
            wrapped |= demux->seen[k].dts < 90000;
    }
    assert_true(wrapped);
    assert_true(demux->widest_clock_gap <= 9000);
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

static void test_start_is_never_negative(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    uint8_t picture[100];
    struct buffer segment;

    buffer_init(&segment, 1 << 20);
    assert_int_equal(ts_mux_add_video(mux, 0, -200000, picture, make_picture(picture, sizeof picture, true, 1)), 0);
    assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
    demux_segment(demux, &segment);
    assert_int_equal(demux->seen[0].pts, 900000);
    assert_int_equal(demux->seen[0].dts, 900000 - 18000);
    assert_int_equal(demux->last_clock, 900000 - 18000 - 45000);
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

/* Every length of a unit around the packet's size: the last packet is filled exactly. */
static void test_every_length(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO | TS_MUX_AUDIO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    struct buffer segment;
    uint8_t bytes[600], expected[600];

    buffer_init(&segment, 1 << 20);
    for (size_t len = 6; len < 600; len++) {
        int64_t at_us = (int64_t)len * 40000;
        assert_int_equal(
            ts_mux_add_video(mux, at_us + (len % 2 ? 40000 : 0), at_us, bytes, make_picture(bytes, len, false, 3)), 0);
        assert_int_equal(ts_mux_add_audio(mux, at_us, bytes, make_frame(bytes, len - 6)), 0);
        buffer_reset(&segment);
        assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
        demux_segment(demux, &segment);
        assert_int_equal(demux->count, 2);
        assert_int_equal(demux->seen[0].len, len + sizeof delimiter);
        make_picture(expected, len, false, 3);
        assert_memory_equal(demux->seen[0].payload + sizeof delimiter, expected, len);
        make_frame(expected, len - 6);
        assert_int_equal(demux->seen[1].len, len + 1);
        assert_memory_equal(demux->seen[1].payload, expected, len + 1);
    }
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

static void test_delimiter_only_when_missing(void **state)
{
    static const uint8_t with[] = {0, 0, 0, 1, 9, 0x10, 0, 0, 1, 0x65, 0x88};
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    struct buffer segment;

    buffer_init(&segment, 1 << 20);
    assert_int_equal(ts_mux_add_video(mux, 0, 0, with, sizeof with), 0);
    assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
    demux_segment(demux, &segment);
    assert_int_equal(demux->seen[0].len, sizeof with);
    assert_memory_equal(demux->seen[0].payload, with, sizeof with);
    assert_true(demux->seen[0].random_access);
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

static void test_audio_only(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_AUDIO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    struct buffer segment;
    uint8_t frames[1000];
    size_t len = make_frame(frames, 200);

    len += make_frame(frames + len, 201);
    buffer_init(&segment, 1 << 20);
    for (int i = 0; i < 47; i++)
        assert_int_equal(ts_mux_add_audio(mux, i * 128000LL / 3, frames, len), 0);
    assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
    demux_segment(demux, &segment);
    assert_int_equal(demux->pcr_pid, 0x101);
    assert_int_equal(demux->types[0], 0);
    assert_true(demux->seen[0].random_access);
    assert_true(demux->count >= 47 * 2 / 6 && demux->count <= 47 * 2 / 3);
    assert_true(demux->widest_clock_gap > 0 && demux->widest_clock_gap <= 11520);
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

/* A picture every two seconds, or none at all in this segment: the clock is sent nevertheless, counters unharmed. */
static void test_clock_without_pictures(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO | TS_MUX_AUDIO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    uint8_t bytes[300];
    struct buffer segment;

    buffer_init(&segment, 1 << 20);
    for (int i = 0; i < 3; i++) {
        if (i != 1)
            assert_int_equal(
                ts_mux_add_video(mux, i * 2000000LL, i * 2000000LL, bytes, make_picture(bytes, 300, true, 1)), 0);
        for (int k = 0; k < 93; k++)
            assert_int_equal(ts_mux_add_audio(mux, i * 2000000LL + k * 64000LL / 3, bytes, make_frame(bytes, 100)), 0);
        buffer_reset(&segment);
        assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
        demux_segment(demux, &segment);
        assert_true(demux->widest_clock_gap <= 12000);
    }
    assert_true(demux->clocks > 60);
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

static void test_gap_in_audio_begins_a_packet(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_AUDIO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    uint8_t bytes[300];
    size_t len = make_frame(bytes, 100);
    struct buffer segment;

    buffer_init(&segment, 1 << 20);
    assert_int_equal(ts_mux_add_audio(mux, 0, bytes, len), 0);
    assert_int_equal(ts_mux_add_audio(mux, 21333, bytes, len), 0);
    assert_int_equal(ts_mux_add_audio(mux, 60000, bytes, len), 0);
    assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
    demux_segment(demux, &segment);
    assert_int_equal(demux->count, 2);
    assert_int_equal(demux->seen[0].len, 2 * len);
    assert_int_equal(demux->seen[1].pts, 900000 + 5400);
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

static void test_version_rises_with_the_streams(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO, 1 << 20);
    struct ts_continuity continuity = {0};
    struct demux *demux = demux_create();
    struct buffer segment;

    buffer_init(&segment, 1 << 20);
    for (int i = 0; i < 40; i++) {
        ts_mux_set_streams(mux, i % 2 ? TS_MUX_VIDEO | TS_MUX_AUDIO : TS_MUX_VIDEO);
        buffer_reset(&segment);
        assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
        assert_int_equal(segment.len, 2 * TS_PACKET_SIZE);
        demux_segment(demux, &segment);
        assert_int_equal(demux->pmt_version, i % 32);
    }
    buffer_clear(&segment);
    demux_destroy(demux);
    ts_mux_destroy(mux);
}

static void test_limits(void **state)
{
    struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO | TS_MUX_AUDIO, 500);
    struct ts_continuity continuity = {.video = 3}, before = continuity;
    struct buffer segment;
    uint8_t bytes[300];

    make_picture(bytes, sizeof bytes, true, 1);
    assert_int_equal(ts_mux_add_video(mux, 0, 0, bytes, 0), -1);
    assert_int_equal(ts_mux_add_video(mux, 0, 0, bytes, 300), 0);
    assert_int_equal(ts_mux_add_video(mux, 0, 0, bytes, 201), -1);
    assert_int_equal(ts_mux_add_audio(mux, 0, bytes, 100), -1);
    size_t len = make_frame(bytes, 193);
    assert_int_equal(ts_mux_add_audio(mux, 0, bytes, len - 1), -1);
    assert_int_equal(ts_mux_add_audio(mux, 0, bytes, len), 0);
    assert_int_equal(ts_mux_payload_bytes(mux), 500);
    assert_int_equal(ts_mux_add_audio(mux, 21333, bytes, len), -1);

    /* No room in the output: nothing is lost, and it works when there is. */
    buffer_init(&segment, 4 * TS_PACKET_SIZE);
    assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), -1);
    assert_int_equal(segment.len, 0);
    assert_memory_equal(&continuity, &before, sizeof before);
    segment.max = 10 * TS_PACKET_SIZE;
    assert_int_equal(ts_mux_write_segment(mux, &continuity, &segment), 0);
    assert_int_equal(continuity.video, 5);
    ts_mux_set_streams(mux, TS_MUX_AUDIO);
    assert_int_equal(ts_mux_add_video(mux, 0, 0, bytes, 100), -1);
    ts_mux_set_streams(mux, TS_MUX_VIDEO);
    assert_int_equal(ts_mux_add_audio(mux, 0, bytes, len), -1);
    buffer_clear(&segment);
    ts_mux_destroy(mux);
    ts_mux_destroy(NULL);
}

static void test_packed_continuity(void **state)
{
    struct ts_continuity one = {15, 3, 7, 9, 31, 3}, two = ts_continuity_unpack(ts_continuity_pack(&one));

    assert_memory_equal(&one, &two, sizeof one);
    two = ts_continuity_unpack(0xffffffff);
    assert_true(two.pat < 16 && two.pmt < 16 && two.video < 16 && two.audio < 16 && two.pmt_version < 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_go_on),
        cmocka_unit_test(test_33_bits_wrap),
        cmocka_unit_test(test_start_is_never_negative),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_delimiter_only_when_missing),
        cmocka_unit_test(test_audio_only),
        cmocka_unit_test(test_clock_without_pictures),
        cmocka_unit_test(test_gap_in_audio_begins_a_packet),
        cmocka_unit_test(test_version_rises_with_the_streams),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_packed_continuity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
