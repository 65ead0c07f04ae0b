/* What a broadcast is made into: decided once, kept for the whole broadcast, also by a successor (checkpoint.h), so
 * that names, sizes and codec parameters stay. */
#pragma once

#include "proto/segment_entry.h"

#include <stdbool.h>
#include <stdint.h>

#define OUTPUT_AUDIO_RATE        48000
#define OUTPUT_AUDIO_CHANNELS    2
#define OUTPUT_AUDIO_FRAME       1024 /* samples of an AAC frame */
#define OUTPUT_AUDIO_CODEC       "mp4a.40.2"
#define OUTPUT_SEGMENT_US        (SEGMENT_TARGET_DURATION_S * INT64_C(1000000))
#define OUTPUT_AUDIO_ONLY_NAME   "audio"
#define OUTPUT_PASS_THROUGH_NAME "source"

struct output_rendition {
    char name[16];
    int width, height; /* 0 for audio only */
    int bitrate_kbps;  /* of the video */
    bool pass_through; /* the publisher's own access units */
};

struct output_plan {
    bool has_video, has_audio;
    int rate_num, rate_den; /* frames per second; 0/1 without video */
    int count;
    struct output_rendition renditions[SEGMENT_MAX_RENDITIONS]; /* best first; without video one, named "audio" */
};

/* AAC frames lie on a grid that begins at 0 of the output timeline: frame n holds the samples from n * 1024 on. */
static inline int64_t output_audio_frame_us(int64_t frame)
{
    return (frame * OUTPUT_AUDIO_FRAME * 1000000 + OUTPUT_AUDIO_RATE / 2) / OUTPUT_AUDIO_RATE;
}

/* The first frame that begins at `time_us` or later. */
static inline int64_t output_audio_frame_at(int64_t time_us)
{
    int64_t frame = time_us * OUTPUT_AUDIO_RATE / (INT64_C(1000000) * OUTPUT_AUDIO_FRAME);

    while (output_audio_frame_us(frame) < time_us)
        frame++;
    return frame;
}
