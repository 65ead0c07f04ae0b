/* See timeline.h.
 *
 * An offset stands for all timestamps that are equal modulo 2^32 ms: each message is read as the one nearest to where
 * it is expected, so a wrap needs no care of its own. Expected is a stream's last time, advanced by as much as the
 * furthest stream (`head`) has advanced since, so one that paused is expected beside the other one. */
#include "services/transcoder/timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_JUMP_US = 1500000,
    DEFAULT_BACK_STEP_US = 250000,
    DEFAULT_VIDEO_FRAME_US = 33333,
    DEFAULT_AUDIO_FRAME_US = 21333,
    MIN_FRAME_US = 1000,
    MAX_FRAME_US = 500000,
    FRAME_SMOOTHING = 8,
    MIN_STEP_US = 1000,
    /* How far apart the first messages of audio and video may lie and still be believed to share a clock. */
    MAX_START_SKEW_US = 10000000,
    MAX_COMPOSITION_MS = 5000,
    OLD_OFFSET_US = 10000000,
    /* The lead is forgotten by a 50th of the time that passes: publishers' clocks drift less, stalls are shorter. */
    LEAD_DECAY = 50,
    FIELDS = 25,
};
/* A thousand years: no sum that is ever made of times within this overflows. */
#define FURTHEST_US (INT64_C(1) << 55)
#define TEXT_FORMAT "t1"

void timeline_init(struct timeline *timeline, const struct timeline_options *options)
{
    *timeline = (struct timeline){.options = {DEFAULT_JUMP_US, DEFAULT_BACK_STEP_US}, .old_until_us = -FURTHEST_US};
    if (options)
        timeline->options = *options;
    for (int i = 0; i < TIMELINE_STREAMS; i++) {
        timeline->tracks[i].written_dts_us = -FURTHEST_US;
        timeline->tracks[i].frame_us = i == TIMELINE_VIDEO ? DEFAULT_VIDEO_FRAME_US : DEFAULT_AUDIO_FRAME_US;
    }
}

int64_t timeline_end_us(const struct timeline *timeline)
{
    int64_t video_us = timeline->tracks[TIMELINE_VIDEO].end_us, audio_us = timeline->tracks[TIMELINE_AUDIO].end_us;

    return video_us > audio_us ? video_us : audio_us;
}

