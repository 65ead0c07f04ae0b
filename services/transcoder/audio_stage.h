/* Sound on its way from decoder to encoder: lays decoded samples on the output's grid without losing count, fills gaps
 * with silence, and encodes AAC whose frames continue those of a predecessor. Loop thread only. */
#pragma once

#include "services/transcoder/codec_pipe.h"
#include "services/transcoder/segmenter.h"

struct audio_stage;

struct audio_stage_options {
    struct mailbox *mailbox;
    struct segmenter *segmenter;
    int bitrate_kbps;
    bool cuts_segments; /* there is no video: segments begin at audio frames */
    void (*on_ended)(void *context);
    void (*on_error)(const char *text, void *context);
    void *context;
};

/* The best AAC encoder that GStreamer has, NULL when there is none. */
const char *audio_stage_encoder(void);

struct audio_stage *audio_stage_create(const struct audio_stage_options *options);
void audio_stage_destroy(struct audio_stage *stage);
/* Frames from `first_frame` on are wanted; sound that came before is kept for it. `origin_us` counts boundaries when
 * the stage cuts segments. */
void audio_stage_start(struct audio_stage *stage, int64_t first_frame, int64_t origin_us);
/* Where boundaries are counted from. */
int64_t audio_stage_origin_us(const struct audio_stage *stage);
bool audio_stage_is_started(const struct audio_stage *stage);
/* Decoded: S16, 48 kHz, stereo. */
void audio_stage_samples(struct audio_stage *stage, GstSample *sample);
/* No sound came up to `until_us` and none will: silence. */
void audio_stage_fill(struct audio_stage *stage, int64_t until_us);
/* Up to where there is sound (or silence); -1 before the first. */
int64_t audio_stage_end_us(const struct audio_stage *stage);
/* Encodes up to `end_us`, with silence where it must, then ends: on_ended. */
void audio_stage_finish(struct audio_stage *stage, int64_t end_us);
/* Samples of silence put in so far, and dropped because something lay there already. */
int64_t audio_stage_silence_samples(const struct audio_stage *stage);
