/* Which frames are encoded, and where segments begin: caps the frame rate, repeats the picture over gaps, finds the
 * first frame at or after each boundary. Pure arithmetic on presentation times in microseconds; plain value. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FRAME_PACER_GAP_US    500000 /* a longer wait for a frame is filled by the one before … */
#define FRAME_PACER_REPEAT_US 250000 /* … this often */

struct frame_pacer {
    int64_t interval_us; /* of the cap */
    int divisor;         /* of the frame rate, under load */
    bool at_key_frames;  /* boundaries only at the source's key frames (pass-through) */
    bool started;
    int64_t last_us; /* of the last frame kept */
    int64_t due_us;
    int64_t origin_us, boundary_us; /* next one */
};

enum frame_pace { FRAME_DROP, FRAME_KEEP, FRAME_REPEAT /* the frame before, at `at_us`; then ask again */ };

/* `rate_num`/`rate_den`: at most so many frames a second. */
void frame_pacer_init(struct frame_pacer *pacer, int rate_num, int rate_den);
/* The next frame kept begins a segment. `origin_us` is where boundaries are counted from; -1: that frame's time. */
void frame_pacer_start(struct frame_pacer *pacer, int64_t origin_us);
/* What to do about a frame. `at_us` and `is_boundary` are set for KEEP and REPEAT. */
enum frame_pace frame_pacer_next(struct frame_pacer *pacer, int64_t pts_us, bool is_key, int64_t *at_us,
                                 bool *is_boundary);
/* No frame came up to `until_us` and none will: FRAME_REPEAT with its time, or FRAME_DROP when it is not due. */
enum frame_pace frame_pacer_fill(struct frame_pacer *pacer, int64_t until_us, int64_t *at_us, bool *is_boundary);
