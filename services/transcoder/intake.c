/* From FLV tags to decoders, on the output's timeline: the engine's front half. Also notices that one of sound and
 * picture has stopped while the other goes on, and has the gap filled. */
#include "services/transcoder/engine_state.h"

#include "libcommon/alloc.h"

#include <event2/event.h>
#include <stdio.h>

#define MAX_UNIT_BYTES (8 << 20)
/* Publishers interleave loosely; a stream that lags more than this behind the other has stopped. */
#define STARVED_US  1000000
#define FILL_LAG_US 500000
#define QUIET_MS    40
/* A source that is passed through and has no key frame for so long does not keep what its first GOPs promised. */
#define MAX_GOP_US 2400000

/* --- decoders --- */

static void on_picture(struct codec_pipe *pipe, GstSample *sample, void *context)
{
    struct engine *engine = context;
    const GstStructure *caps = gst_caps_get_structure(gst_sample_get_caps(sample), 0);
    int width = 0, height = 0;

    gst_structure_get_int(caps, "width", &width);
    gst_structure_get_int(caps, "height", &height);
    /* The decoder may be a few frames behind a change of size: then this picture is of the old one. */
    if (engine->has_config && engine->config.sps.width == width && engine->config.sps.height == height)
        h264_sps_display_size(&engine->config.sps, &width, &height);
    video_stage_frame(engine->video, sample, width, height);
    intake_release_passed(engine, codec_sample_pts_us(sample));
}

static void on_sound(struct codec_pipe *pipe, GstSample *sample, void *context)
{
    struct engine *engine = context;

    audio_stage_samples(engine->audio, sample);
}

static void on_decoder_end(struct codec_pipe *pipe, void *context)
{
    struct engine *engine = context;

    if (pipe == engine->video_decoder)
        engine->video_decoder_ended = true;
    else
        engine->audio_decoder_ended = true;
    engine_pump(engine);
}

static void on_decoder_error(struct codec_pipe *pipe, const char *text, void *context)
{
    engine_fail(context, text);
}

static struct codec_pipe *create_decoder(struct engine *engine, const char *name, const char *description,
                                         const char *caps, void (*on_sample)(struct codec_pipe *, GstSample *, void *))
{
    const struct codec_pipe_options options = {name,           description,      caps,  engine->mailbox, on_sample,
                                               on_decoder_end, on_decoder_error, engine};
    char error[256];
    struct codec_pipe *pipe = codec_pipe_create(&options, error, sizeof(error));

    if (!pipe)
        engine_fail(engine, error);
    return pipe;
}

void intake_prepare(struct engine *engine)
{
    engine->wants_key = engine->wants_parameter_sets = true;
    engine->video_in_us = engine->audio_in_us = engine->key_in_us = -1;
    engine->video_decoder_ended = engine->audio_decoder_ended = false;
    engine->entry_offset = 0;
    if (engine->plan.has_video && !engine->video_decoder)
        engine->video_decoder = create_decoder(engine, "video decoder", engine->options.backend->describe_decoder(),
                                               "video/x-h264,stream-format=byte-stream,alignment=au", on_picture);
}

void intake_finish_decoders(struct engine *engine)
{
    engine->video_decoder_ended = !engine->video_decoder;
    engine->audio_decoder_ended = !engine->audio_decoder;
    if (engine->video_decoder)
        codec_pipe_finish(engine->video_decoder);
    if (engine->audio_decoder)
        codec_pipe_finish(engine->audio_decoder);
}

void intake_destroy_decoders(struct engine *engine)
{
    codec_pipe_destroy(engine->video_decoder);
    codec_pipe_destroy(engine->audio_decoder);
    engine->video_decoder = engine->audio_decoder = NULL;
    while (engine->passed) {
        struct passed_unit *next = engine->passed->next;
        free(engine->passed);
        engine->passed = next;
    }
    engine->passed_end = &engine->passed;
}

/* --- sequence headers --- */

static void read_video_header(struct engine *engine, const struct flv_tag *tag)
{
    struct h264_config config;

    if (h264_config_parse(tag->payload, tag->payload_len, &config) != 0) {
        engine->broken_tags++;
        return;
    }
    if (!engine->has_config || !h264_config_equal(&config, &engine->config))
        engine->wants_parameter_sets = true;
    engine->config = config;
    engine->has_config = true;
}

