/* A recording's playlists and storyboard from the rows that segment-uploader has left: over the very objects that were
 * live, every discontinuity and date kept. Any thread; blocking where it is given a connection. */
#pragma once

#include "proto/segment_entry.h"
#include "timeline.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct db_connection;

struct recording_rendition {
    char name[16], codecs[64];
    int width, height;
    double frame_rate;
    int64_t peak_bps, average_bps;
    char *body; /* of its media playlist, while it grows through `out` */
    size_t body_len;
    FILE *out;
};

struct recording {
    struct recording_rendition renditions[SEGMENT_MAX_RENDITIONS]; /* best first */
    int renditions_count;
    int64_t segments, last_sequence, longest_us;
    int64_t thumbnails;
    char *storyboard;
    size_t storyboard_len;
    FILE *storyboard_out;
};

/* What a row of `segments` says. */
struct recording_segment {
    int64_t sequence;
    const char *file;
    bool discontinuity;
    int64_t program_date_time_ms, duration_us;
    const char *bytes; /* JSON: rendition -> bytes; empty: not known, every rendition has it */
    const char *thumbnail;
};

void recording_clear(struct recording *recording);
/* Once the renditions are filled in. 0, or -1: out of memory. */
int recording_begin(struct recording *recording);
/* In the order of their sequence. 0, or -1: a row that is none of ours, or too many. */
int recording_add(struct recording *recording, struct timeline *timeline, const struct recording_segment *segment);
/* Texts to be freed with free(); NULL when memory is out. */
char *recording_multivariant(const struct recording *recording);
char *recording_media(struct recording *recording, int rendition);
/* {"thumbnails":[{"at_ms","url"}]}, urls relative to live/<id>/ */
char *recording_storyboard(struct recording *recording);

/* All of it from MySQL; on a database worker. 0, a db_error, or RECORDING_ODD. */
#define RECORDING_ODD (-100)
int recording_load(struct db_connection *connection, const char *broadcast, struct recording *recording,
                   struct timeline *timeline);
