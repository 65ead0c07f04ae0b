/* A recording's timeline: which moment of the recording belongs to a moment of the wall clock. Pure data; any thread,
 * one at a time.
 *
 * The recording is its segments one behind the other, as a player adds up EXTINF. A moment inside a segment is there in
 * the recording; one between two segments (a dropped line, a suspension) is at their join; one before the first is at
 * 0, one after the last at the end. So neither drops nor suspensions move what was said. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TIMELINE_MAX_SEGMENTS 200000 /* four and a half days of two seconds each */

struct timeline_segment {
    int64_t wall_ms;  /* EXT-X-PROGRAM-DATE-TIME */
    int64_t media_us; /* where it begins in the recording */
    int64_t duration_us;
};

struct timeline {
    struct timeline_segment *segments;
    size_t count, capacity;
    int64_t duration_us;
};

void timeline_clear(struct timeline *timeline);
/* In the recording's order. 0, or -1 at the maximum. */
int timeline_add(struct timeline *timeline, int64_t wall_ms, int64_t duration_us) __attribute__((warn_unused_result));
int64_t timeline_duration_ms(const struct timeline *timeline);
/* Never falls as `at_ms` rises, also where the broadcaster's machines disagreed about the time. */
int64_t timeline_media_ms(const struct timeline *timeline, int64_t at_ms);
