/* One continuous output timeline, in microseconds, out of what publishers write as timestamps: 32 bits of milliseconds
 * that wrap, restart at 0, jump forward or back, for audio and video separately but on one clock. Pure arithmetic: no
 * I/O, no clock of its own (arrival times are given), so that the same input always gives the same output.
 *
 * Rules
 * - Audio and video of a session share one offset, so their distance stays what the publisher made it.
 * - A session goes on where the output ended: at the later of the ends of audio and video.
 * - What the publisher's clock says is kept to the millisecond, jitter and true gaps included. A gap is true when the
 *   media is not from the future: the timestamps advanced no further than time did (measured by arrival against the
 *   furthest lead seen before, so that a stalled line that catches up is no jump), plus `jump_us`.
 * - Otherwise, and for a step back of more than `back_step_us`, the stream is rebased: it goes on one frame after its
 *   last one. The other stream keeps the old offset for messages with old timestamps and follows to the *same* new
 *   offset when its timestamps have jumped too, whichever came first and however they interleave.
 * - DTS rises strictly within a stream, always, also over sessions.
 *
 * A plain value: a copy is a snapshot. A checkpoint must hold the snapshot taken *before* the first message that a
 * successor will read again (the ring entry of a key frame), or old messages look like a step back.
 *
 *     timeline_init(&timeline, NULL);
 *     timeline_begin_session(&timeline, 0, NULL);
 *     timeline_map(&timeline, TIMELINE_VIDEO, tag.timestamp_ms, tag.composition_offset_ms, arrival_us, &stamp); */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum timeline_stream { TIMELINE_VIDEO, TIMELINE_AUDIO };
#define TIMELINE_STREAMS 2

struct timeline_options {
    int64_t jump_us;      /* further ahead than this of where it should be: a jump (default 1.5 s) */
    int64_t back_step_us; /* further back than this behind its own last one: a jump (default 250 ms) */
};

struct timeline_track {
    bool seen;              /* in this session */
    int64_t offset_us;      /* output = offset + timestamp */
    int64_t last_dts_us;    /* as mapped, in this session */
    int64_t head_then_us;   /* timeline.head_us after that message */
    int64_t written_dts_us; /* the last DTS given out, in any session */
    int64_t frame_us;       /* smoothed distance between frames */
    int64_t end_us;         /* of what was given out: latest PTS + frame_us; 0 before the first */
};

struct timeline {
    struct timeline_options options;
    struct timeline_track tracks[TIMELINE_STREAMS];
    int64_t head_us;    /* furthest mapped DTS of this session */
    int64_t lead_us;    /* furthest that the output was ahead of the arrival clock, slowly forgotten */
    int64_t arrival_us; /* of the last message */
    int64_t start_us;   /* where this session began on the output */
    bool has_anchor;    /* the session's first message is not needed to know its offset */
    uint32_t anchor_ms;
    int64_t old_offset_us; /* before the last rebase, for stragglers */
    int64_t old_until_us;  /* output time after which it is forgotten */
    int64_t rebases;       /* in the life of the broadcast; for logs and metrics */
};

enum timeline_event {
    TIMELINE_KEPT,     /* the offset of before */
    TIMELINE_STARTED,  /* first message of the stream in this session */
    TIMELINE_REBASED,  /* a jump: a new offset, made for this stream */
    TIMELINE_FOLLOWED, /* a jump: took over the offset that the other stream has, or had a moment ago */
};

struct timeline_stamp {
    int64_t dts_us, pts_us; /* pts_us >= dts_us; audio: equal */
    /* By how much the time was put later than the offset says, to keep DTS rising (an overlap after a rebase or a step
     * back). Audio moved by more than half a frame is better dropped by the caller: it was heard already. */
    int64_t moved_us;
    int64_t jump_us; /* TIMELINE_REBASED: how far off the message was, forward positive; for logs */
};

/* `options` NULL: the defaults. The output starts at 0. */
void timeline_init(struct timeline *timeline, const struct timeline_options *options);
/* The next message is the first of a new session (or comes after a gap `g` in the ring).
 * `not_before_us`: where the output ends for another reason (flushed encoders), else 0.
 * `earliest_ms`: the smallest presentation timestamp of the session's first group, when the caller has looked ahead:
 * that moment becomes the session's start; NULL: the first message's presentation time does, and what comes after it
 * with an earlier time overlaps the session before (see moved_us). */
void timeline_begin_session(struct timeline *timeline, int64_t not_before_us, const uint32_t *earliest_ms);
/* `timestamp_ms`: decoding time as published. `composition_ms`: presentation - decoding, 0 for audio (one beyond 5 s is
 * a lie and taken as 0). `arrival_us`: when it came in, on any clock that runs in real time (the ring entry's id). */
enum timeline_event timeline_map(struct timeline *timeline, enum timeline_stream stream, uint32_t timestamp_ms,
                                 int32_t composition_ms, int64_t arrival_us, struct timeline_stamp *stamp);
/* The later of the ends of audio and video: where a new session would begin. */
int64_t timeline_end_us(const struct timeline *timeline);

#define TIMELINE_TEXT_MAX 768
/* The whole state as text (digits, '-', ' ') for the checkpoint. Returns its length. */
int timeline_encode(const struct timeline *timeline, char out[TIMELINE_TEXT_MAX]);
/* 0, or -1: not such a text; `timeline` is then as it was. */
int timeline_decode(struct timeline *timeline, const char *text) __attribute__((warn_unused_result));