static GstCaps *aac_caps(const struct aac_config *config, const uint8_t *record, size_t len_bytes)
{
    GstBuffer *data = gst_buffer_new_memdup(record, len_bytes);
    GstCaps *caps = gst_caps_new_simple(
        "audio/mpeg", "mpegversion", G_TYPE_INT, 4, "stream-format", G_TYPE_STRING, "raw", "framed", G_TYPE_BOOLEAN,
        TRUE, "rate", G_TYPE_INT, config->output_sample_rate, "channels", G_TYPE_INT,
        config->channels > 0 ? config->channels : 2, "codec_data", GST_TYPE_BUFFER, data, NULL);

    gst_buffer_unref(data);
    return caps;
}

static void read_audio_header(struct engine *engine, const struct flv_tag *tag)
{
    struct aac_config config;

    if (tag->payload_len > sizeof(engine->aac_record) ||
        aac_config_parse(tag->payload, tag->payload_len, &config) != 0) {
        engine->broken_tags++;
        return;
    }
    const bool same =
        tag->payload_len == engine->aac_record_len && memcmp(tag->payload, engine->aac_record, tag->payload_len) == 0;
    if ((same && engine->audio_decoder) || !engine->plan.has_audio)
        return;
    memcpy(engine->aac_record, tag->payload, tag->payload_len);
    engine->aac_record_len = tag->payload_len;
    GstCaps *caps = aac_caps(&config, tag->payload, tag->payload_len);
    if (engine->audio_decoder) {
        codec_pipe_set_caps(engine->audio_decoder, caps);
    } else {
        char *text = gst_caps_to_string(caps);
        engine->audio_decoder = create_decoder(engine, "audio decoder",
                                               "avdec_aac max-errors=-1 ! audioconvert ! audioresample ! "
                                               "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2",
                                               text, on_sound);
        g_free(text);
    }
    gst_caps_unref(caps);
}

/* --- media --- */

static void remember_arrival(struct engine *engine, int64_t pts_us)
{
    engine->arrivals[engine->arrivals_count++ % ENGINE_MAX_ARRIVALS] =
        (struct engine_arrival){pts_us, engine->entry_arrival_ms};
}

int64_t intake_arrival_ms(const struct engine *engine, int64_t from_us, int64_t until_us, bool latest)
{
    const unsigned count = engine->arrivals_count < ENGINE_MAX_ARRIVALS ? engine->arrivals_count : ENGINE_MAX_ARRIVALS;
    int64_t result = 0;

    for (unsigned i = 0; i < count; i++) {
        const struct engine_arrival *a = &engine->arrivals[i];
        if (a->pts_us < from_us || a->pts_us >= until_us)
            continue;
        if (result == 0 || (latest ? a->arrival_ms > result : a->arrival_ms < result))
            result = a->arrival_ms;
    }
    return result ? result : engine->entry_arrival_ms;
}

static void pass_unit(struct engine *engine, const struct timeline_stamp *stamp, bool is_key)
{
    struct passed_unit *unit = malloc(sizeof(*unit) + engine->unit.len);

    if (!unit)
        abort();
    *unit = (struct passed_unit){NULL, stamp->pts_us, stamp->dts_us, is_key, engine->unit.len};
    memcpy(unit->bytes, engine->unit.data, engine->unit.len);
    *engine->passed_end = unit;
    engine->passed_end = &unit->next;
}

/* In decoding order. A key frame waits until its picture has been seen: it may begin a segment. */
void intake_release_passed(struct engine *engine, int64_t pts_us)
{
    while (engine->passed && (!engine->passed->is_key || engine->passed->pts_us <= pts_us)) {
        struct passed_unit *unit = engine->passed;

        segmenter_passed(engine->segmenter, engine->pass_through, unit->pts_us);
        /* Refused: it lies before the first segment, as what a successor reads again does. */
        if (segmenter_add_video(engine->segmenter, engine->pass_through, unit->pts_us, unit->dts_us, unit->bytes,
                                unit->len_bytes) != 0)
            engine->passed_refused++;
        engine->passed = unit->next;
        if (!engine->passed)
            engine->passed_end = &engine->passed;
        free(unit);
    }
}

static int build_unit(struct engine *engine, const struct flv_tag *tag)
{
    buffer_reset(&engine->unit);
    /* An entry point that is no IDR frame gets no parameter sets from the conversion. */
    if (engine->wants_parameter_sets && tag->is_keyframe) {
        struct h264_access_unit inspected;

        if (h264_access_unit_inspect_avcc(tag->payload, tag->payload_len, engine->config.nal_length_size, &inspected) ==
                0 &&
            !inspected.is_idr && !inspected.has_sps &&
            buffer_append(&engine->unit, engine->config.parameter_sets, engine->config.parameter_sets_len) != 0)
            return -1;
        engine->wants_parameter_sets = false;
    }
    return h264_avcc_to_annexb(tag->payload, tag->payload_len, engine->config.nal_length_size, &engine->config,
                               &engine->unit);
}

