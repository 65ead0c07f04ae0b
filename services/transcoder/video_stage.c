#include "services/transcoder/video_stage.h"

#include "libcommon/alloc.h"
#include "services/transcoder/frame_pacer.h"
#include "services/transcoder/h264.h"
#include "services/transcoder/video_scaler.h"

#include <gst/video/video.h>
#include <stdio.h>
#include <string.h>

#define FAST_PRESET         "ultrafast"
#define THUMBNAIL_MAX_WIDTH 640
#define MAX_KEYS            64
#define MAX_UNIT_BYTES      (8 << 20)

/* An encoder of one rung. One that was replaced at a boundary lives until it is empty. */
struct encoder {
    struct encoder *next;
    struct video_stage *stage;
    int rendition;
    struct codec_pipe *pipe;
    struct h264_config config; /* its parameter sets, from its first frame */
    bool has_config, is_finishing;
};

struct video_stage {
    struct video_stage_options options;
    struct video_scaler *scaler;
    struct frame_pacer pacer;
    struct encoder *encoders[SEGMENT_MAX_RENDITIONS]; /* those in use */
    struct encoder *all;
    struct codec_pipe *thumbnail;
    bool wants_thumbnail, is_finishing, has_frames;
    int64_t start_us;
    int64_t join_us;                         /* where the session before ended; -1: there is nothing to join */
    bool bridges;                            /* from before_start to the first frame */
    GstBuffer *last[SEGMENT_MAX_RENDITIONS]; /* to be repeated */
    GstSample *before_start;                 /* newest picture in front of start_us */
    int before_width, before_height;
    GstCaps *gpu_caps;
    char colorimetry[64];
    enum video_effort effort, encoders_effort;
    int64_t keys[MAX_KEYS];
    int keys_count;
    struct buffer unit;
    struct video_stage_counts counts;
};

const char *video_effort_name(enum video_effort effort)
{
    static const char *const names[] = {"full", "half_rate", "fast_preset", "quarter_rate"};

    return effort < EFFORT_LEVELS ? names[effort] : "unknown";
}

/* --- encoders --- */

static void encoder_free(struct encoder *encoder)
{
    struct video_stage *stage = encoder->stage;

    for (struct encoder **at = &stage->all; *at; at = &(*at)->next)
        if (*at == encoder) {
            *at = encoder->next;
            break;
        }
    if (stage->encoders[encoder->rendition] == encoder)
        stage->encoders[encoder->rendition] = NULL;
    codec_pipe_destroy(encoder->pipe);
    free(encoder);
}

/* None of the same rung that was replaced still has frames to give. */
static bool is_only_one(const struct encoder *encoder)
{
    for (const struct encoder *other = encoder->stage->all; other; other = other->next)
        if (other != encoder && other->rendition == encoder->rendition)
            return false;
    return true;
}

static void on_unit(struct codec_pipe *pipe, GstSample *sample, void *context)
{
    struct encoder *encoder = context;
    struct video_stage *stage = encoder->stage;
    GstBuffer *buffer = gst_sample_get_buffer(sample);
    const int64_t pts_us = codec_sample_pts_us(sample), dts_us = codec_sample_dts_us(sample);
    GstMapInfo map;

    if (!gst_buffer_map(buffer, &map, GST_MAP_READ))
        return;
    if (!encoder->has_config)
        encoder->has_config = h264_config_from_annexb(map.data, map.size, &encoder->config) == 0;
    const uint8_t *bytes = map.data;
    size_t len_bytes = map.size;
    if (!GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DELTA_UNIT) && encoder->has_config) {
        buffer_reset(&stage->unit);
        if (h264_access_unit_complete(map.data, map.size, &encoder->config, &stage->unit) == 0) {
            bytes = stage->unit.data;
            len_bytes = stage->unit.len;
        }
    }
    if (is_only_one(encoder))
        segmenter_passed(stage->options.segmenter, encoder->rendition, pts_us);
    if (segmenter_add_video(stage->options.segmenter, encoder->rendition, pts_us,
                            dts_us >= 0 && dts_us < pts_us ? dts_us : pts_us, bytes, len_bytes) != 0)
        stage->counts.dropped++;
    gst_buffer_unmap(buffer, &map);
}

