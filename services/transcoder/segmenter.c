/* Audio waits in a queue of its own until the segment it belongs to is complete: sound is often ahead of the picture,
 * and where the picture's next boundary lies is not known yet. */
#include "services/transcoder/segmenter.h"

#include "libcommon/alloc.h"
#include "services/transcoder/h264.h"

#include <stdio.h>
#include <string.h>

#define MAX_SEGMENT_BYTES (32 << 20)
#define MAX_AUDIO_FRAMES  2048 /* 43 s: more than any segment that is waited for */

struct audio_frame {
    struct audio_frame *next;
    int64_t frame;
    size_t len_bytes;
    uint8_t bytes[];
};

struct open_segment {
    struct open_segment *next;
    int64_t start_us, end_us; /* -1: not known yet */
    bool discontinuity;
    int frames;
    struct {
        struct ts_mux *mux;
        int units;
        bool is_complete;
    } renditions[SEGMENT_MAX_RENDITIONS];
};

struct segmenter {
    const struct output_plan *plan;
    segmenter_fn on_segment;
    void *context;
    struct open_segment *first, *last;
    int open_count;
    struct audio_frame *audio, **audio_end;
    int audio_count;
    int64_t audio_next; /* frame behind the last one added */
    int64_t audio_published;
    int64_t number;
    bool discontinuity;
    struct ts_continuity continuity[SEGMENT_MAX_RENDITIONS];
    char codecs[SEGMENT_MAX_RENDITIONS][64];
};

struct segmenter *segmenter_create(const struct output_plan *plan, segmenter_fn on_segment, void *context)
{
    struct segmenter *segmenter = alloc_zero(1, sizeof(*segmenter));

    segmenter->plan = plan;
    segmenter->on_segment = on_segment;
    segmenter->context = context;
    segmenter->audio_end = &segmenter->audio;
    return segmenter;
}

static void segment_free(struct open_segment *segment)
{
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++)
        ts_mux_destroy(segment->renditions[i].mux);
    free(segment);
}

static void drop_first_audio(struct segmenter *segmenter)
{
    struct audio_frame *frame = segmenter->audio;

    segmenter->audio = frame->next;
    if (!segmenter->audio)
        segmenter->audio_end = &segmenter->audio;
    segmenter->audio_count--;
    free(frame);
}

void segmenter_destroy(struct segmenter *segmenter)
{
    if (!segmenter)
        return;
    while (segmenter->audio)
        drop_first_audio(segmenter);
    while (segmenter->first) {
        struct open_segment *next = segmenter->first->next;
        segment_free(segmenter->first);
        segmenter->first = next;
    }
    free(segmenter);
}

void segmenter_resume(struct segmenter *segmenter, int64_t number, int64_t audio_frame, const uint32_t *continuity)
{
    segmenter->number = number;
    segmenter->audio_published = audio_frame;
    for (int i = 0; i < segmenter->plan->count; i++)
        segmenter->continuity[i] = ts_continuity_unpack(continuity[i]);
}

void segmenter_discontinuity(struct segmenter *segmenter)
{
    segmenter->discontinuity = true;
}

/* Moves the audio that belongs to the segment into its muxes. */
static void place_audio(struct segmenter *segmenter, struct open_segment *segment)
{
    while (segmenter->audio) {
        const struct audio_frame *audio = segmenter->audio;
        const int64_t pts_us = output_audio_frame_us(audio->frame);

        if (pts_us >= segment->end_us)
            return;
        for (int i = 0; pts_us >= segment->start_us && i < segmenter->plan->count; i++)
            if (ts_mux_add_audio(segment->renditions[i].mux, pts_us, audio->bytes, audio->len_bytes) != 0)
                break;
        if (audio->frame >= segmenter->audio_published)
            segmenter->audio_published = audio->frame + 1;
        drop_first_audio(segmenter);
    }
}

static void hand_over(struct segmenter *segmenter, struct open_segment *segment)
{
    struct finished_segment finished = {
        segmenter->number++, segment->start_us, segment->end_us, segment->discontinuity, 0, segmenter->plan};

    place_audio(segmenter, segment);
    for (int i = 0; i < segmenter->plan->count; i++) {
        buffer_init(&finished.ts[i], MAX_SEGMENT_BYTES + MAX_SEGMENT_BYTES / 4);
        /* Fails only when memory is out; an empty part then says so to the level above. */
        if (ts_mux_write_segment(segment->renditions[i].mux, &segmenter->continuity[i], &finished.ts[i]) != 0)
            buffer_reset(&finished.ts[i]);
        snprintf(finished.codecs[i], sizeof(finished.codecs[i]), "%s%s%s", segmenter->codecs[i],
                 segmenter->plan->has_audio && segmenter->codecs[i][0] ? "," : "",
                 segmenter->plan->has_audio ? OUTPUT_AUDIO_CODEC : "");
        finished.continuity[i] = segmenter->continuity[i];
    }
    finished.next_audio_frame = segmenter->audio_published;
    segmenter->on_segment(&finished, segmenter->context);
    for (int i = 0; i < segmenter->plan->count; i++)
        buffer_clear(&finished.ts[i]);
}

