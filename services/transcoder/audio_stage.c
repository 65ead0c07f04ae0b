/* Time stamps of sound are rounded and jitter, samples do not: as long as the two stay together, samples are counted
 * and stamps only watched (smoothed); a real gap or overlap is repaired at once. */
#include "services/transcoder/audio_stage.h"

#include "libcommon/alloc.h"
#include "services/transcoder/aac.h"
#include "services/transcoder/backend.h"

#include <stdio.h>
#include <string.h>

#define FRAME_BYTES      ((size_t)OUTPUT_AUDIO_CHANNELS * 2)
#define BLOCK_BYTES      (OUTPUT_AUDIO_FRAME * FRAME_BYTES)
#define JUMP_SAMPLES     (OUTPUT_AUDIO_RATE * 50 / 1000) /* repaired at once */
#define DRIFT_SAMPLES    (OUTPUT_AUDIO_RATE * 15 / 1000) /* repaired when it lasts */
#define MAX_WAIT_SAMPLES (OUTPUT_AUDIO_RATE * 10)        /* kept while the start is not known */
#define MAX_PCM_BYTES    (64 << 20)
/* Blocks encoded in front of the first frame wanted, so that the encoder's overlap is that of the real sound. */
#define PREROLL_BLOCKS 3

static const struct {
    const char *element;
    const char *options;
    int delay_blocks; /* how many frames come out before the one that begins with the first sample put in */
} encoders[] = {
    {"fdkaacenc", "", 2},
    {"avenc_aac", "aac-coder=fast", 1},
    {"voaacenc", "", 2},
};

struct audio_stage {
    struct audio_stage_options options;
    struct codec_pipe *encoder;
    int delay_blocks;
    struct buffer pcm;
    int64_t base; /* position of the first sample in `pcm` on the output's grid */
    bool has_base, is_started, is_finishing;
    bool is_aligned;                             /* sound lies behind `base`: from now on it is counted */
    double drift;                                /* smoothed: stamps minus count */
    int64_t first_frame, next_frame, last_frame; /* wanted first; of the next packet; -1 or first not wanted */
    int64_t origin_us, boundary_us;
    int64_t silence;
};

static int choose_encoder(void)
{
    for (size_t i = 0; i < sizeof(encoders) / sizeof(encoders[0]); i++)
        if (backend_has_element(encoders[i].element))
            return (int)i;
    return -1;
}

const char *audio_stage_encoder(void)
{
    const int chosen = choose_encoder();

    return chosen < 0 ? NULL : encoders[chosen].element;
}

struct audio_stage *audio_stage_create(const struct audio_stage_options *options)
{
    struct audio_stage *stage = alloc_zero(1, sizeof(*stage));

    stage->options = *options;
    stage->last_frame = -1;
    buffer_init(&stage->pcm, MAX_PCM_BYTES);
    return stage;
}

void audio_stage_destroy(struct audio_stage *stage)
{
    if (!stage)
        return;
    codec_pipe_destroy(stage->encoder);
    buffer_clear(&stage->pcm);
    free(stage);
}

static int64_t samples_in(const struct audio_stage *stage)
{
    return (int64_t)(stage->pcm.len / FRAME_BYTES);
}

static void add_silence(struct audio_stage *stage, int64_t samples)
{
    const size_t bytes = (size_t)samples * FRAME_BYTES;
    uint8_t *at = samples > 0 ? buffer_reserve(&stage->pcm, bytes) : NULL;

    if (!at)
        return;
    memset(at, 0, bytes);
    buffer_commit(&stage->pcm, bytes);
    stage->silence += samples;
}

static void cut_segment(struct audio_stage *stage, int64_t pts_us)
{
    if (pts_us < stage->boundary_us)
        return;
    stage->boundary_us = stage->origin_us + ((pts_us - stage->origin_us) / OUTPUT_SEGMENT_US + 1) * OUTPUT_SEGMENT_US;
    segmenter_begin(stage->options.segmenter, pts_us);
}