static void on_encoder_end(struct codec_pipe *pipe, void *context)
{
    struct encoder *encoder = context;
    struct video_stage *stage = encoder->stage;

    encoder_free(encoder);
    if (stage->is_finishing && !stage->all) {
        stage->is_finishing = false;
        stage->options.on_ended(stage->options.context);
    }
}

static void on_encoder_error(struct codec_pipe *pipe, const char *text, void *context)
{
    const struct encoder *encoder = context;

    encoder->stage->options.on_error(text, encoder->stage->options.context);
}

static struct encoder *encoder_create(struct video_stage *stage, int rendition)
{
    const struct output_plan *plan = stage->options.plan;
    const struct output_rendition *r = &plan->renditions[rendition];
    const bool is_fast = stage->effort >= EFFORT_FAST_PRESET;
    const struct backend_video video = {r->width,
                                        r->height,
                                        r->bitrate_kbps,
                                        plan->rate_num,
                                        plan->rate_den,
                                        is_fast ? FAST_PRESET : stage->options.preset,
                                        is_fast ? 0 : stage->options.lookahead,
                                        stage->options.threads};
    char description[BACKEND_DESCRIPTION_SIZE], caps[256], error[256];
    struct encoder *encoder = alloc_zero(1, sizeof(*encoder));

    snprintf(caps, sizeof(caps),
             "video/x-raw,format=I420,width=%d,height=%d,framerate=%d/%d,pixel-aspect-ratio=1/1,interlace-mode="
             "progressive%s%s",
             r->width, r->height, plan->rate_num, plan->rate_den, stage->colorimetry[0] ? ",colorimetry=" : "",
             stage->colorimetry);
    stage->options.backend->describe_encoder(&video, description);
    const struct codec_pipe_options options = {
        .name = r->name,
        .description = description,
        .caps = caps,
        .mailbox = stage->options.mailbox,
        .on_sample = on_unit,
        .on_end = on_encoder_end,
        .on_error = on_encoder_error,
        .context = encoder,
    };
    *encoder = (struct encoder){stage->all, stage, rendition, codec_pipe_create(&options, error, sizeof(error))};
    if (!encoder->pipe) {
        free(encoder);
        stage->options.on_error(error, stage->options.context);
        return NULL;
    }
    if (stage->gpu_caps)
        codec_pipe_set_caps(encoder->pipe, stage->gpu_caps);
    stage->all = encoder;
    return encoder;
}

static void retire_encoder(struct video_stage *stage, int rendition)
{
    struct encoder *encoder = stage->encoders[rendition];

    if (encoder && !encoder->is_finishing) {
        encoder->is_finishing = true;
        codec_pipe_finish(encoder->pipe);
    }
    stage->encoders[rendition] = NULL;
}

/* Encoders change at a boundary only: a new one begins with an IDR frame as it is. */
static void prepare_encoders(struct video_stage *stage)
{
    const bool was_fast = stage->encoders_effort >= EFFORT_FAST_PRESET;
    const bool is_fast = stage->effort >= EFFORT_FAST_PRESET;

    for (int i = 0; i < stage->options.plan->count; i++) {
        if (stage->options.plan->renditions[i].pass_through)
            continue;
        if (was_fast != is_fast)
            retire_encoder(stage, i);
        if (!stage->encoders[i])
            stage->encoders[i] = encoder_create(stage, i);
    }
    stage->encoders_effort = stage->effort;
}

/* --- frames --- */

static void on_jpeg(struct codec_pipe *pipe, GstSample *sample, void *context)
{
    struct video_stage *stage = context;

    stage->options.on_thumbnail(gst_sample_get_buffer(sample), stage->options.context);
}

static void on_jpeg_end(struct codec_pipe *pipe, void *context)
{
}

