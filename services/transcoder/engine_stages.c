/* What stands behind the decoders: the stages and the segmenter of the plan, and what comes out of them, segments with
 * the checkpoint from which a successor goes on behind each. */
#include "services/transcoder/engine_state.h"

#include <stdio.h>

#define MARK_DISTANCE_US   300000
#define THUMBNAIL_EVERY_US INT64_C(10000000)

/* --- segments --- */

static const struct engine_mark *mark_before(const struct engine *engine, int64_t end_us)
{
    const struct engine_mark *found = NULL;

    for (int i = 0; i < engine->marks_count; i++)
        if (engine->marks[i].pts_us >= 0 && (!found || engine->marks[i].pts_us <= end_us - MARK_DISTANCE_US))
            found = &engine->marks[i];
    return found && found->pts_us <= end_us ? found : NULL;
}

void engine_fill_checkpoint(struct engine *engine, int64_t end_us, bool at_mark)
{
    struct checkpoint *c = &engine->checkpoint;
    const struct engine_mark *mark = at_mark ? mark_before(engine, end_us) : NULL;
    const struct ts_continuity *continuity = segmenter_continuity(engine->segmenter);

    snprintf(c->position, sizeof(c->position), "%s", mark ? mark->id : engine->last_id);
    c->in_session = mark != NULL;
    c->session = engine->session;
    c->timeline = mark ? mark->timeline : engine->timeline;
    c->number = segmenter_next_number(engine->segmenter);
    c->start_us = end_us;
    c->audio_frame = segmenter_next_audio_frame(engine->segmenter);
    c->discontinuity = !mark;
    c->origin_us = engine->video   ? video_stage_origin_us(engine->video)
                   : engine->audio ? audio_stage_origin_us(engine->audio)
                                   : 0;
    if (c->origin_us < 0)
        c->origin_us = 0;
    c->anchor_us = engine->anchor_us;
    c->anchor_wall_ms = engine->anchor_wall_ms;
    c->thumbnail_us = engine->thumbnail_due_us;
    c->plan = engine->plan;
    for (int i = 0; i < engine->plan.count; i++)
        c->continuity[i] = ts_continuity_pack(&continuity[i]);
    engine->has_checkpoint = true;
}

static void on_segment(struct finished_segment *media, void *context)
{
    struct engine *engine = context;
    const bool is_last = engine->state == ENGINE_ENCODING_REST && segmenter_open_segments(engine->segmenter) == 0;

    if (media->end_us > engine->end_us)
        engine->end_us = media->end_us;
    engine_fill_checkpoint(engine, media->end_us, !is_last || !engine->is_session_end);
    if (is_last)
        engine->checkpoint.discontinuity = true;
    const struct engine_segment segment = {
        .media = media,
        .session = engine->session,
        .program_date_time_ms = engine->anchor_wall_ms + (media->start_us - engine->anchor_us) / 1000,
        .arrived_ms = intake_arrival_ms(engine, media->start_us, media->end_us, true),
        .thumbnail = engine->thumbnail,
        .thumbnail_len = engine->thumbnail_len,
        .checkpoint = &engine->checkpoint,
    };
    engine->options.on_segment(&segment, engine->options.context);
    free(engine->thumbnail);
    engine->thumbnail = NULL;
    if (engine->video && media->end_us >= engine->thumbnail_due_us) {
        engine->thumbnail_due_us = media->end_us + THUMBNAIL_EVERY_US - OUTPUT_SEGMENT_US / 2;
        video_stage_want_thumbnail(engine->video);
    }
}

static void on_thumbnail(GstBuffer *jpeg, void *context)
{
    struct engine *engine = context;
    gpointer copy = NULL;
    gsize size = 0;

    gst_buffer_extract_dup(jpeg, 0, gst_buffer_get_size(jpeg), &copy, &size);
    free(engine->thumbnail);
    engine->thumbnail = malloc(size ? size : 1);
    if (!engine->thumbnail)
        abort();
    memcpy(engine->thumbnail, copy, size);
    engine->thumbnail_len = size;
    g_free(copy);
}

/* --- what the stages say --- */

static void on_stage_error(const char *text, void *context)
{
    engine_fail(context, text);
}

static void on_video_started(int64_t start_us, void *context)
{
    struct engine *engine = context;

    if (!engine->keeps_anchor) {
        engine->anchor_us = start_us;
        engine->anchor_wall_ms = intake_arrival_ms(engine, start_us, start_us + 1, false);
    }
    engine->keeps_anchor = false;
    if (engine->plan.has_audio && !audio_stage_is_started(engine->audio))
        audio_stage_start(engine->audio, output_audio_frame_at(start_us), -1);
}

static void on_video_ended(void *context)
{
    struct engine *engine = context;

    engine->video_ended = true;
    engine_pump(engine);
}

static void on_audio_ended(void *context)
{
    struct engine *engine = context;

    engine->audio_ended = true;
    engine_pump(engine);
}

/* --- the plan and its stages --- */

void engine_renew_audio_stage(struct engine *engine)
{
    const struct audio_stage_options options = {engine->mailbox,
                                                engine->segmenter,
                                                engine->options.audio_kbps,
                                                !engine->plan.has_video,
                                                on_audio_ended,
                                                on_stage_error,
                                                engine};

    if (engine->audio)
        engine->silence_samples += audio_stage_silence_samples(engine->audio);
    audio_stage_destroy(engine->audio);
    engine->audio = audio_stage_create(&options);
}

void engine_create_stages(struct engine *engine)
{
    const struct video_stage_options options = {.backend = engine->options.backend,
                                                .plan = &engine->plan,
                                                .mailbox = engine->mailbox,
                                                .preset = engine->options.preset,
                                                .lookahead = engine->options.lookahead,
                                                .threads = engine->options.encoder_threads,
                                                .on_started = on_video_started,
                                                .on_ended = on_video_ended,
                                                .on_error = on_stage_error,
                                                .on_thumbnail = on_thumbnail,
                                                .context = engine};

    engine->segmenter = segmenter_create(&engine->plan, on_segment, engine);
    if (engine->plan.has_video) {
        struct video_stage_options with_segmenter = options;
        with_segmenter.segmenter = engine->segmenter;
        engine->video = video_stage_create(&with_segmenter);
        video_stage_set_effort(engine->video, engine->effort);
        if (!engine->has_checkpoint) {
            engine->thumbnail_due_us = engine->end_us + THUMBNAIL_EVERY_US;
            video_stage_want_thumbnail(engine->video);
        }
    }
    engine->pass_through = -1;
    for (int i = 0; i < engine->plan.count; i++)
        if (engine->plan.renditions[i].pass_through)
            engine->pass_through = i;
    engine->has_plan = true;
}

void engine_begin_plan(struct engine *engine, const struct source_probe *probe)
{
    engine_plan_make(engine, probe);
    if (engine->state == ENGINE_FAILED)
        return;
    engine_create_stages(engine);
    if (engine->has_checkpoint || engine->checkpoint.number > 0) {
        segmenter_resume(engine->segmenter, engine->checkpoint.number, engine->checkpoint.audio_frame,
                         engine->checkpoint.continuity);
        segmenter_discontinuity(engine->segmenter);
    }
}

void engine_drop_plan(struct engine *engine)
{
    audio_stage_destroy(engine->audio);
    video_stage_destroy(engine->video);
    segmenter_destroy(engine->segmenter);
    engine->audio = NULL;
    engine->video = NULL;
    engine->segmenter = NULL;
    engine->has_plan = false;
}
