/* What a publisher may send: codecs, sound size fields, pictures that transcoders take, a bitrate, key frames. Pure:
 * the caller brings the clock. One per publisher. */
#pragma once

#include "services/ingest/close_reason.h"

#include "proto/flv.h"

#include <stdint.h>

#define MEDIA_GUARD_WINDOW_S 5 /* over which the bitrate is averaged */

struct media_guard_limits {
    int64_t max_bitrate_kbps;
    int64_t max_picture_samples; /* as coded; at most H264_MAX_PICTURE_SAMPLES */
    int64_t keyframe_ms;
};

struct media_guard {
    struct media_guard_limits limits;
    int nal_length_size;     /* 0: no AVC sequence header yet */
    int64_t keyframe_due_ms; /* 0: no video yet */
    int64_t second;          /* of the newest bucket */
    int64_t bytes[MEDIA_GUARD_WINDOW_S + 1];
};

void media_guard_init(struct media_guard *guard, const struct media_guard_limits *limits);
/* CLOSE_NONE, or what is wrong with it. `now_ms`: monotonic. */
enum close_reason media_guard_check(struct media_guard *guard, const struct flv_tag *tag, int64_t now_ms);
