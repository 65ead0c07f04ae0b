/* A finished segment on its way from transcoder to segment-uploader: one entry of the stream KEY_SEGMENTS<broadcast>,
 * all renditions of the same stretch of media together, so that they can never come apart.
 *
 * The bytes lie at the named keys on the media Redis and expire after SEGMENT_PART_EXPIRE_S; once they stand in the
 * store after SEGMENT_PART_STORED_EXPIRE_S, in which a failover of the state Redis may still take that back. A segment
 * is a sequence of parts; today there is one (LL-HLS would hand it over in several). The *uploader* gives media
 * sequence numbers and file names.
 *
 * The end marker is an entry with `final` and nothing else: no segment comes after it, the playlist may be closed. */
#pragma once

#include "proto/broadcast.h"
#include "proto/keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_TARGET_DURATION_S    2
#define SEGMENT_PART_EXPIRE_S        180
#define SEGMENT_PART_STORED_EXPIRE_S 30
#define SEGMENT_MAX_RENDITIONS       8
#define SEGMENT_MAX_PARTS            8

struct segment_part {
    char key[KEY_MAX];
    int64_t bytes;
};

struct segment_rendition {
    char name[16];     /* "720p", "source", "audio": a directory name, the same for the whole broadcast */
    int width, height; /* 0 for audio only */
    double frame_rate; /* frames per second of this rendition, 0 for audio only */
    char codecs[64];   /* RFC 6381, as in CODECS: "avc1.64001f,mp4a.40.2" */
    int parts_count;
    struct segment_part parts[SEGMENT_MAX_PARTS];
};

struct segment_entry {
    bool final;
    int64_t session;              /* publishing session the media came from */
    int64_t number;               /* rises by one per segment of a broadcast; for logs */
    bool discontinuity;           /* in front of this segment */
    int64_t program_date_time_ms; /* wall clock of the first frame */
    int64_t
        media_time_us;   /* of the first frame, on the output's continuous timeline (0 at the start of the broadcast) */
    int64_t duration_us; /* exact: to the first frame of the next segment */
    int64_t arrived_ms;  /* when the last media in it reached ingest (entry id of the ring) */
    char thumbnail_key[KEY_MAX]; /* "" when there is none */
    int renditions_count;
    struct segment_rendition renditions[SEGMENT_MAX_RENDITIONS]; /* best first */
};

/* JSON, to be freed with free(). NULL when memory is out. */
char *segment_entry_encode(const struct segment_entry *entry);
/* 0, or -1: not a segment entry, or beyond the limits above. */
int segment_entry_parse(const char *json, size_t len_bytes, struct segment_entry *entry);

/* What may stand in a playlist's quoted attribute. */
bool segment_codecs_are_valid(const char *codecs);
