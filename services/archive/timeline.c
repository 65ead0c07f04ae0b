#include "timeline.h"

#include <stdlib.h>
#include <string.h>

void timeline_clear(struct timeline *timeline)
{
    free(timeline->segments);
    memset(timeline, 0, sizeof(*timeline));
}

int timeline_add(struct timeline *timeline, int64_t wall_ms, int64_t duration_us)
{
    if (timeline->count == TIMELINE_MAX_SEGMENTS)
        return -1;
    if (timeline->count == timeline->capacity) {
        size_t capacity = timeline->capacity ? timeline->capacity * 2 : 256;
        struct timeline_segment *grown = realloc(timeline->segments, capacity * sizeof(*grown));

        if (!grown)
            return -1;
        timeline->segments = grown;
        timeline->capacity = capacity;
    }
    /* A new session's clock may lie behind the one before; the search needs beginnings that rise. */
    if (timeline->count > 0 && wall_ms < timeline->segments[timeline->count - 1].wall_ms)
        wall_ms = timeline->segments[timeline->count - 1].wall_ms;
    timeline->segments[timeline->count++] =
        (struct timeline_segment){.wall_ms = wall_ms, .media_us = timeline->duration_us, .duration_us = duration_us};
    timeline->duration_us += duration_us;
    return 0;
}

int64_t timeline_duration_ms(const struct timeline *timeline)
{
    return timeline->duration_us / 1000;
}

int64_t timeline_media_ms(const struct timeline *timeline, int64_t at_ms)
{
    size_t low = 0, high = timeline->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (timeline->segments[middle].wall_ms <= at_ms)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return 0;
    const struct timeline_segment *segment = &timeline->segments[low - 1];
    int64_t into_ms = at_ms - segment->wall_ms, duration_ms = segment->duration_us / 1000;

    /* Compared before it is multiplied: a moment far behind the last segment must not overflow. */
    return (segment->media_us + (into_ms < duration_ms ? into_ms * 1000 : segment->duration_us)) / 1000;
}
