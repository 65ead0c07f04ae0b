/* The playlists as viewers read them. Everything in them is relative, so they are the same behind every edge. */
#include "services/segment-uploader/playlist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void print_date_time(FILE *out, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[32];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(out, "#EXT-X-PROGRAM-DATE-TIME:%s.%03dZ\n", text, (int)(wall_ms % 1000));
}

/* Which rendition's object stands for `rendition` in this segment: its own, else the next smaller one, else the next
 * larger one. */
static int object_rendition(const struct playlist *playlist, const struct playlist_segment *segment, int rendition)
{
    int order[SEGMENT_MAX_RENDITIONS], at = 0;

    if (segment->bytes[rendition] != PLAYLIST_NONE)
        return rendition;
    playlist_order(playlist, order);
    while (order[at] != rendition)
        at++;
    for (int i = at + 1; i < playlist->renditions_count; i++)
        if (segment->bytes[order[i]] != PLAYLIST_NONE)
            return order[i];
    for (int i = at - 1; i >= 0; i--)
        if (segment->bytes[order[i]] != PLAYLIST_NONE)
            return order[i];
    return rendition;
}

static void print_segment(FILE *out, const struct playlist *playlist, const struct playlist_segment *segment,
                          int rendition)
{
    int object = object_rendition(playlist, segment, rendition);
    char file[PLAYLIST_FILE_SIZE];

    if (segment->discontinuity)
        fprintf(out, "#EXT-X-DISCONTINUITY\n");
    print_date_time(out, segment->program_date_time_ms);
    fprintf(out, "#EXTINF:%" PRId64 ".%06d,\n", segment->duration_us / 1000000, (int)(segment->duration_us % 1000000));
    playlist_segment_file(file, segment->sequence, segment->session);
    if (object == rendition)
        fprintf(out, "%s\n", file);
    else
        fprintf(out, "../%s/%s\n", playlist->renditions[object].name, file);
}

char *playlist_render_media(const struct playlist *playlist, int rendition)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    fprintf(out,
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:%" PRId64
            "\n#EXT-X-DISCONTINUITY-SEQUENCE:%" PRId64 "\n#EXT-X-INDEPENDENT-SEGMENTS\n",
            SEGMENT_TARGET_DURATION_S, playlist->first_sequence, playlist->discontinuity_sequence);
    for (int i = 0; i < playlist->segments_count; i++)
        if (playlist->segments[i].sequence >= playlist->first_sequence)
            print_segment(out, playlist, &playlist->segments[i], rendition);
    if (playlist->is_closed)
        fprintf(out, "#EXT-X-ENDLIST\n");
    return fclose(out) == 0 ? text : NULL;
}

char *playlist_render_multivariant(const struct playlist *playlist)
{
    int order[SEGMENT_MAX_RENDITIONS];
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    playlist_order(playlist, order);
    fprintf(out, "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for (int i = 0; i < playlist->renditions_count; i++) {
        const struct playlist_rendition *rendition = &playlist->renditions[order[i]];

        fprintf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%" PRId64 ",AVERAGE-BANDWIDTH=%" PRId64 ",CODECS=\"%s\"",
                rendition->announced_peak_bps, rendition->announced_average_bps, rendition->codecs);
        if (rendition->width > 0 && rendition->height > 0)
            fprintf(out, ",RESOLUTION=%dx%d", rendition->width, rendition->height);
        if (rendition->frame_rate > 0)
            fprintf(out, ",FRAME-RATE=%.3f", rendition->frame_rate);
        fprintf(out, "\n%s/index.m3u8\n", rendition->name);
    }
    return fclose(out) == 0 ? text : NULL;
}
