/* Which renditions a source gets. A rung is configured by its short side ("720p" is 1280x720 and 720x1280 alike) and
 * its video bitrate. Pure arithmetic. Any thread. */
#pragma once

#include <stddef.h>

#define LADDER_MAX_RUNGS 8
#define LADDER_NAME_SIZE 16
#define LADDER_MIN_SIDE  16
#define LADDER_MAX_SIDE  8192

struct ladder_rung {
    char name[LADDER_NAME_SIZE]; /* "720p" */
    int short_side;              /* pixels, even */
    int bitrate_kbps;            /* video */
};
struct ladder {
    int count;                                  /* 1 to LADDER_MAX_RUNGS */
    struct ladder_rung rungs[LADDER_MAX_RUNGS]; /* largest first */
};
/* "720p:2500,480p:1200": in any order, blanks allowed around each part. 0, or -1: empty, more than LADDER_MAX_RUNGS, a
 * size twice, an odd size or one outside LADDER_MIN_SIDE…LADDER_MAX_SIDE, a bitrate outside 50…100000. */
int ladder_parse(const char *text, struct ladder *ladder) __attribute__((warn_unused_result));

struct ladder_rate {
    int num, den; /* frames per second = num / den */
};
struct ladder_rendition {
    char name[LADDER_NAME_SIZE];
    int width, height; /* even */
    int bitrate_kbps;
};
struct ladder_plan {
    struct ladder_rate rate; /* the same for all renditions, or boundaries could not be aligned */
    int count;
    struct ladder_rendition renditions[LADDER_MAX_RUNGS]; /* best first */
};
/* The rungs not larger than the source, in its shape (`width` x `height`: as displayed, see h264_sps_display_size()),
 * to the nearest even pixel. A source at most 1/16 smaller than a rung gets that rung at its own size. One smaller than
 * every rung gets a single rendition of its own size, named by its short side, with a bitrate scaled down from the
 * smallest rung's by area. `source_rate`: num 0 when unknown (30 is taken). `max_rate`: frames a second at most, 0: no
 * cap; a faster source is divided by a whole number, so that frames stay evenly spaced. 0, or -1: a side under 2 or
 * above LADDER_MAX_SIDE. */
int ladder_plan(const struct ladder *ladder, int width, int height, struct ladder_rate source_rate, int max_rate,
                struct ladder_plan *plan) __attribute__((warn_unused_result));

struct ladder_rectangle {
    int x, y, width, height; /* even */
};
/* Where a source of another shape comes to lie in a rendition (after a change of size in mid-stream): as large as fits,
 * in the middle, never distorted by more than the rounding to even pixels; enlarged when it is smaller. All sides >= 2.
 */
struct ladder_rectangle ladder_letterbox(int source_width, int source_height, int width, int height);
