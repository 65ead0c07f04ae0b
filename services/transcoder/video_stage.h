/* Pictures on their way from decoder to encoders: paced (frame_pacer.h), scaled, encoded in all rungs, with an IDR
 * frame in every rung at every boundary. Loop thread only. */
#pragma once

#include "services/transcoder/backend.h"
#include "services/transcoder/codec_pipe.h"
#include "services/transcoder/segmenter.h"

struct video_stage;

/* How much is done, from all to little, as the machine allows. A rung is never left out: players hold on to it. */
enum video_effort { EFFORT_FULL, EFFORT_HALF_RATE, EFFORT_FAST_PRESET, EFFORT_QUARTER_RATE, EFFORT_LEVELS };
const char *video_effort_name(enum video_effort effort);

struct video_stage_options {
    const struct backend *backend;
    const struct output_plan *plan;
    struct mailbox *mailbox;
    struct segmenter *segmenter;
    const char *preset;
    int lookahead, threads;
    void (*on_started)(int64_t start_us, void *context); /* first frame kept after video_stage_start() */
    void (*on_ended)(void *context);                     /* all encoders are empty */
    void (*on_error)(const char *text, void *context);
    void (*on_thumbnail)(GstBuffer *jpeg, void *context);
    void *context;
};

struct video_stage_counts {
    int64_t frames, dropped, repeated;
};

struct video_stage *video_stage_create(const struct video_stage_options *options);
void video_stage_destroy(struct video_stage *stage);
/* A session begins, or goes on where a predecessor stopped. Frames before `start_us` are only remembered; the first
 * segment begins exactly there when one of those can be repeated and `bridges`. -1: at the first frame. `origin_us`:
 * where boundaries are counted from, -1 for the first frame. */
void video_stage_start(struct video_stage *stage, int64_t start_us, int64_t origin_us, bool bridges);
/* -1 before the first frame. */
int64_t video_stage_origin_us(const struct video_stage *stage);
void video_stage_frame(struct video_stage *stage, GstSample *sample, int display_width, int display_height);
/* No picture came up to `until_us` and none will: repeat the last one (black when there was none). */
void video_stage_fill(struct video_stage *stage, int64_t until_us);
/* Behind the last frame; -1 before the first one. */
/* The session joins one that ended at `end_us`: a first frame that comes less than a frame later is shown from there
 * on, so that the segment before is as long as its EXTINF says. */
void video_stage_join(struct video_stage *stage, int64_t end_us);
int64_t video_stage_end_us(const struct video_stage *stage);
/* No more frames: on_ended when the encoders are empty. Afterwards video_stage_start() may begin anew. */
void video_stage_finish(struct video_stage *stage);
/* Most frames that wait in any encoder. */
int video_stage_in_flight(const struct video_stage *stage);
void video_stage_set_effort(struct video_stage *stage, enum video_effort effort);
/* Pass-through: a key frame of the source, in presentation time. */
void video_stage_source_key(struct video_stage *stage, int64_t pts_us);
/* The next frame becomes a thumbnail: on_thumbnail. */
void video_stage_want_thumbnail(struct video_stage *stage);
struct video_stage_counts video_stage_get_counts(const struct video_stage *stage);
