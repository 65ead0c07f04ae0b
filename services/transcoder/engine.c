/* One broadcast from its ring to segments: the queue of entries, the sessions in it, flushing and resuming. What reads
 * an entry is intake.c, what is made of it and comes out is engine_stages.c. */
#include "services/transcoder/engine_state.h"

#include "libcommon/alloc.h"

#include <event2/event.h>
#include <stdio.h>

#define MAX_UNIT_BYTES (8 << 20)
#define MAX_QUEUE      64
#define DECODER_ROOM   24 /* more than any decoder holds back for reordering */
#define ENCODER_ROOM   12 /* beyond the look-ahead */
#define STUCK_MS       100

/* --- failure and the end of a flush: told from the loop, never from inside a call --- */

static void on_failure(evutil_socket_t fd, short what, void *context)
{
    struct engine *engine = context;

    engine->options.on_error(engine->failure, engine->options.context);
}

void engine_fail(struct engine *engine, const char *text)
{
    if (engine->state == ENGINE_FAILED)
        return;
    engine->state = ENGINE_FAILED;
    snprintf(engine->failure, sizeof(engine->failure), "%s", text);
    event_active(engine->failure_event, 0, 0);
}

static void on_flush_done(evutil_socket_t fd, short what, void *context)
{
    struct engine *engine = context;

    engine->options.on_flushed(engine->options.context);
}

/* --- the queue --- */

static void pop_entry(struct engine *engine)
{
    struct media_entry *entry = engine->first;

    memcpy(engine->last_id, entry->id, sizeof(engine->last_id));
    engine->first = entry->next;
    if (!engine->first)
        engine->end = &engine->first;
    engine->queue_count--;
    engine->entry_offset = 0;
    free(entry);
}

static void start_session(struct engine *engine)
{
    if (engine->plan.has_audio)
        engine_renew_audio_stage(engine);
    if (segmenter_next_number(engine->segmenter) > 0)
        segmenter_discontinuity(engine->segmenter);
    engine->state = ENGINE_RUNNING;
    if (engine->video)
        video_stage_start(engine->video, -1, -1, false);
    if (engine->video && segmenter_next_number(engine->segmenter) > 0)
        video_stage_join(engine->video, engine->end_us);
    intake_begin_session(engine);
}

static void probe(struct engine *engine, bool must_decide)
{
    struct source_probe seen;

    source_probe_run(engine->first, engine->options.pass_through && !engine->stops_pass_through, &seen);
    if (!seen.is_complete && !must_decide && engine->queue_count < MAX_QUEUE)
        return;
    if (seen.has_video || seen.has_audio) {
        engine_begin_plan(engine, &seen);
        if (engine->state != ENGINE_FAILED)
            start_session(engine);
    } else {
        /* Nothing that can be read: the next entry may begin better. */
        pop_entry(engine);
        engine->state = ENGINE_WAITING;
    }
}

/* Whether the entry ends the session that is running. */
static bool ends_session(const struct engine *engine, const struct media_entry *entry)
{
    return entry->session != engine->session || entry->is_gap || entry->is_end;
}

/* What a decoder swallows without an answer must not fill its room for ever. */
static bool decoder_has_room(struct codec_pipe *pipe, int room)
{
    if (pipe && codec_pipe_in_flight(pipe) >= room && codec_pipe_is_quiet(pipe, STUCK_MS))
        codec_pipe_forgive(pipe);
    return !pipe || codec_pipe_in_flight(pipe) < room;
}

static bool has_room(const struct engine *engine)
{
    return !engine->is_settling && decoder_has_room(engine->video_decoder, DECODER_ROOM) &&
           decoder_has_room(engine->audio_decoder, 4 * DECODER_ROOM) &&
           (!engine->video || video_stage_in_flight(engine->video) < engine->options.lookahead + ENCODER_ROOM);
}

/* After engine_resume(): the ring may have lost what the checkpoint points at. */
static void check_expected(struct engine *engine)
{
    if (strcmp(engine->first->id, engine->expected_id) != 0) {
        intake_destroy_decoders(engine);
        if (engine->plan.has_audio)
            engine_renew_audio_stage(engine);
        engine->state = ENGINE_WAITING;
    }
    engine->expected_id[0] = '\0';
}

