#include "playout_item.h"

#include "libcommon/alloc.h"

#include <jansson.h>
#include <stdio.h>

_Static_assert(SEGMENT_MAX_RENDITIONS <= 8, "a segment's renditions are bits of a byte");

#define LONGEST_SEGMENT_US (60 * 1000000LL)

struct playout_item *playout_item_create(const char *id)
{
    struct playout_item *item = alloc_zero(1, sizeof(*item));

    snprintf(item->id, sizeof(item->id), "%s", id);
    return item;
}

void playout_item_destroy(struct playout_item *item)
{
    if (!item)
        return;
    free(item->segments);
    free(item->files);
    free(item);
}

int playout_item_add_rendition(struct playout_item *item, const struct playout_rendition *rendition)
{
    if (item->renditions_count == SEGMENT_MAX_RENDITIONS || !rendition->name[0])
        return -1;
    item->renditions[item->renditions_count++] = *rendition;
    return 0;
}

static uint8_t parse_renditions(const struct playout_item *item, const char *bytes)
{
    json_t *object = bytes[0] ? json_loads(bytes, 0, NULL) : NULL;
    uint8_t all = (uint8_t)((1u << item->renditions_count) - 1), mask = 0;

    for (int i = 0; i < item->renditions_count; i++)
        if (json_object_get(object, item->renditions[i].name))
            mask |= (uint8_t)(1u << i);
    if (json_object_size(object) == 0)
        mask = all;
    json_decref(object);
    return mask;
}

static uint32_t keep_file(struct playout_item *item, const char *file, size_t size)
{
    uint32_t at = (uint32_t)item->files_len;

    if (item->files_len + size > item->files_capacity) {
        item->files_capacity = (item->files_capacity + size) * 2;
        item->files = realloc(item->files, item->files_capacity);
        if (!item->files)
            abort();
    }
    memcpy(item->files + at, file, size);
    item->files_len += size;
    return at;
}

int playout_item_add_segment(struct playout_item *item, const char *file, bool discontinuity, int64_t duration_us,
                             const char *bytes)
{
    size_t size = strlen(file) + 1;
    struct playout_segment segment = {.start_us = item->duration_us, .discontinuities = item->discontinuities};

    segment.renditions = parse_renditions(item, bytes);
    if (duration_us <= 0 || duration_us > LONGEST_SEGMENT_US || size == 1 || size > 100 || segment.renditions == 0 ||
        item->segments_count == PLAYOUT_ITEM_MAX_SEGMENTS)
        return -1;
    if (item->segments_count == item->segments_capacity) {
        item->segments_capacity = item->segments_capacity ? item->segments_capacity * 2 : 64;
        item->segments = realloc(item->segments, item->segments_capacity * sizeof(*item->segments));
        if (!item->segments)
            abort();
    }
    segment.file = keep_file(item, file, size);
    segment.discontinuity = discontinuity || item->segments_count == 0;
    item->segments[item->segments_count++] = segment;
    item->discontinuities += segment.discontinuity;
    item->duration_us += duration_us;
    if (duration_us > item->longest_us)
        item->longest_us = duration_us;
    return 0;
}

int playout_item_finish(struct playout_item *item)
{
    return item->segments_count > 0 && item->renditions_count > 0 ? 0 : -1;
}

size_t playout_item_find(const struct playout_item *item, int64_t offset_us)
{
    size_t low = 0, high = item->segments_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (item->segments[middle].start_us <= offset_us)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int64_t playout_item_segment_us(const struct playout_item *item, size_t index)
{
    int64_t end_us = index + 1 < item->segments_count ? item->segments[index + 1].start_us : item->duration_us;

    return end_us - item->segments[index].start_us;
}

size_t playout_item_memory(const struct playout_item *item)
{
    return sizeof(*item) + item->segments_capacity * sizeof(*item->segments) + item->files_capacity;
}

int playout_rung(const struct playout_rendition *rendition)
{
    return rendition->width < rendition->height ? rendition->width : rendition->height;
}

int playout_item_nearest(const struct playout_item *item, uint8_t mask, int rung)
{
    int best = -1;
    double best_ratio = 0;

    for (int i = 0; i < item->renditions_count; i++) {
        int own = playout_rung(&item->renditions[i]);
        /* Sound alone stands next to the smallest picture. */
        double a = own > 0 ? own : 1, b = rung > 0 ? rung : 1, ratio = a > b ? a / b : b / a;

        if (!(mask & 1u << i))
            continue;
        if (best < 0 || ratio < best_ratio || (ratio == best_ratio && own < playout_rung(&item->renditions[best]))) {
            best = i;
            best_ratio = ratio;
        }
    }
    return best;
}