void timeline_begin_session(struct timeline *timeline, int64_t not_before_us, const uint32_t *earliest_ms)
{
    int64_t end_us = timeline_end_us(timeline);

    timeline->start_us = not_before_us > end_us ? not_before_us : end_us;
    timeline->head_us = timeline->start_us;
    timeline->old_until_us = -FURTHEST_US;
    timeline->has_anchor = earliest_ms != NULL;
    timeline->anchor_ms = earliest_ms ? *earliest_ms : 0;
    for (int i = 0; i < TIMELINE_STREAMS; i++)
        timeline->tracks[i].seen = false;
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* Where `offset_us` puts the timestamp: of all that its 32 bits may mean, the one nearest to `near_us`. */
static int64_t place(int64_t offset_us, uint32_t timestamp_ms, int64_t near_us)
{
    int64_t near_ms = (near_us - offset_us) / 1000;

    return offset_us + (near_ms + (int32_t)(timestamp_ms - (uint32_t)near_ms)) * 1000;
}

/* A new offset that puts the timestamp at `at_us`. */
static int64_t rebase(struct timeline *timeline, struct timeline_track *track, uint32_t timestamp_ms, int64_t at_us)
{
    timeline->old_offset_us = track->offset_us;
    timeline->old_until_us = at_us + OLD_OFFSET_US;
    timeline->rebases++;
    track->offset_us = at_us - (int64_t)timestamp_ms * 1000;
    return at_us;
}

/* The furthest place on the output that media arriving now may claim. */
static int64_t latest_credible(const struct timeline *timeline, int64_t arrival_us)
{
    return arrival_us + timeline->lead_us + timeline->options.jump_us;
}

static enum timeline_event start_session(struct timeline *timeline, struct timeline_track *track, uint32_t timestamp_ms,
                                         int64_t composition_us, int64_t *mapped_us)
{
    if (timeline->has_anchor) {
        track->offset_us = timeline->start_us - (int64_t)timeline->anchor_ms * 1000;
        *mapped_us = place(track->offset_us, timestamp_ms, timeline->start_us);
    } else {
        *mapped_us = timeline->start_us - composition_us;
        track->offset_us = *mapped_us - (int64_t)timestamp_ms * 1000;
    }
    timeline->head_us = *mapped_us;
    return TIMELINE_STARTED;
}

/* The first message of the stream that comes second takes over the first one's offset, so that their distance is the
 * publisher's, unless the two clocks cannot be one. */
static enum timeline_event join_session(struct timeline *timeline, struct timeline_track *track,
                                        const struct timeline_track *other, uint32_t timestamp_ms, int64_t arrival_us,
                                        int64_t *mapped_us, int64_t *jump_us)
{
    int64_t head_us = timeline->head_us, at_us = place(other->offset_us, timestamp_ms, head_us);
    bool is_credible = distance(at_us, head_us) <= MAX_START_SKEW_US ||
                       (at_us > head_us && at_us <= latest_credible(timeline, arrival_us));

    if (!is_credible) {
        track->offset_us = other->offset_us;
        *jump_us = at_us - head_us;
        *mapped_us = rebase(timeline, track, timestamp_ms, head_us);
        return TIMELINE_REBASED;
    }
    track->offset_us = other->offset_us;
    *mapped_us = at_us;
    return TIMELINE_STARTED;
}

static enum timeline_event continue_session(struct timeline *timeline, struct timeline_track *track,
                                            const struct timeline_track *other, uint32_t timestamp_ms,
                                            int64_t arrival_us, int64_t *mapped_us, int64_t *jump_us)
{
    const struct timeline_options *options = &timeline->options;
    int64_t advance_us = timeline->head_us - track->head_then_us;
    int64_t expected_us = track->last_dts_us + (advance_us > track->frame_us ? advance_us : track->frame_us);
    int64_t own_us = place(track->offset_us, timestamp_ms, expected_us);
    int64_t own_distance = distance(own_us, expected_us), latest_us = latest_credible(timeline, arrival_us);
    bool own_is_credible = own_us >= track->last_dts_us - options->back_step_us &&
                           (own_us <= expected_us + options->jump_us || own_us <= latest_us);
    /* Another offset must explain the message clearly better, or be needed at all. */
    int64_t to_beat = own_is_credible ? own_distance - options->back_step_us : options->jump_us;
    const int64_t candidates[] = {other->offset_us, timeline->old_offset_us};
    const bool is_candidate[] = {other->seen, timeline->head_us <= timeline->old_until_us};
    enum timeline_event event = own_is_credible ? TIMELINE_KEPT : TIMELINE_REBASED;
    int64_t best_offset_us = track->offset_us;

    *mapped_us = own_us;
    for (int i = 0; i < 2; i++) {
        int64_t at_us = place(candidates[i], timestamp_ms, expected_us);
        if (!is_candidate[i] || candidates[i] == track->offset_us || distance(at_us, expected_us) > options->jump_us ||
            distance(at_us, expected_us) >= to_beat)
            continue;
        to_beat = distance(at_us, expected_us);
        event = TIMELINE_FOLLOWED;
        best_offset_us = candidates[i];
        *mapped_us = at_us;
    }
    track->offset_us = best_offset_us;
    if (event == TIMELINE_REBASED) {
        *jump_us = own_us - expected_us;
        *mapped_us = rebase(timeline, track, timestamp_ms, expected_us);
    }
    return event;
}

static void note_progress(struct timeline *timeline, struct timeline_track *track, enum timeline_event event,
                          int64_t mapped_us, int64_t arrival_us)
{
    int64_t step_us = mapped_us - track->last_dts_us;

    if (event == TIMELINE_KEPT && step_us >= MIN_FRAME_US && step_us <= MAX_FRAME_US)
        track->frame_us += (step_us - track->frame_us) / FRAME_SMOOTHING;
    if (mapped_us > timeline->head_us)
        timeline->head_us = mapped_us;
    if (mapped_us - arrival_us > timeline->lead_us)
        timeline->lead_us = mapped_us - arrival_us;
    track->seen = true;
    track->last_dts_us = mapped_us;
    track->head_then_us = timeline->head_us;
}

/* From where the message belongs to what may be written: DTS rises, PTS is kept where it can be. */
static void give_out(struct timeline_track *track, int64_t mapped_us, int64_t composition_us,
                     struct timeline_stamp *stamp)
{
    int64_t pts_us = mapped_us + composition_us;
    int64_t dts_us = pts_us < mapped_us ? pts_us : mapped_us, floor_us = track->written_dts_us + MIN_STEP_US;

    stamp->dts_us = dts_us > floor_us ? dts_us : floor_us;
    stamp->moved_us = stamp->dts_us - dts_us;
    stamp->pts_us = pts_us > stamp->dts_us ? pts_us : stamp->dts_us;
    track->written_dts_us = stamp->dts_us;
    if (stamp->pts_us + track->frame_us > track->end_us)
        track->end_us = stamp->pts_us + track->frame_us;
}

enum timeline_event timeline_map(struct timeline *timeline, enum timeline_stream stream, uint32_t timestamp_ms,
                                 int32_t composition_ms, int64_t arrival_us, struct timeline_stamp *stamp)
{
    struct timeline_track *track = &timeline->tracks[stream];
    const struct timeline_track *other = &timeline->tracks[stream == TIMELINE_VIDEO ? TIMELINE_AUDIO : TIMELINE_VIDEO];
    bool is_sane = composition_ms >= -MAX_COMPOSITION_MS && composition_ms <= MAX_COMPOSITION_MS;
    int64_t composition_us = is_sane ? (int64_t)composition_ms * 1000 : 0, mapped_us = 0;
    bool is_first = !track->seen && !other->seen;
    enum timeline_event event;

    *stamp = (struct timeline_stamp){0};
    if (!is_first && arrival_us > timeline->arrival_us)
        timeline->lead_us -= (arrival_us - timeline->arrival_us) / LEAD_DECAY;
    timeline->arrival_us = arrival_us;
    if (is_first) {
        event = start_session(timeline, track, timestamp_ms, composition_us, &mapped_us);
        timeline->lead_us = mapped_us - arrival_us;
    } else if (!track->seen) {
        event = join_session(timeline, track, other, timestamp_ms, arrival_us, &mapped_us, &stamp->jump_us);
    } else {
        event = continue_session(timeline, track, other, timestamp_ms, arrival_us, &mapped_us, &stamp->jump_us);
    }
    note_progress(timeline, track, event, mapped_us, arrival_us);
    give_out(track, mapped_us, composition_us, stamp);
    return event;
}

static void to_fields(const struct timeline *timeline, int64_t fields[FIELDS])
{
    int count = 0;

    fields[count++] = timeline->options.jump_us;
    fields[count++] = timeline->options.back_step_us;
    for (int i = 0; i < TIMELINE_STREAMS; i++) {
        const struct timeline_track *track = &timeline->tracks[i];
        fields[count++] = track->seen;
        fields[count++] = track->offset_us;
        fields[count++] = track->last_dts_us;
        fields[count++] = track->head_then_us;
        fields[count++] = track->written_dts_us;
        fields[count++] = track->frame_us;
        fields[count++] = track->end_us;
    }
    fields[count++] = timeline->head_us;
    fields[count++] = timeline->lead_us;
    fields[count++] = timeline->arrival_us;
    fields[count++] = timeline->start_us;
    fields[count++] = timeline->has_anchor;
    fields[count++] = timeline->anchor_ms;
    fields[count++] = timeline->old_offset_us;
    fields[count++] = timeline->old_until_us;
    fields[count++] = timeline->rebases;
}

static void from_fields(struct timeline *timeline, const int64_t fields[FIELDS])
{
    int count = 0;

    timeline->options.jump_us = fields[count++];
    timeline->options.back_step_us = fields[count++];
    for (int i = 0; i < TIMELINE_STREAMS; i++) {
        struct timeline_track *track = &timeline->tracks[i];
        track->seen = fields[count++] != 0;
        track->offset_us = fields[count++];
        track->last_dts_us = fields[count++];
        track->head_then_us = fields[count++];
        track->written_dts_us = fields[count++];
        track->frame_us = fields[count++];
        track->end_us = fields[count++];
    }
    timeline->head_us = fields[count++];
    timeline->lead_us = fields[count++];
    timeline->arrival_us = fields[count++];
    timeline->start_us = fields[count++];
    timeline->has_anchor = fields[count++] != 0;
    timeline->anchor_ms = (uint32_t)fields[count++];
    timeline->old_offset_us = fields[count++];
    timeline->old_until_us = fields[count++];
    timeline->rebases = fields[count++];
}

int timeline_encode(const struct timeline *timeline, char out[TIMELINE_TEXT_MAX])
{
    int64_t fields[FIELDS];
    int len = snprintf(out, TIMELINE_TEXT_MAX, TEXT_FORMAT);

    to_fields(timeline, fields);
    for (int i = 0; i < FIELDS; i++)
        len += snprintf(out + len, (size_t)(TIMELINE_TEXT_MAX - len), " %" PRId64, fields[i]);
    return len;
}

int timeline_decode(struct timeline *timeline, const char *text)
{
    int64_t fields[FIELDS];
    const char *at = text;

    if (strncmp(at, TEXT_FORMAT, strlen(TEXT_FORMAT)) != 0)
        return -1;
    at += strlen(TEXT_FORMAT);
    for (int i = 0; i < FIELDS; i++) {
        char *end;
        if (*at != ' ')
            return -1;
        fields[i] = strtoll(at, &end, 10);
        if (end == at || fields[i] > FURTHEST_US)
            return -1;
        if (fields[i] < -FURTHEST_US) /* "never", as it was written before */
            fields[i] = -FURTHEST_US;
        at = end;
    }
    if (*at != '\0')
        return -1;
    from_fields(timeline, fields);
    return 0;
}
