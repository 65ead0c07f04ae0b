/* What a publisher sends, found by looking at its first second of media rather than by believing its metadata. Pure. */
#pragma once

#include "services/transcoder/h264.h"
#include "services/transcoder/ladder.h"
#include "services/transcoder/media_entry.h"

#define PROBE_MEDIA_MS 1000 /* a kind of media that has not come by then is not there */
#define PROBE_KEYS_MS  2600 /* … to see two key frames, when the source might be passed through */
#define PROBE_FRAMES   16   /* of video are enough to know the rate */

struct source_probe {
    bool has_video, has_audio; /* headers and media of it were seen */
    bool is_complete;          /* no need to look further */
    struct h264_config config; /* with has_video */
    struct ladder_rate rate;   /* num 0: not known */
    int64_t key_interval_ms;   /* between key frames, 0: fewer than two were seen */
    bool has_open_gop;         /* a key frame that is no IDR frame */
    int video_kbps;
};

/* Looks at the entries from `first` on; longer when the GOPs matter. */
void source_probe_run(const struct media_entry *first, bool wants_gops, struct source_probe *probe);
/* The earliest presentation time in the first group with media. 0, or -1: there is none. */
int source_probe_earliest(const struct media_entry *entry, uint32_t *earliest_ms);