static void on_jpeg_error(struct codec_pipe *pipe, const char *text, void *context)
{
    struct video_stage *stage = context;

    /* A thumbnail is not worth a broadcast: the next one tries again. */
    codec_pipe_destroy(stage->thumbnail);
    stage->thumbnail = NULL;
}

static void take_thumbnail(struct video_stage *stage, int rendition, int64_t at_us)
{
    const struct output_rendition *top = &stage->options.plan->renditions[rendition];
    GstBuffer *picture = stage->last[rendition];
    char description[BACKEND_DESCRIPTION_SIZE], caps[256], error[256];
    int width = top->width, height = top->height;

    stage->wants_thumbnail = false;
    if (width > THUMBNAIL_MAX_WIDTH) {
        height = height * THUMBNAIL_MAX_WIDTH / width / 2 * 2;
        width = THUMBNAIL_MAX_WIDTH;
    }
    if (!stage->thumbnail) {
        stage->options.backend->describe_thumbnail(width, height < 2 ? 2 : height, description);
        snprintf(caps, sizeof(caps), "video/x-raw,format=I420,width=%d,height=%d,framerate=1/1,pixel-aspect-ratio=1/1",
                 top->width, top->height);
        const struct codec_pipe_options options = {"thumbnail", description, caps,          stage->options.mailbox,
                                                   on_jpeg,     on_jpeg_end, on_jpeg_error, stage};
        stage->thumbnail = codec_pipe_create(&options, error, sizeof(error));
        if (stage->thumbnail && stage->gpu_caps)
            codec_pipe_set_caps(stage->thumbnail, stage->gpu_caps);
    }
    if (stage->thumbnail && codec_pipe_in_flight(stage->thumbnail) == 0)
        codec_pipe_push(stage->thumbnail, gst_buffer_copy(picture), at_us, at_us);
}

/* Encodes the pictures in stage->last as a frame at `at_us`. */
static void encode(struct video_stage *stage, int64_t at_us, bool is_boundary)
{
    int top = -1;

    if (is_boundary) {
        segmenter_begin(stage->options.segmenter, at_us);
        prepare_encoders(stage);
    }
    segmenter_count_frame(stage->options.segmenter);
    stage->counts.frames++;
    for (int i = 0; i < stage->options.plan->count; i++) {
        if (!stage->encoders[i] || !stage->last[i])
            continue;
        if (top < 0)
            top = i;
        /* A shallow copy: the times belong to the frame, the memory to the picture. */
        GstBuffer *frame = gst_buffer_copy(stage->last[i]);
        if (is_boundary)
            gst_buffer_set_flags(frame, GST_BUFFER_FLAG_MARKER);
        else
            gst_buffer_unset_flags(frame, GST_BUFFER_FLAG_MARKER);
        codec_pipe_push(stage->encoders[i]->pipe, frame, at_us, at_us);
    }
    if (stage->wants_thumbnail && top >= 0)
        take_thumbnail(stage, top, at_us);
    if (!stage->has_frames) {
        stage->has_frames = true;
        stage->options.on_started(at_us, stage->options.context);
    }
}

static void forget_before_start(struct video_stage *stage)
{
    if (stage->before_start)
        gst_sample_unref(stage->before_start);
    stage->before_start = NULL;
}

static void forget_pictures(struct video_stage *stage)
{
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++)
        gst_clear_buffer(&stage->last[i]);
}

static void remember_caps(struct video_stage *stage, GstSample *sample)
{
    GstCaps *caps = gst_sample_get_caps(sample);
    GstVideoInfo info;

    if (stage->options.backend->scales_itself) {
        if (stage->gpu_caps && gst_caps_is_equal(stage->gpu_caps, caps))
            return;
        gst_caps_replace(&stage->gpu_caps, caps);
        for (int i = 0; i < stage->options.plan->count; i++)
            if (stage->encoders[i])
                codec_pipe_set_caps(stage->encoders[i]->pipe, caps);
        if (stage->thumbnail)
            codec_pipe_set_caps(stage->thumbnail, caps);
    } else if (!stage->colorimetry[0] && gst_video_info_from_caps(&info, caps)) {
        char *text = gst_video_colorimetry_to_string(&info.colorimetry);
        snprintf(stage->colorimetry, sizeof(stage->colorimetry), "%s", text ? text : "");
        g_free(text);
    }
}

