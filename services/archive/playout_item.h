/* What a channel needs of one recording: its segments' lengths, files and discontinuities, and its ladder. Never
 * changes once made, so any number of channels share one. Pure; any thread, one at a time while it is being made.
 *
 *     item = playout_item_create(id);
 *     playout_item_add_rendition(item, &rendition);                                  // best first
 *     playout_item_add_segment(item, "0-7.ts", false, 2000000, "{\"720p\":60000}");  // in order
 *     if (playout_item_finish(item) == 0) … */
#pragma once

#include "proto/segment_entry.h"

#define PLAYOUT_ITEM_MAX_SEGMENTS 50000 /* 27 hours */

struct playout_rendition {
    char name[16], codecs[64];
    int width, height;
    double frame_rate;
    int64_t peak_bps, average_bps;
};

struct playout_segment {
    int64_t start_us;         /* in the item */
    uint32_t file;            /* where its name begins in `files` */
    uint32_t discontinuities; /* how many segments in front of it begin with one; the item's first always does */
    uint8_t renditions;       /* bit per rendition that has it */
    bool discontinuity;
};

struct playout_item {
    char id[ID_SIZE];
    struct playout_rendition renditions[SEGMENT_MAX_RENDITIONS];
    int renditions_count;
    struct playout_segment *segments;
    size_t segments_count, segments_capacity;
    char *files; /* names, each with its NUL */
    size_t files_len, files_capacity;
    int64_t duration_us, longest_us;
    uint32_t discontinuities;
};

struct playout_item *playout_item_create(const char *id);
void playout_item_destroy(struct playout_item *item); /* NULL is fine */
/* 0, or -1: too many. */
int playout_item_add_rendition(struct playout_item *item, const struct playout_rendition *rendition);
/* `bytes`: JSON, rendition -> bytes, of those that have the segment; empty: all have. 0, or -1: odd, or too many. */
int playout_item_add_segment(struct playout_item *item, const char *file, bool discontinuity, int64_t duration_us,
                             const char *bytes);
/* 0, or -1: there is nothing to play. */
int playout_item_finish(struct playout_item *item);
/* The segment that holds `offset_us` (0 to duration_us - 1). */
size_t playout_item_find(const struct playout_item *item, int64_t offset_us);
int64_t playout_item_segment_us(const struct playout_item *item, size_t index);
size_t playout_item_memory(const struct playout_item *item);
/* A rendition's rung: the short side of its picture, so that portrait and landscape meet; 0 for sound alone. */
int playout_rung(const struct playout_rendition *rendition);
/* Of the renditions in `mask`, the one nearest to `rung` by ratio, the smaller one of two; -1 when the mask is empty.
 */
int playout_item_nearest(const struct playout_item *item, uint8_t mask, int rung);
