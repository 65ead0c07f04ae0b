/* What engine.c (queue, sessions, flush, life), intake.c (tags to decoders) and engine_stages.c (the stages and their
 * segments) share. Private to them and engine_plan.c. */
#pragma once

#include "libcommon/buffer.h"
#include "proto/flv.h"
#include "services/transcoder/aac.h"
#include "services/transcoder/audio_stage.h"
#include "services/transcoder/codec_pipe.h"
#include "services/transcoder/engine.h"
#include "services/transcoder/h264.h"
#include "services/transcoder/source_probe.h"
#include "services/transcoder/timeline.h"

#define ENGINE_MAX_MARKS    256
#define ENGINE_MAX_ARRIVALS 2048

enum engine_state {
    ENGINE_WAITING, /* for an entry that a session can begin with */
    ENGINE_PROBING, /* looking at the first entries, which stay in the queue */
    ENGINE_RUNNING,
    ENGINE_DECODING_REST, /* flush: the decoders hand over what they hold … */
    ENGINE_ENCODING_REST, /* … then the encoders */
    ENGINE_FAILED,
};

/* A place where a successor can begin to read. */
struct engine_mark {
    char id[MEDIA_ENTRY_ID_SIZE];
    int64_t pts_us; /* of its first frame; -1: none yet */
    struct timeline timeline;
};

struct engine_arrival {
    int64_t pts_us, arrival_ms;
};

/* An access unit of the source that is passed through, waiting until its segment is known. */
struct passed_unit {
    struct passed_unit *next;
    int64_t pts_us, dts_us;
    bool is_key;
    size_t len_bytes;
    uint8_t bytes[];
};

struct engine {
    struct engine_options options;
    struct mailbox *mailbox;
    enum engine_state state;
    enum video_effort effort;
    struct event *settle_timer;
    struct event *failure_event, *flushed_event;
    char failure[256];

    struct media_entry *first, **end; /* queue */
    int queue_count;
    char expected_id[MEDIA_ENTRY_ID_SIZE]; /* of the first entry after engine_resume() */
    char last_id[MEDIA_ENTRY_ID_SIZE];
    int64_t session;
    int64_t entry_arrival_ms;

    struct timeline timeline;
    struct engine_mark marks[ENGINE_MAX_MARKS];
    int marks_count;
    struct engine_arrival arrivals[ENGINE_MAX_ARRIVALS];
    unsigned arrivals_count;

    bool has_plan;
    struct output_plan plan;
    int pass_through; /* index in the plan, -1 */
    struct segmenter *segmenter;
    struct video_stage *video;
    struct audio_stage *audio;

    struct codec_pipe *video_decoder, *audio_decoder;
    struct h264_config config;
    bool has_config, wants_parameter_sets, wants_key;
    uint8_t aac_record[AAC_MAX_CONFIG_SIZE * 4];
    size_t aac_record_len;
    struct buffer unit;
    struct passed_unit *passed, **passed_end;
    int64_t key_in_us;                /* newest key frame, -1: none; for pass-through */
    int64_t video_in_us, audio_in_us; /* furthest times that came in this session, -1: none */
    bool is_settling;
    size_t entry_offset; /* read so far of the first entry */

    bool is_flush_asked, is_session_end, wants_replan, must_have_audio, stops_pass_through, stops_pass_through_now,
        knows_aac, keeps_anchor;
    bool video_decoder_ended, audio_decoder_ended, video_ended, audio_ended;
    int64_t end_us; /* of the output so far */
    int64_t anchor_us, anchor_wall_ms;
    int64_t thumbnail_due_us;
    uint8_t *thumbnail;
    size_t thumbnail_len;
    struct checkpoint checkpoint;
    bool has_checkpoint;
    int64_t passed_refused;
    int64_t broken_tags, silence_samples;
};

void engine_fail(struct engine *engine, const char *text);
/* Works off the queue as far as there is room. */
void engine_pump(struct engine *engine);
/* Begins the flush; engine_pump() goes on when it is over. */
void engine_begin_flush(struct engine *engine);

/* engine_plan.c: fills engine->plan; what a plan before had, the new one keeps. */
void engine_plan_make(struct engine *engine, const struct source_probe *probe);

/* --- engine_stages.c --- */
/* A plan from what was probed, and its stages; they go on behind the segments of a plan before. May end in
 * ENGINE_FAILED. */
void engine_begin_plan(struct engine *engine, const struct source_probe *probe);
/* The stages of engine->plan. */
void engine_create_stages(struct engine *engine);
/* Sound begins anew in each session. */
void engine_renew_audio_stage(struct engine *engine);
void engine_drop_plan(struct engine *engine);
/* Where to go on behind what ends at `end_us`. `at_mark`: the session goes on, from a key frame before that time. */
void engine_fill_checkpoint(struct engine *engine, int64_t end_us, bool at_mark);

/* --- intake.c --- */
/* Starts the session whose first entry heads the queue. */
void intake_begin_session(struct engine *engine);
/* Decoders for a session that begins or is resumed. */
void intake_prepare(struct engine *engine);
/* Reads the first entry of the queue. 1: all of it; 0: it has to wait (settling, or a flush began). */
int intake_read_entry(struct engine *engine, const struct media_entry *entry);
void intake_finish_decoders(struct engine *engine);
void intake_destroy_decoders(struct engine *engine);
/* Hands passed-through units up to `pts_us` to the segmenter. */
void intake_release_passed(struct engine *engine, int64_t pts_us);
int64_t intake_arrival_ms(const struct engine *engine, int64_t from_us, int64_t until_us, bool latest);