static void read_video(struct engine *engine, const struct flv_tag *tag, struct engine_mark *mark)
{
    struct timeline_stamp stamp;

    if (!engine->has_config || !engine->video_decoder || (engine->wants_key && !tag->is_keyframe))
        return;
    engine->wants_key = false;
    timeline_map(&engine->timeline, TIMELINE_VIDEO, tag->timestamp_ms, tag->composition_offset_ms,
                 engine->entry_arrival_ms * 1000, &stamp);
    if (build_unit(engine, tag) != 0) {
        engine->broken_tags++;
        return;
    }
    if (mark && mark->pts_us < 0 && tag->is_keyframe)
        mark->pts_us = stamp.pts_us;
    if (stamp.pts_us > engine->video_in_us)
        engine->video_in_us = stamp.pts_us;
    remember_arrival(engine, stamp.pts_us);
    if (engine->pass_through >= 0) {
        if (tag->is_keyframe) {
            engine->key_in_us = stamp.pts_us;
            video_stage_source_key(engine->video, stamp.pts_us);
        }
        pass_unit(engine, &stamp, tag->is_keyframe);
    }
    codec_pipe_push(engine->video_decoder, gst_buffer_new_memdup(engine->unit.data, engine->unit.len), stamp.pts_us,
                    stamp.dts_us);
}

static void read_audio(struct engine *engine, const struct flv_tag *tag, struct engine_mark *mark)
{
    struct timeline_stamp stamp;

    if (!engine->audio_decoder)
        return;
    timeline_map(&engine->timeline, TIMELINE_AUDIO, tag->timestamp_ms, 0, engine->entry_arrival_ms * 1000, &stamp);
    if (mark && mark->pts_us < 0 && !engine->plan.has_video)
        mark->pts_us = stamp.pts_us;
    if (stamp.pts_us > engine->audio_in_us)
        engine->audio_in_us = stamp.pts_us;
    /* Mostly heard already: a rebase made it overlap what is there. */
    if (stamp.moved_us > 12000)
        return;
    if (!engine->plan.has_video) {
        remember_arrival(engine, stamp.pts_us);
        if (!audio_stage_is_started(engine->audio) && stamp.pts_us >= engine->end_us) {
            engine->anchor_us = stamp.pts_us;
            engine->anchor_wall_ms = engine->entry_arrival_ms;
            audio_stage_start(engine->audio, output_audio_frame_at(stamp.pts_us), -1);
        }
    }
    codec_pipe_push(engine->audio_decoder, gst_buffer_new_memdup(tag->payload, tag->payload_len), stamp.pts_us,
                    stamp.pts_us);
}

/* --- one of the two has stopped --- */

/* Whether `pipe` has given everything it will give; if not, the entry waits. */
static bool is_settled(struct engine *engine, struct codec_pipe *pipe)
{
    const struct timeval delay = {0, QUIET_MS * 1000 / 2};

    if (!pipe || codec_pipe_in_flight(pipe) == 0 || codec_pipe_is_quiet(pipe, QUIET_MS)) {
        if (pipe)
            codec_pipe_forgive(pipe);
        engine->is_settling = false;
        return true;
    }
    engine->is_settling = true;
    evtimer_add(engine->settle_timer, &delay);
    return false;
}

/* Returns 0 when the entry has to wait for a decoder. */
static int fill_gaps(struct engine *engine)
{
    const int64_t base_us = engine->timeline.start_us;
    const int64_t video_us = engine->video_in_us < 0 ? base_us : engine->video_in_us;
    const int64_t audio_us = engine->audio_in_us < 0 ? base_us : engine->audio_in_us;

    if (!engine->plan.has_video || !engine->plan.has_audio)
        return 1;
    if (engine->audio_in_us >= 0 && audio_us - video_us > STARVED_US &&
        audio_us - FILL_LAG_US > video_stage_end_us(engine->video) + FILL_LAG_US) {
        if (!is_settled(engine, engine->video_decoder))
            return 0;
        /* Nothing can be put into the source's own stream. */
        engine->stops_pass_through_now = engine->pass_through >= 0;
        if (engine->stops_pass_through_now)
            return 1;
        video_stage_fill(engine->video, audio_us - FILL_LAG_US);
    }
    if (engine->video_in_us >= 0 && video_us - audio_us > STARVED_US &&
        video_us - FILL_LAG_US > audio_stage_end_us(engine->audio) + FILL_LAG_US) {
        if (!is_settled(engine, engine->audio_decoder))
            return 0;
        audio_stage_fill(engine->audio, video_us - FILL_LAG_US);
    }
    return 1;
}

/* --- entries --- */