static void on_packet(struct codec_pipe *pipe, GstSample *sample, void *context)
{
    static const struct aac_config config = {.object_type = AAC_LC,
                                             .core_sample_rate = OUTPUT_AUDIO_RATE,
                                             .output_sample_rate = OUTPUT_AUDIO_RATE,
                                             .channel_configuration = OUTPUT_AUDIO_CHANNELS,
                                             .channels = OUTPUT_AUDIO_CHANNELS,
                                             .frame_samples = OUTPUT_AUDIO_FRAME};
    struct audio_stage *stage = context;
    const int64_t frame = stage->next_frame++;
    uint8_t adts[8192];
    GstMapInfo map;

    if (frame < stage->first_frame || (stage->last_frame >= 0 && frame >= stage->last_frame) ||
        !gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ))
        return;
    if (map.size <= sizeof(adts) - AAC_ADTS_HEADER_SIZE && aac_adts_write(&config, map.size, adts) == 0) {
        memcpy(adts + AAC_ADTS_HEADER_SIZE, map.data, map.size);
        if (stage->options.cuts_segments)
            cut_segment(stage, output_audio_frame_us(frame));
        segmenter_add_audio(stage->options.segmenter, frame, adts, map.size + AAC_ADTS_HEADER_SIZE);
    }
    gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
}

static void on_encoder_end(struct codec_pipe *pipe, void *context)
{
    const struct audio_stage *stage = context;

    stage->options.on_ended(stage->options.context);
}

static void on_encoder_error(struct codec_pipe *pipe, const char *text, void *context)
{
    const struct audio_stage *stage = context;

    stage->options.on_error(text, stage->options.context);
}

static void create_encoder(struct audio_stage *stage)
{
    const int chosen = choose_encoder();
    char description[256], error[256] = "no AAC encoder";

    if (chosen >= 0) {
        snprintf(description, sizeof(description),
                 "audioconvert ! %s bitrate=%d %s ! audio/mpeg,mpegversion=4,stream-format=raw",
                 encoders[chosen].element, stage->options.bitrate_kbps * 1000, encoders[chosen].options);
        const struct codec_pipe_options options = {
            .name = "audio encoder",
            .description = description,
            .caps = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2",
            .mailbox = stage->options.mailbox,
            .on_sample = on_packet,
            .on_end = on_encoder_end,
            .on_error = on_encoder_error,
            .context = stage,
        };
        stage->delay_blocks = encoders[chosen].delay_blocks;
        stage->encoder = codec_pipe_create(&options, error, sizeof(error));
    }
    if (!stage->encoder)
        stage->options.on_error(error, stage->options.context);
}

static void encode(struct audio_stage *stage)
{
    while (stage->is_started && stage->encoder && stage->pcm.len >= BLOCK_BYTES) {
        GstBuffer *buffer = gst_buffer_new_memdup(stage->pcm.data, BLOCK_BYTES);
        const int64_t pts_us = output_audio_frame_us(stage->base / OUTPUT_AUDIO_FRAME);

        GST_BUFFER_DURATION(buffer) = (GstClockTime)OUTPUT_AUDIO_FRAME * GST_SECOND / OUTPUT_AUDIO_RATE;
        codec_pipe_push(stage->encoder, buffer, pts_us, pts_us);
        buffer_consume(&stage->pcm, BLOCK_BYTES);
        stage->base += OUTPUT_AUDIO_FRAME;
    }
}

void audio_stage_start(struct audio_stage *stage, int64_t first_frame, int64_t origin_us)
{
    const int64_t from = first_frame > PREROLL_BLOCKS ? first_frame - PREROLL_BLOCKS : 0;
    const int64_t position = from * OUTPUT_AUDIO_FRAME;

    stage->is_started = true;
    stage->first_frame = first_frame;
    stage->origin_us = origin_us;
    stage->boundary_us = origin_us < 0 ? 0 : output_audio_frame_us(first_frame);
    if (origin_us < 0)
        stage->origin_us = output_audio_frame_us(first_frame);
    if (!stage->has_base || stage->base + samples_in(stage) <= position) {
        buffer_reset(&stage->pcm);
        stage->is_aligned = false;
    } else if (stage->base <= position) {
        buffer_consume(&stage->pcm, (size_t)(position - stage->base) * FRAME_BYTES);
    } else {
        size_t len_bytes;
        const int64_t missing = stage->base - position;
        uint8_t *rest = buffer_take(&stage->pcm, &len_bytes);

        add_silence(stage, missing);
        if (buffer_append(&stage->pcm, rest, len_bytes) != 0)
            buffer_reset(&stage->pcm);
        free(rest);
    }
    stage->base = position;
    stage->has_base = true;
    create_encoder(stage);
    stage->next_frame = from - stage->delay_blocks;
    encode(stage);
}