/* One step on the first entry; false when nothing can be done now. */
static bool step(struct engine *engine)
{
    static const struct timeval stuck_check = {0, STUCK_MS * 1000 / 2};
    const struct media_entry *entry = engine->first;

    if (engine->expected_id[0])
        check_expected(engine);
    switch (engine->state) {
    case ENGINE_WAITING:
        if (!entry->is_start) {
            pop_entry(engine);
        } else if (engine->has_plan) {
            start_session(engine);
        } else {
            engine->state = ENGINE_PROBING;
        }
        return true;
    case ENGINE_PROBING:
        probe(engine, false);
        return engine->state != ENGINE_PROBING;
    case ENGINE_RUNNING:
        /* The first entry of a session has `g` set when it began with a loss: it ends nothing then. */
        if (ends_session(engine, entry) &&
            !(entry->is_gap && entry->session == engine->session && engine->marks_count == 0)) {
            engine->is_session_end = true;
            if (entry->is_end && entry->session == engine->session)
                pop_entry(engine);
            engine_begin_flush(engine);
            return true;
        }
        if (!has_room(engine)) {
            /* Mail wakes us as a rule; a decoder that is stuck sends none. */
            evtimer_add(engine->settle_timer, &stuck_check);
            return false;
        }
        if (intake_read_entry(engine, entry) == 0)
            return engine->state != ENGINE_RUNNING;
        pop_entry(engine);
        return true;
    default:
        return false;
    }
}

/* --- flush --- */

void engine_begin_flush(struct engine *engine)
{
    engine->state = ENGINE_DECODING_REST;
    engine->is_settling = false;
    evtimer_del(engine->settle_timer);
    intake_finish_decoders(engine);
}

static void finish_stages(struct engine *engine)
{
    int64_t end_us = engine->end_us;

    engine->state = ENGINE_ENCODING_REST;
    engine->video_ended = !engine->video;
    engine->audio_ended = !engine->audio;
    if (engine->video) {
        if (engine->audio && audio_stage_end_us(engine->audio) > video_stage_end_us(engine->video) &&
            segmenter_open_start_us(engine->segmenter) >= 0)
            video_stage_fill(engine->video, audio_stage_end_us(engine->audio));
        if (segmenter_open_start_us(engine->segmenter) >= 0)
            end_us = video_stage_end_us(engine->video);
    } else if (engine->audio) {
        end_us = output_audio_frame_us(output_audio_frame_at(audio_stage_end_us(engine->audio)));
    }
    if (engine->video)
        intake_release_passed(engine, INT64_MAX);
    if (engine->video)
        segmenter_finish(engine->segmenter, end_us);
    engine->end_us = end_us > engine->end_us ? end_us : engine->end_us;
    if (engine->audio)
        audio_stage_finish(engine->audio, end_us);
    if (engine->video)
        video_stage_finish(engine->video);
}

static void finish_flush(struct engine *engine)
{
    if (!engine->video)
        segmenter_finish(engine->segmenter, engine->end_us);
    segmenter_close(engine->segmenter);
    intake_destroy_decoders(engine);
    engine_fill_checkpoint(engine, engine->end_us, !engine->is_session_end);
    engine->checkpoint.discontinuity = true;
    engine->state = ENGINE_WAITING;
    if (engine->wants_replan) {
        engine->wants_replan = false;
        engine_drop_plan(engine);
    } else if (engine->plan.has_audio) {
        engine_renew_audio_stage(engine);
    }
    engine->is_session_end = false;
    if (engine->is_flush_asked)
        event_active(engine->flushed_event, 0, 0);
}

void engine_pump(struct engine *engine)
{
    if (engine->state == ENGINE_DECODING_REST && engine->video_decoder_ended && engine->audio_decoder_ended)
        finish_stages(engine);
    if (engine->state == ENGINE_ENCODING_REST && engine->video_ended && engine->audio_ended) {
        finish_flush(engine);
    }
    while (engine->first && !(engine->is_flush_asked && engine->state == ENGINE_WAITING) && step(engine))
        continue;
}

static void after_mail(void *context)
{
    struct engine *engine = context;

    if (engine->state == ENGINE_FAILED)
        return;
    engine_pump(engine);
    engine->options.on_room(engine->options.context);
}

static void on_settle(evutil_socket_t fd, short what, void *context)
{
    struct engine *engine = context;

    engine->is_settling = false;
    after_mail(engine);
}

/* --- life --- */

struct engine *engine_create(const struct engine_options *options)
{
    struct engine *engine = alloc_zero(1, sizeof(*engine));

