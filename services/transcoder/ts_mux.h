/* MPEG transport stream of one rendition (ISO/IEC 13818-1): at most one H.264 and one AAC stream, one segment at a
 * time. Not an encoder, not a segmenter: the caller decides what belongs to a segment. Plain memory, no I/O. One thread
 * per object.
 *
 * Units are collected in any order and written in decoding order when the segment ends, so two segments may be open at
 * once (audio of the old one still coming while video of the new one is there): one ts_mux each, but one
 * ts_continuity per rendition, handed to ts_mux_write_segment() in the order of the segments.
 *
 *     struct ts_continuity continuity = {0};                        or from the checkpoint
 *     struct ts_mux *mux = ts_mux_create(TS_MUX_VIDEO | TS_MUX_AUDIO, 32 << 20);
 *     ts_mux_add_video(mux, pts_us, dts_us, access_unit, len); …    Annex B
 *     ts_mux_add_audio(mux, pts_us, adts_frame, len); …
 *     ts_mux_write_segment(mux, &continuity, &bytes);               mux is empty again
 *
 * Every segment starts with PAT and PMT, then the first video unit. Packets are filled exactly: stuffing lies in
 * adaptation fields (2.4.3.5), there are no null packets. Times are microseconds of the output timeline; in the stream
 * they are TS_MUX_START_US later, so that no DTS or PCR of a broadcast's start is negative, and 33 bits of 90 kHz. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;
struct ts_mux;

#define TS_PACKET_SIZE 188
/* Added to each time; a DTS may lie this much before 0, less TS_MUX_PCR_DELAY_US. */
#define TS_MUX_START_US 10000000
/* The clock reference runs this much behind the DTS of what it is sent with: time for a decoder to fill its buffer. */
#define TS_MUX_PCR_DELAY_US 500000
/* Longest stretch without a clock reference (2.7.2 allows 100 ms). */
#define TS_MUX_PCR_INTERVAL_US 90000

/* The streams that the PMT names: those of the rendition, whether or not this very segment has units of them. */
enum ts_mux_streams { TS_MUX_VIDEO = 1, TS_MUX_AUDIO = 2 };

/* What a process needs to know of the segment before: the continuity_counter of the next packet of each PID, and the
 * PMT's version, which rises when the streams change. All zero before the first segment. */
struct ts_continuity {
    uint8_t pat, pmt, video, audio; /* 0-15 */
    uint8_t pmt_version;            /* 0-31 */
    uint8_t streams;                /* of the last segment; 0: none yet */
};
/* The same as one number below 2^32 for the checkpoint, and back (any number gives legal values). */
uint32_t ts_continuity_pack(const struct ts_continuity *continuity);
struct ts_continuity ts_continuity_unpack(uint32_t packed);

/* `streams`: or of enum ts_mux_streams, at least one. `max_bytes`: of all units of one segment. Never NULL; to be
 * freed with ts_mux_destroy(), which takes NULL too. */
struct ts_mux *ts_mux_create(int streams, size_t max_bytes);
void ts_mux_destroy(struct ts_mux *mux);
/* Other streams from the next segment on; only while the mux is empty. */
void ts_mux_set_streams(struct ts_mux *mux, int streams);

/* One access unit in Annex B form; an access unit delimiter (14496-10, 7.3.2.4) is put in front when there is none.
 * Parameter sets are the caller's (h264_access_unit_complete()). pts_us >= dts_us, dts_us rising from call to call.
 * The bytes are copied. 0, or -1: over the maximum, memory out, no video in the streams, or empty. */
int ts_mux_add_video(struct ts_mux *mux, int64_t pts_us, int64_t dts_us, const uint8_t *access_unit, size_t len_bytes)
    __attribute__((warn_unused_result));
/* One or more whole ADTS frames (13818-7 or 14496-3, 1.A.2), `pts_us` of the first. Frames that follow one another
 * without a gap share PES packets of up to ~100 ms. 0, or -1: as above, or not ADTS. */
int ts_mux_add_audio(struct ts_mux *mux, int64_t pts_us, const uint8_t *adts, size_t len_bytes)
    __attribute__((warn_unused_result));

bool ts_mux_is_empty(const struct ts_mux *mux);
/* Bytes of the units collected so far, without the transport stream's own. */
size_t ts_mux_payload_bytes(const struct ts_mux *mux);

/* Appends the segment to `out` and empties the mux. Without any unit it writes PAT and PMT alone. 0, or -1: `out` is
 * full or memory is out; then `out` and `continuity` are as they were and the units are kept. */
int ts_mux_write_segment(struct ts_mux *mux, struct ts_continuity *continuity, struct buffer *out)
    __attribute__((warn_unused_result));
/* Forgets the units collected. */
void ts_mux_reset(struct ts_mux *mux);