/* The picture of a sample becomes the one to encode and to repeat. */
static int show(struct video_stage *stage, GstSample *sample, int display_width, int display_height)
{
    GstBuffer *pictures[SEGMENT_MAX_RENDITIONS] = {NULL};

    remember_caps(stage, sample);
    if (stage->options.backend->scales_itself) {
        for (int i = 0; i < stage->options.plan->count; i++)
            pictures[i] = gst_buffer_ref(gst_sample_get_buffer(sample));
    } else if (video_scaler_run(stage->scaler, sample, display_width, display_height, pictures) != 0) {
        return -1;
    }
    forget_pictures(stage);
    memcpy(stage->last, pictures, sizeof(pictures));
    return 0;
}

static bool is_source_key(struct video_stage *stage, int64_t pts_us)
{
    bool found = false;
    int kept = 0;

    for (int i = 0; i < stage->keys_count; i++) {
        found = found || stage->keys[i] == pts_us;
        if (stage->keys[i] > pts_us)
            stage->keys[kept++] = stage->keys[i];
    }
    stage->keys_count = kept;
    return found;
}

/* A successor's first frame: when the predecessor's segment ended between two frames (a repeated picture), the one
 * before is shown from the boundary on. */
static void bridge_start(struct video_stage *stage, int64_t pts_us)
{
    int64_t at_us;
    bool is_boundary;

    if (stage->bridges && stage->before_start && pts_us > stage->start_us &&
        show(stage, stage->before_start, stage->before_width, stage->before_height) == 0 &&
        frame_pacer_next(&stage->pacer, stage->start_us, true, &at_us, &is_boundary) == FRAME_KEEP)
        encode(stage, at_us, is_boundary);
    forget_before_start(stage);
}

static int64_t frame_interval_us(const struct video_stage *stage)
{
    return stage->pacer.interval_us > 0 ? stage->pacer.interval_us : 33333;
}

/* The source's own stream cannot be moved, so what is aligned to it is not moved either. */
static int64_t join(const struct video_stage *stage, int64_t pts_us)
{
    const int64_t late_us = pts_us - stage->join_us;
    const bool joins = !stage->pacer.started && !stage->pacer.at_key_frames && stage->join_us >= 0;

    return joins && late_us > 0 && late_us <= frame_interval_us(stage) ? stage->join_us : pts_us;
}

void video_stage_frame(struct video_stage *stage, GstSample *sample, int display_width, int display_height)
{
    int64_t pts_us = codec_sample_pts_us(sample);
    int64_t at_us;
    bool is_boundary;
    enum frame_pace pace;

    if (pts_us < 0 || stage->is_finishing)
        return;
    if (pts_us < stage->start_us) {
        forget_before_start(stage);
        stage->before_start = gst_sample_ref(sample);
        stage->before_width = display_width;
        stage->before_height = display_height;
        return;
    }
    const bool is_key = is_source_key(stage, pts_us);
    pts_us = join(stage, pts_us);
    if (stage->before_start)
        bridge_start(stage, pts_us);
    while ((pace = frame_pacer_next(&stage->pacer, pts_us, is_key, &at_us, &is_boundary)) == FRAME_REPEAT) {
        encode(stage, at_us, is_boundary);
        stage->counts.repeated++;
    }
    if (pace == FRAME_DROP || show(stage, sample, display_width, display_height) != 0)
        stage->counts.dropped++;
    if (pace == FRAME_KEEP)
        encode(stage, at_us, is_boundary);
}

