/* The playlists as viewers read them. Everything in them is relative, so they are the same behind every edge. */
#include "services/segment-uploader/playlist.h"

#include "proto/hls_text.h"

#include <stdio.h>
#include <stdlib.h>

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

    hls_print_segment(out, segment->discontinuity, segment->program_date_time_ms, segment->duration_us);
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
    hls_print_media_head(out, SEGMENT_TARGET_DURATION_S, playlist->first_sequence, playlist->discontinuity_sequence,
                         false);
    for (int i = 0; i < playlist->segments_count; i++)
        if (playlist->segments[i].sequence >= playlist->first_sequence)
            print_segment(out, playlist, &playlist->segments[i], rendition);
    if (playlist->is_closed)
        hls_print_end(out);
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
    hls_print_multivariant_head(out);
    for (int i = 0; i < playlist->renditions_count; i++) {
        const struct playlist_rendition *rendition = &playlist->renditions[order[i]];
        const struct hls_variant variant = {rendition->announced_peak_bps,
                                            rendition->announced_average_bps,
                                            rendition->codecs,
                                            rendition->width,
                                            rendition->height,
                                            rendition->frame_rate};

        hls_print_variant(out, &variant, rendition->name, "index.m3u8");
    }
    return fclose(out) == 0 ? text : NULL;
}
