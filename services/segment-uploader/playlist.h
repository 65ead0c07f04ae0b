/* The live playlist of one broadcast: its window and counters, as pure data. No I/O, no clock, any thread (one at a
 * time).
 *
 * It numbers segments (EXT-X-MEDIA-SEQUENCE), keeps the sliding window that viewers see, and measures the renditions.
 * What has left the window stays in the list until it stands in MySQL (`saved_sequence`), so that the state in Redis is
 * also the queue of rows that MySQL does not have yet.
 *
 *     playlist_init(&playlist);
 *     playlist_segment_file(file, playlist.next_sequence, entry.session);   // put the objects under this name first
 *     playlist_add(&playlist, &entry, false);
 *     text = playlist_render_media(&playlist, index);                       // then write the playlists
 *
 * Every media playlist has every segment: where a segment lacks a rendition (the ladder changed with the input), the
 * playlist of that rendition names the nearest other one of the segment ("../480p/…"), behind a discontinuity. */
#pragma once

#include "proto/segment_entry.h"

#include <stdbool.h>
#include <stdint.h>

#define PLAYLIST_WINDOW_SEGMENTS    8       /* live, at least; six is the rule */
#define PLAYLIST_WINDOW_MIN_US      8000000 /* and at least so much media; three target durations is the rule */
#define PLAYLIST_MAX_SEGMENTS       3600    /* kept in all: two hours that MySQL may be away */
#define PLAYLIST_FILE_SIZE          64
#define PLAYLIST_LONGEST_SEGMENT_US 86400000000 /* a day: far above any, far below what overflows a sum */
#define PLAYLIST_NONE               (-1)        /* bytes of a rendition that a segment does not have */

struct playlist_rendition {
    char name[16];
    int width, height;
    double frame_rate;
    char codecs[64];
    int64_t peak_bps; /* the largest of all segments; those under half a target duration do not count */
    int64_t bytes_total, duration_total_us;
    int64_t announced_peak_bps, announced_average_bps; /* as the multivariant playlist says; 0: not in it yet */
};

struct playlist_segment {
    int64_t sequence;
    int64_t session, number;
    bool discontinuity; /* in front of it */
    bool has_thumbnail;
    bool is_recovered; /* read back from the store: number, media_time_us and bytes are not known */
    int64_t program_date_time_ms, media_time_us, duration_us;
    int64_t bytes[SEGMENT_MAX_RENDITIONS]; /* by index of rendition, or PLAYLIST_NONE */
};

struct playlist {
    struct playlist_rendition renditions[SEGMENT_MAX_RENDITIONS]; /* in order of appearance; an index never changes */
    int renditions_count;
    struct playlist_segment *segments; /* rising, without gaps */
    int segments_count, segments_capacity;
    int64_t first_sequence; /* EXT-X-MEDIA-SEQUENCE */
    int64_t discontinuity_sequence;
    int64_t next_sequence;
    int64_t saved_sequence; /* rows below it stand in MySQL */
    int64_t dropped_rows;   /* rows given up at PLAYLIST_MAX_SEGMENTS, not part of the state */
    bool renditions_saved;  /* the rows of the renditions in MySQL say what the multivariant playlist says */
    bool is_closed;
};

void playlist_init(struct playlist *playlist);
void playlist_clear(struct playlist *playlist);

/* "{sequence}-{session}.ts": the same each time a segment is tried. */
void playlist_segment_file(char out[PLAYLIST_FILE_SIZE], int64_t sequence, int64_t session);
/* Has this very segment been added before (Redis delivers again what was not acknowledged)? One that was read back from
 * the store is known by its session, wall clock and length. */
bool playlist_has(const struct playlist *playlist, const struct segment_entry *entry);
/* Appends a segment as `next_sequence` and slides the window. `force_discontinuity`: media is missing in front of it;
 * what the entries themselves show (a gap in their numbers, changed renditions) is found here. */
void playlist_add(struct playlist *playlist, const struct segment_entry *entry, bool force_discontinuity);
/* Rows below `sequence` stand in MySQL. */
void playlist_mark_saved(struct playlist *playlist, int64_t sequence);
/* NULL when it is not kept (any more). */
const struct playlist_segment *playlist_find(const struct playlist *playlist, int64_t sequence);
int64_t playlist_average_bps(const struct playlist_rendition *rendition);

/* New, changed, or measured values more than 10 % away from the announced ones: to be written. */
bool playlist_multivariant_is_stale(const struct playlist *playlist);
/* The measured values become the announced ones; then render. */
void playlist_announce(struct playlist *playlist);
/* Indices of the renditions, best first. */
void playlist_order(const struct playlist *playlist, int order[SEGMENT_MAX_RENDITIONS]);

/* Texts to be freed with free(); NULL when memory is out. */
char *playlist_render_media(const struct playlist *playlist, int rendition);
char *playlist_render_multivariant(const struct playlist *playlist);
/* The state as JSON; NULL when memory is out. */
char *playlist_export(const struct playlist *playlist);
/* Into an initialised, empty playlist: 0, or -1 (not a state; the playlist stays empty). */
int playlist_import(struct playlist *playlist, const char *json, size_t len_bytes);

/* When everything else is lost, the state is read back from our own playlists in the store: first the multivariant one,
 * which names the renditions, then the media playlist of each. 0, or -1: not one of ours. */
int playlist_recover_multivariant(struct playlist *playlist, const char *text);
int playlist_recover_media(struct playlist *playlist, int rendition, const char *text);