void video_stage_fill(struct video_stage *stage, int64_t until_us)
{
    int64_t at_us;
    bool is_boundary;

    if (stage->is_finishing)
        return;
    if (!stage->pacer.started && until_us >= stage->start_us) {
        const int64_t from_us = stage->start_us > 0 ? stage->start_us : until_us;

        if (stage->options.backend->scales_itself && !stage->last[0])
            return; /* there is no picture in the GPU's memory to begin with */
        if (!stage->last[stage->options.plan->count - 1])
            video_scaler_black(stage->scaler, stage->last);
        if (frame_pacer_next(&stage->pacer, from_us, true, &at_us, &is_boundary) == FRAME_KEEP)
            encode(stage, at_us, is_boundary);
    }
    while (frame_pacer_fill(&stage->pacer, until_us, &at_us, &is_boundary) == FRAME_REPEAT) {
        encode(stage, at_us, is_boundary);
        stage->counts.repeated++;
    }
}

/* --- life --- */

struct video_stage *video_stage_create(const struct video_stage_options *options)
{
    struct video_stage *stage = alloc_zero(1, sizeof(*stage));

    stage->options = *options;
    stage->scaler = video_scaler_create(options->plan);
    buffer_init(&stage->unit, MAX_UNIT_BYTES);
    frame_pacer_init(&stage->pacer, options->plan->rate_num, options->plan->rate_den);
    for (int i = 0; i < options->plan->count; i++)
        stage->pacer.at_key_frames = stage->pacer.at_key_frames || options->plan->renditions[i].pass_through;
    return stage;
}

void video_stage_destroy(struct video_stage *stage)
{
    if (!stage)
        return;
    while (stage->all)
        encoder_free(stage->all);
    codec_pipe_destroy(stage->thumbnail);
    forget_pictures(stage);
    forget_before_start(stage);
    gst_clear_caps(&stage->gpu_caps);
    video_scaler_destroy(stage->scaler);
    buffer_clear(&stage->unit);
    free(stage);
}

int64_t video_stage_origin_us(const struct video_stage *stage)
{
    return stage->pacer.started ? stage->pacer.origin_us : -1;
}

void video_stage_start(struct video_stage *stage, int64_t start_us, int64_t origin_us, bool bridges)
{
    stage->bridges = bridges;
    stage->start_us = start_us < 0 ? 0 : start_us;
    stage->has_frames = false;
    stage->join_us = -1;
    forget_before_start(stage);
    frame_pacer_start(&stage->pacer, origin_us);
}

void video_stage_join(struct video_stage *stage, int64_t end_us)
{
    stage->join_us = end_us;
}

int64_t video_stage_end_us(const struct video_stage *stage)
{
    return stage->pacer.started ? stage->pacer.last_us + frame_interval_us(stage) : -1;
}

void video_stage_finish(struct video_stage *stage)
{
    stage->is_finishing = true;
    for (int i = 0; i < stage->options.plan->count; i++)
        retire_encoder(stage, i);
    if (!stage->all) {
        stage->is_finishing = false;
        stage->options.on_ended(stage->options.context);
    }
}

int video_stage_in_flight(const struct video_stage *stage)
{
    int most = 0;

    for (const struct encoder *encoder = stage->all; encoder; encoder = encoder->next)
        if (codec_pipe_in_flight(encoder->pipe) > most)
            most = codec_pipe_in_flight(encoder->pipe);
    return most;
}

void video_stage_set_effort(struct video_stage *stage, enum video_effort effort)
{
    stage->effort = effort;
    stage->pacer.divisor = effort == EFFORT_FULL ? 1 : effort == EFFORT_QUARTER_RATE ? 4 : 2;
}

void video_stage_source_key(struct video_stage *stage, int64_t pts_us)
{
    if (stage->keys_count == MAX_KEYS)
        memmove(stage->keys, stage->keys + 1, sizeof(stage->keys[0]) * (size_t)--stage->keys_count);
    stage->keys[stage->keys_count++] = pts_us;
}

void video_stage_want_thumbnail(struct video_stage *stage)
{
    stage->wants_thumbnail = true;
}

struct video_stage_counts video_stage_get_counts(const struct video_stage *stage)
{
    return stage->counts;
}