void intake_begin_session(struct engine *engine)
{
    uint32_t earliest_ms = 0;
    const bool found = source_probe_earliest(engine->first, &earliest_ms) == 0;

    engine->session = engine->first->session;
    timeline_begin_session(&engine->timeline, engine->end_us, found ? &earliest_ms : NULL);
    engine->marks_count = 0;
    intake_prepare(engine);
}

/* Media of a kind that the plan does not know: it has to be made anew. A header alone promises nothing. */
static bool is_unplanned(struct engine *engine, const struct flv_tag *tag)
{
    struct aac_config aac;

    if (tag->type == FLV_TAG_AUDIO && !engine->plan.has_audio && tag->codec == FLV_AUDIO_AAC) {
        if (tag->is_sequence_header)
            engine->knows_aac = aac_config_parse(tag->payload, tag->payload_len, &aac) == 0;
        engine->must_have_audio = engine->must_have_audio || (tag->is_media && engine->knows_aac);
        return tag->is_media && engine->knows_aac;
    }
    return tag->type == FLV_TAG_VIDEO && !engine->plan.has_video && tag->codec == FLV_VIDEO_AVC && tag->is_media &&
           tag->is_keyframe && engine->has_config;
}

/* The source that is passed through is no longer fit for it. */
static bool breaks_pass_through(const struct engine *engine, const struct flv_tag *tag)
{
    struct h264_config config;
    struct h264_access_unit unit;

    if (engine->pass_through < 0 || tag->type != FLV_TAG_VIDEO || tag->codec != FLV_VIDEO_AVC)
        return false;
    if (tag->is_sequence_header)
        return engine->has_config && h264_config_parse(tag->payload, tag->payload_len, &config) == 0 &&
               !h264_config_equal(&config, &engine->config);
    if (!tag->is_media || !engine->has_config)
        return false;
    if (engine->key_in_us >= 0 && engine->video_in_us - engine->key_in_us > MAX_GOP_US)
        return true;
    return tag->is_keyframe &&
           (h264_access_unit_inspect_avcc(tag->payload, tag->payload_len, engine->config.nal_length_size, &unit) != 0 ||
            !unit.is_idr);
}

static struct engine_mark *set_mark(struct engine *engine, const struct media_entry *entry)
{
    if (engine->marks_count == ENGINE_MAX_MARKS)
        memmove(engine->marks, engine->marks + 1, sizeof(engine->marks[0]) * (size_t)--engine->marks_count);
    struct engine_mark *mark = &engine->marks[engine->marks_count++];

    memcpy(mark->id, entry->id, sizeof(mark->id));
    mark->pts_us = -1;
    mark->timeline = engine->timeline;
    return mark;
}

int intake_read_entry(struct engine *engine, const struct media_entry *entry)
{
    struct engine_mark *mark = NULL;
    struct flv_tag tag;
    int taken = 0;

    engine->entry_arrival_ms = entry->arrival_ms;
    if (entry->is_start && engine->entry_offset == 0)
        mark = set_mark(engine, entry);
    else if (entry->is_start && engine->marks_count > 0)
        mark = &engine->marks[engine->marks_count - 1];
    while (engine->state == ENGINE_RUNNING) {
        if (fill_gaps(engine) == 0)
            return 0;
        taken = flv_tag_parse(entry->bytes + engine->entry_offset, entry->len_bytes - engine->entry_offset, &tag);
        if (taken <= 0)
            break;
        const bool breaks = breaks_pass_through(engine, &tag) || engine->stops_pass_through_now;
        if (breaks || is_unplanned(engine, &tag)) {
            engine->stops_pass_through = engine->stops_pass_through || breaks;
            engine->stops_pass_through_now = false;
            engine->is_session_end = true;
            engine->wants_replan = true;
            engine_begin_flush(engine);
            return 0;
        }
        engine->entry_offset += (size_t)taken;
        if (tag.type == FLV_TAG_VIDEO && tag.codec == FLV_VIDEO_AVC && tag.is_sequence_header)
            read_video_header(engine, &tag);
        else if (tag.type == FLV_TAG_VIDEO && tag.codec == FLV_VIDEO_AVC && tag.is_media)
            read_video(engine, &tag, mark);
        else if (tag.type == FLV_TAG_AUDIO && tag.codec == FLV_AUDIO_AAC && tag.is_sequence_header)
            read_audio_header(engine, &tag);
        else if (tag.type == FLV_TAG_AUDIO && tag.codec == FLV_AUDIO_AAC && tag.is_media)
            read_audio(engine, &tag, mark);
    }
    if (taken < 0)
        engine->broken_tags++;
    return engine->state == ENGINE_RUNNING;
}
