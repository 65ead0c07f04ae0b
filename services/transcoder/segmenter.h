/* Collects what the encoders make and closes a segment of all renditions together: complete when every rendition has
 * every frame up to the boundary and the audio has come that far. Owns the continuity counters and the numbers. Loop
 * thread only; no I/O.
 *
 *     segmenter_begin(s, pts_us);                  at each boundary, before its frame is encoded
 *     segmenter_count_frame(s);                    per frame handed to the encoders
 *     segmenter_add_video(s, rung, …), segmenter_add_audio(s, …)      as they come out
 *     segmenter_passed(s, rung, pts_us);           nothing in front of this comes out any more
 *     segmenter_finish(s, end_us); … segmenter_close(s);              end of a session */
#pragma once

#include "libcommon/buffer.h"
#include "services/transcoder/output_plan.h"
#include "services/transcoder/ts_mux.h"

struct segmenter;

struct finished_segment {
    int64_t number, start_us, end_us;
    bool discontinuity;
    int64_t next_audio_frame; /* first one that is not in it */
    const struct output_plan *plan;
    struct buffer ts[SEGMENT_MAX_RENDITIONS]; /* freed after the callback unless taken */
    char codecs[SEGMENT_MAX_RENDITIONS][64];
    struct ts_continuity continuity[SEGMENT_MAX_RENDITIONS]; /* behind it */
};
typedef void (*segmenter_fn)(struct finished_segment *segment, void *context);

struct segmenter *segmenter_create(const struct output_plan *plan, segmenter_fn on_segment, void *context);
void segmenter_destroy(struct segmenter *segmenter);
/* What a predecessor left: number of the next segment, first audio frame not published, counters. */
void segmenter_resume(struct segmenter *segmenter, int64_t number, int64_t audio_frame, const uint32_t *continuity);
/* The next segment begins with a discontinuity. */
void segmenter_discontinuity(struct segmenter *segmenter);

/* Ends the segment that is open, if one is, and opens the next. */
void segmenter_begin(struct segmenter *segmenter, int64_t start_us);
void segmenter_count_frame(struct segmenter *segmenter);
/* Annex B. 0, or -1: it belongs nowhere (late) or there is no room. */
int segmenter_add_video(struct segmenter *segmenter, int rendition, int64_t pts_us, int64_t dts_us,
                        const uint8_t *bytes, size_t len_bytes);
/* The rendition has nothing more in front of `pts_us`: segments that end there are complete, also with fewer frames
 * than were counted (an encoder swallowed one; passed-through frames are not counted). Not while an encoder that was
 * replaced still holds frames: a starved one hands them over after its successor's first. */
void segmenter_passed(struct segmenter *segmenter, int rendition, int64_t pts_us);
/* `frame` of the audio grid, as ADTS. Frames come in order. */
void segmenter_add_audio(struct segmenter *segmenter, int64_t frame, const uint8_t *adts, size_t len_bytes);
/* The open segment ends here. What the encoders still hold belongs to it. */
void segmenter_finish(struct segmenter *segmenter, int64_t end_us);
/* The encoders have ended: nothing more comes for any open segment. */
void segmenter_close(struct segmenter *segmenter);
/* Segments begun and not handed over. */
int segmenter_open_segments(const struct segmenter *segmenter);
int64_t segmenter_next_number(const struct segmenter *segmenter);
int64_t segmenter_next_audio_frame(const struct segmenter *segmenter);
/* Start of the segment that is open now, -1 when none is. */
int64_t segmenter_open_start_us(const struct segmenter *segmenter);
const struct ts_continuity *segmenter_continuity(const struct segmenter *segmenter);
