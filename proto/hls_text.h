/* The lines of which HLS playlists are made (RFC 8216), for every service that writes some: live ones, recordings,
 * channels. A player reads them one behind the other, so they have to agree in version, precision and order. Only the
 * lines: which segments a playlist names, and where they are, is its writer's. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The head of a media playlist. `is_vod`: it is whole and never changes. */
void hls_print_media_head(FILE *out, int64_t target_duration_s, int64_t media_sequence, int64_t discontinuity_sequence,
                          bool is_vod);
/* What stands in front of a segment's URI, which is for the caller to print. */
void hls_print_segment(FILE *out, bool discontinuity, int64_t program_date_time_ms, int64_t duration_us);
void hls_print_end(FILE *out);

struct hls_variant {
    int64_t peak_bps, average_bps;
    const char *codecs;
    int width, height; /* 0: sound alone */
    double frame_rate; /* 0: not known */
};
/* The head of a multivariant playlist. */
void hls_print_multivariant_head(FILE *out);
/* With the URI of its media playlist. */
void hls_print_variant(FILE *out, const struct hls_variant *variant, const char *folder, const char *file);