    engine->options = *options;
    engine->mailbox = mailbox_create(options->loop, after_mail, engine);
    engine->settle_timer = evtimer_new(options->loop, on_settle, engine);
    engine->failure_event = event_new(options->loop, -1, 0, on_failure, engine);
    engine->flushed_event = event_new(options->loop, -1, 0, on_flush_done, engine);
    if (!engine->settle_timer || !engine->failure_event || !engine->flushed_event)
        abort();
    engine->end = &engine->first;
    engine->passed_end = &engine->passed;
    engine->pass_through = -1;
    buffer_init(&engine->unit, MAX_UNIT_BYTES);
    timeline_init(&engine->timeline, NULL);
    return engine;
}

void engine_destroy(struct engine *engine)
{
    if (!engine)
        return;
    intake_destroy_decoders(engine);
    engine_drop_plan(engine);
    mailbox_destroy(engine->mailbox);
    while (engine->first)
        pop_entry(engine);
    event_free(engine->settle_timer);
    event_free(engine->failure_event);
    event_free(engine->flushed_event);
    buffer_clear(&engine->unit);
    free(engine->thumbnail);
    free(engine);
}

void engine_resume(struct engine *engine, const struct checkpoint *c)
{
    engine->checkpoint = *c;
    engine->has_checkpoint = true;
    engine->plan = c->plan;
    engine->timeline = c->timeline;
    engine->session = c->session;
    engine->end_us = c->start_us;
    engine->anchor_us = c->anchor_us;
    engine->anchor_wall_ms = c->anchor_wall_ms;
    engine->thumbnail_due_us = c->thumbnail_us;
    engine_create_stages(engine);
    segmenter_resume(engine->segmenter, c->number, c->audio_frame, c->continuity);
    if (c->discontinuity)
        segmenter_discontinuity(engine->segmenter);
    if (!c->in_session)
        return;
    snprintf(engine->expected_id, sizeof(engine->expected_id), "%s", c->position);
    engine->state = ENGINE_RUNNING;
    engine->keeps_anchor = !c->discontinuity;
    intake_prepare(engine);
    if (engine->video)
        video_stage_start(engine->video, c->start_us, c->discontinuity ? -1 : c->origin_us, !c->discontinuity);
    if (engine->plan.has_audio)
        engine_renew_audio_stage(engine);
    if (engine->audio && !c->discontinuity)
        audio_stage_start(engine->audio, c->audio_frame, engine->video ? -1 : c->origin_us);
}

void engine_begin_at(struct engine *engine, int64_t number, int64_t start_us)
{
    engine->end_us = start_us;
    engine->checkpoint.number = number;
    engine->checkpoint.audio_frame = output_audio_frame_at(start_us);
}

bool engine_wants_input(const struct engine *engine)
{
    switch (engine->state) {
    case ENGINE_WAITING:
    case ENGINE_PROBING:
        return engine->queue_count < MAX_QUEUE;
    case ENGINE_RUNNING:
        return engine->queue_count < 2;
    default:
        return false;
    }
}

void engine_push(struct engine *engine, struct media_entry *entry)
{
    entry->next = NULL;
    *engine->end = entry;
    engine->end = &entry->next;
    engine->queue_count++;
    engine_pump(engine);
}

void engine_flush(struct engine *engine, bool is_session_end)
{
    engine->is_flush_asked = true;
    engine->is_session_end = is_session_end;
    if (engine->state == ENGINE_PROBING && engine->first)
        probe(engine, true);
    while (engine->state == ENGINE_RUNNING && engine->first && !engine->is_settling && step(engine))
        continue;
    if (engine->state == ENGINE_RUNNING) {
        engine_begin_flush(engine);
        engine_pump(engine);
    } else if (engine->state == ENGINE_WAITING) {
        event_active(engine->flushed_event, 0, 0);
    }
}

const struct checkpoint *engine_checkpoint(struct engine *engine)
{
    return engine->has_checkpoint ? &engine->checkpoint : NULL;
}

void engine_set_effort(struct engine *engine, enum video_effort effort)
{
    engine->effort = effort;
    if (engine->video)
        video_stage_set_effort(engine->video, effort);
}

struct engine_counts engine_get_counts(const struct engine *engine)
{
    struct engine_counts counts = {.broken_tags = engine->broken_tags,
                                   .rebases = engine->timeline.rebases,
                                   .is_idle = engine->state == ENGINE_WAITING};

    if (engine->video)
        counts.video = video_stage_get_counts(engine->video);
    counts.silence_ms = engine->silence_samples * 1000 / OUTPUT_AUDIO_RATE;
    if (engine->audio)
        counts.silence_ms += audio_stage_silence_samples(engine->audio) * 1000 / OUTPUT_AUDIO_RATE;
    return counts;
}