static bool is_complete(const struct segmenter *segmenter, const struct open_segment *segment)
{
    if (segment->end_us < 0)
        return false;
    if (segmenter->plan->has_audio && output_audio_frame_us(segmenter->audio_next) < segment->end_us)
        return false;
    for (int i = 0; segmenter->plan->has_video && i < segmenter->plan->count; i++)
        if (!segment->renditions[i].is_complete &&
            (segmenter->plan->renditions[i].pass_through || segment->renditions[i].units < segment->frames))
            return false;
    return true;
}

static void pop_first(struct segmenter *segmenter)
{
    struct open_segment *segment = segmenter->first;

    segmenter->first = segment->next;
    if (!segmenter->first)
        segmenter->last = NULL;
    segmenter->open_count--;
    hand_over(segmenter, segment);
    segment_free(segment);
}

static void hand_over_complete(struct segmenter *segmenter)
{
    while (segmenter->first && is_complete(segmenter, segmenter->first))
        pop_first(segmenter);
}

void segmenter_begin(struct segmenter *segmenter, int64_t start_us)
{
    const int streams =
        (segmenter->plan->has_video ? TS_MUX_VIDEO : 0) | (segmenter->plan->has_audio ? TS_MUX_AUDIO : 0);
    struct open_segment *segment = alloc_zero(1, sizeof(*segment));

    segment->start_us = start_us;
    segment->end_us = -1;
    segment->discontinuity = segmenter->discontinuity;
    segmenter->discontinuity = false;
    for (int i = 0; i < segmenter->plan->count; i++)
        segment->renditions[i].mux = ts_mux_create(streams, MAX_SEGMENT_BYTES);
    if (segmenter->last) {
        if (segmenter->last->end_us < 0)
            segmenter->last->end_us = start_us;
        segmenter->last->next = segment;
    } else {
        segmenter->first = segment;
    }
    segmenter->last = segment;
    segmenter->open_count++;
    hand_over_complete(segmenter);
}

void segmenter_count_frame(struct segmenter *segmenter)
{
    if (segmenter->last)
        segmenter->last->frames++;
}

int segmenter_add_video(struct segmenter *segmenter, int rendition, int64_t pts_us, int64_t dts_us,
                        const uint8_t *bytes, size_t len_bytes)
{
    struct open_segment *segment = segmenter->first;
    struct h264_config config;
    int result;

    while (segment && segment->end_us >= 0 && pts_us >= segment->end_us)
        segment = segment->next;
    if (!segment || pts_us < segment->start_us)
        return -1;
    if (segment->renditions[rendition].units == 0 && h264_config_from_annexb(bytes, len_bytes, &config) == 0)
        h264_codec_string(&config.sps, segmenter->codecs[rendition]);
    result = ts_mux_add_video(segment->renditions[rendition].mux, pts_us, dts_us, bytes, len_bytes);
    segment->renditions[rendition].units++;
    hand_over_complete(segmenter);
    return result;
}

void segmenter_passed(struct segmenter *segmenter, int rendition, int64_t pts_us)
{
    for (struct open_segment *at = segmenter->first; at && at->end_us >= 0 && pts_us >= at->end_us; at = at->next)
        at->renditions[rendition].is_complete = true;
    hand_over_complete(segmenter);
}

void segmenter_add_audio(struct segmenter *segmenter, int64_t frame, const uint8_t *adts, size_t len_bytes)
{
    struct audio_frame *audio = malloc(sizeof(*audio) + len_bytes);

    if (!audio)
        abort();
    audio->next = NULL;
    audio->frame = frame;
    audio->len_bytes = len_bytes;
    memcpy(audio->bytes, adts, len_bytes);
    if (segmenter->audio_count == MAX_AUDIO_FRAMES)
        drop_first_audio(segmenter);
    *segmenter->audio_end = audio;
    segmenter->audio_end = &audio->next;
    segmenter->audio_count++;
    segmenter->audio_next = frame + 1;
    hand_over_complete(segmenter);
}

void segmenter_finish(struct segmenter *segmenter, int64_t end_us)
{
    if (segmenter->last && segmenter->last->end_us < 0)
        segmenter->last->end_us = end_us;
}

void segmenter_close(struct segmenter *segmenter)
{
    while (segmenter->first)
        pop_first(segmenter);
    while (segmenter->audio)
        drop_first_audio(segmenter);
}

int segmenter_open_segments(const struct segmenter *segmenter)
{
    return segmenter->open_count;
}

int64_t segmenter_next_number(const struct segmenter *segmenter)
{
    return segmenter->number;
}

int64_t segmenter_next_audio_frame(const struct segmenter *segmenter)
{
    return segmenter->audio_published;
}

int64_t segmenter_open_start_us(const struct segmenter *segmenter)
{
    return segmenter->last ? segmenter->last->start_us : -1;
}

const struct ts_continuity *segmenter_continuity(const struct segmenter *segmenter)
{
    return segmenter->continuity;
}
