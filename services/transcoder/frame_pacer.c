/* Frames are never more than FRAME_PACER_GAP_US apart, so the first one at or after a boundary is at most that late,
 * and no segment's duration rounds to anything but the target. */
#include "services/transcoder/frame_pacer.h"

#include "services/transcoder/output_plan.h"

#include <string.h>

void frame_pacer_init(struct frame_pacer *pacer, int rate_num, int rate_den)
{
    memset(pacer, 0, sizeof(*pacer));
    pacer->interval_us = rate_num > 0 ? INT64_C(1000000) * rate_den / rate_num : 0;
    pacer->divisor = 1;
}

void frame_pacer_start(struct frame_pacer *pacer, int64_t origin_us)
{
    pacer->started = false;
    pacer->origin_us = origin_us;
}

static bool crosses_boundary(struct frame_pacer *pacer, int64_t pts_us, bool is_key)
{
    if (pacer->at_key_frames) {
        if (!is_key || pts_us < pacer->boundary_us - OUTPUT_SEGMENT_US / 4)
            return false;
        pacer->boundary_us = pts_us + OUTPUT_SEGMENT_US;
        return true;
    }
    if (pts_us < pacer->boundary_us)
        return false;
    pacer->boundary_us = pacer->origin_us + ((pts_us - pacer->origin_us) / OUTPUT_SEGMENT_US + 1) * OUTPUT_SEGMENT_US;
    return true;
}

static bool keep(struct frame_pacer *pacer, int64_t pts_us, bool is_key)
{
    bool boundary = true;

    if (!pacer->started) {
        pacer->started = true;
        if (pacer->origin_us < 0 || pacer->origin_us > pts_us)
            pacer->origin_us = pts_us;
        pacer->boundary_us = pacer->at_key_frames ? pts_us : pacer->origin_us;
        crosses_boundary(pacer, pts_us, true);
        pacer->due_us = pts_us;
    } else {
        boundary = crosses_boundary(pacer, pts_us, is_key);
    }
    const int64_t interval = pacer->interval_us * pacer->divisor;
    pacer->due_us = pts_us > pacer->due_us + interval ? pts_us + interval : pacer->due_us + interval;
    pacer->last_us = pts_us;
    return boundary;
}

enum frame_pace frame_pacer_next(struct frame_pacer *pacer, int64_t pts_us, bool is_key, int64_t *at_us,
                                 bool *is_boundary)
{
    if (pacer->started) {
        const int64_t interval = pacer->interval_us * pacer->divisor;

        if (pts_us <= pacer->last_us)
            return FRAME_DROP;
        if (pts_us - pacer->last_us > FRAME_PACER_GAP_US) {
            *at_us = pacer->last_us + FRAME_PACER_REPEAT_US;
            *is_boundary = keep(pacer, *at_us, false);
            return FRAME_REPEAT;
        }
        /* A third of tolerance: publishers round to milliseconds, cameras jitter. A key frame that a passed-through
         * rendition will cut at is never dropped. */
        if (pts_us < pacer->due_us - interval / 3 && !(pacer->at_key_frames && is_key))
            return FRAME_DROP;
    }
    *at_us = pts_us;
    *is_boundary = keep(pacer, pts_us, is_key);
    return FRAME_KEEP;
}

enum frame_pace frame_pacer_fill(struct frame_pacer *pacer, int64_t until_us, int64_t *at_us, bool *is_boundary)
{
    if (!pacer->started || pacer->last_us + FRAME_PACER_REPEAT_US > until_us)
        return FRAME_DROP;
    *at_us = pacer->last_us + FRAME_PACER_REPEAT_US;
    *is_boundary = keep(pacer, *at_us, false);
    return FRAME_REPEAT;
}
