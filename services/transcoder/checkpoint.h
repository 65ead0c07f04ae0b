/* Where the next transcoder of a broadcast goes on: JSON at KEY_CHECKPOINT<id>, written in one step with each segment
 * (script_segment_push). Plain values and text; no I/O. */
#pragma once

#include "services/transcoder/output_plan.h"
#include "services/transcoder/timeline.h"

#include <stddef.h>

#define CHECKPOINT_POSITION_SIZE 48

struct checkpoint {
    /* Entry id in the ring. In mid-session it is the one to read first (its key frame lies before `start_us`, what is
     * decoded up to there was published already); between sessions it is the last one read. */
    char position[CHECKPOINT_POSITION_SIZE];
    bool in_session;
    int64_t session;
    struct timeline timeline;          /* as it was before the entry at `position`; between sessions: at the end */
    int64_t number;                    /* of the next segment */
    int64_t start_us;                  /* where it begins (between sessions: not before) */
    int64_t origin_us;                 /* of the session's grid of boundaries */
    int64_t audio_frame;               /* first AAC frame not published */
    bool discontinuity;                /* in front of the next segment */
    int64_t anchor_us, anchor_wall_ms; /* the same moment on the output timeline and on the wall */
    int64_t thumbnail_us;              /* when the next one is due */
    struct output_plan plan;
    uint32_t continuity[SEGMENT_MAX_RENDITIONS]; /* ts_continuity_pack(), in the plan's order */
};

/* To be freed with free(); NULL when memory is out. */
char *checkpoint_encode(const struct checkpoint *checkpoint);
/* 0, or -1: not a checkpoint, or not one of this version. */
int checkpoint_parse(const char *json, size_t len_bytes, struct checkpoint *checkpoint)
    __attribute__((warn_unused_result));
