/* A playout channel: recordings one after the other from a moment on, for ever if it loops. Its playlists are a pure
 * function of what it plays and of the second: whoever computes them, whenever started, gets the same bytes.
 *
 * Time runs like this. `position` is where the channel is by the clock: 0 at start_ms. EXT-X-PROGRAM-DATE-TIME says
 * when a picture is on air by that clock. The playlist reaches PLAYOUT_LEAD_US beyond the position (nothing has to be
 * waited for, it is recorded), and EXT-X-START tells players to begin that far from its end: so all of them see what is
 * on air, whenever they joined. Pure; any thread. */
#pragma once

#include "playout_item.h"
#include "proto/playback_url.h"

#define PLAYOUT_MAX_ITEMS      50
#define PLAYOUT_MAX_VARIANTS   8
#define PLAYOUT_MIN_SEGMENTS   6 /* in a live playlist; the rule */
#define PLAYOUT_MAX_SEGMENTS   100
#define PLAYOUT_LEAD_SEGMENTS  6 /* target durations that a playlist reaches beyond the position */
#define PLAYOUT_TRAIL_SEGMENTS 5 /* and that stay behind it */

struct playout_variant {
    int rung;
    char name[24];                  /* "720p", "audio" */
    struct playout_rendition shown; /* as the multivariant playlist says */
};

struct playout {
    int64_t start_ms;
    bool loop;
    int items_count;
    const struct playout_item *items[PLAYOUT_MAX_ITEMS]; /* borrowed */
    int64_t starts_us[PLAYOUT_MAX_ITEMS + 1];
    int64_t firsts[PLAYOUT_MAX_ITEMS + 1];          /* segments in front of the item, in one round */
    int64_t discontinuities[PLAYOUT_MAX_ITEMS + 1]; /* and how many of them begin with one */
    int target_s;
    int variants_count;
    struct playout_variant variants[PLAYOUT_MAX_VARIANTS]; /* best first */
};

enum playout_error {
    PLAYOUT_EARLY = -1,  /* it has not begun */
    PLAYOUT_MEMORY = -2, /* out of memory */
};

/* Of finished items, 1 to PLAYOUT_MAX_ITEMS of them, that outlive it. */
void playout_init(struct playout *playout, const struct playout_item *const *items, int items_count, int64_t start_ms,
                  bool loop);

/* Segments are numbered from the channel's start, through all rounds: their number is EXT-X-MEDIA-SEQUENCE. */
struct playout_window {
    int64_t first, end; /* [first, end) */
    int64_t discontinuity_sequence;
    bool is_last; /* nothing comes after it: EXT-X-ENDLIST */
};
/* 0 or PLAYOUT_EARLY. */
int playout_window_at(const struct playout *playout, int64_t now_s, struct playout_window *window);
/* Index, or -1. */
int playout_find_variant(const struct playout *playout, const char *name);
/* A text to be freed with free(), for /playout/v1/<token>/<variant>/index.m3u8. 0 or a playout_error. */
int playout_render_media(const struct playout *playout, int variant, int64_t now_s,
                         const struct playback_signer *signer, char **text, size_t *len);
/* The same at every second: for /playout/v1/<token>/master.m3u8. 0 or PLAYOUT_MEMORY. */
int playout_render_multivariant(const struct playout *playout, char **text, size_t *len);