int64_t audio_stage_origin_us(const struct audio_stage *stage)
{
    return stage->origin_us;
}

bool audio_stage_is_started(const struct audio_stage *stage)
{
    return stage->is_started;
}

/* How many samples to put in (positive) or to drop, so that a chunk stamped `position` comes to lie where it belongs.
 */
static int64_t correction(struct audio_stage *stage, int64_t position)
{
    const int64_t off = position - (stage->base + samples_in(stage));

    /* A successor's first sound is placed by its stamp to the sample: what it goes on from is another process's. */
    if (!stage->is_aligned || off > JUMP_SAMPLES || off < -JUMP_SAMPLES) {
        stage->drift = 0;
        return off;
    }
    stage->drift += ((double)off - stage->drift) / 16;
    if (stage->drift < DRIFT_SAMPLES && stage->drift > -DRIFT_SAMPLES)
        return 0;
    const int64_t amount = (int64_t)stage->drift;
    stage->drift = 0;
    return amount;
}

void audio_stage_samples(struct audio_stage *stage, GstSample *sample)
{
    const int64_t pts_us = codec_sample_pts_us(sample);
    int64_t position = pts_us * OUTPUT_AUDIO_RATE / 1000000;
    GstMapInfo map;

    if (pts_us < 0 || stage->is_finishing || !gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ))
        return;
    size_t skip = 0;
    if (!stage->has_base) {
        stage->has_base = true;
        stage->base = position;
    }
    int64_t off = correction(stage, position);
    if (!stage->is_started && (off > MAX_WAIT_SAMPLES || samples_in(stage) > MAX_WAIT_SAMPLES)) {
        buffer_reset(&stage->pcm);
        stage->base = position;
        off = 0;
    }
    if (off > 0)
        add_silence(stage, off);
    else
        skip = (size_t)-off * FRAME_BYTES;
    /* Failing means 64 MiB of sound that nobody encodes: the process is stuck, and its overload rule will act. */
    if (skip < map.size && buffer_append(&stage->pcm, map.data + skip, map.size - skip) == 0) {
        stage->is_aligned = true;
        encode(stage);
    }
    gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
}

void audio_stage_fill(struct audio_stage *stage, int64_t until_us)
{
    if (!stage->is_started || stage->is_finishing)
        return;
    add_silence(stage, until_us * OUTPUT_AUDIO_RATE / 1000000 - (stage->base + samples_in(stage)));
    encode(stage);
}

int64_t audio_stage_end_us(const struct audio_stage *stage)
{
    return stage->has_base ? (stage->base + samples_in(stage)) * 1000000 / OUTPUT_AUDIO_RATE : -1;
}

void audio_stage_finish(struct audio_stage *stage, int64_t end_us)
{
    if (!stage->is_started || !stage->encoder) {
        stage->is_finishing = true;
        stage->options.on_ended(stage->options.context);
        return;
    }
    stage->last_frame = output_audio_frame_at(end_us);
    const int64_t needed = (stage->last_frame + stage->delay_blocks + 1) * OUTPUT_AUDIO_FRAME;
    add_silence(stage, needed - (stage->base + samples_in(stage)));
    encode(stage);
    stage->is_finishing = true;
    codec_pipe_finish(stage->encoder);
}

int64_t audio_stage_silence_samples(const struct audio_stage *stage)
{
    return stage->silence;
}
