/* The window and its counters; see playlist.h. Rendering is in playlist_text.c, the JSON state in playlist_state.c. */
#include "services/segment-uploader/playlist.h"

#include "libcommon/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TARGET_US (SEGMENT_TARGET_DURATION_S * 1000000LL)

void playlist_init(struct playlist *playlist)
{
    memset(playlist, 0, sizeof(*playlist));
}

void playlist_clear(struct playlist *playlist)
{
    free(playlist->segments);
    playlist_init(playlist);
}

void playlist_segment_file(char out[PLAYLIST_FILE_SIZE], int64_t sequence, int64_t session)
{
    snprintf(out, PLAYLIST_FILE_SIZE, "%" PRId64 "-%" PRId64 ".ts", sequence, session);
}

static bool is_same(const struct playlist_segment *segment, const struct segment_entry *entry)
{
    if (segment->session != entry->session)
        return false;
    if (segment->is_recovered)
        return segment->program_date_time_ms == entry->program_date_time_ms &&
               segment->duration_us == entry->duration_us;
    return segment->number == entry->number && segment->media_time_us == entry->media_time_us;
}

bool playlist_has(const struct playlist *playlist, const struct segment_entry *entry)
{
    for (int i = playlist->segments_count - 1; i >= 0; i--)
        if (is_same(&playlist->segments[i], entry))
            return true;
    return false;
}

const struct playlist_segment *playlist_find(const struct playlist *playlist, int64_t sequence)
{
    int64_t index = playlist->segments_count > 0 ? sequence - playlist->segments[0].sequence : -1;

    return index >= 0 && index < playlist->segments_count ? &playlist->segments[index] : NULL;
}

static int find_rendition(const struct playlist *playlist, const char *name)
{
    for (int i = 0; i < playlist->renditions_count; i++)
        if (strcmp(playlist->renditions[i].name, name) == 0)
            return i;
    return -1;
}

/* Takes over what an entry says of a rendition; `*changed` when a decoder would notice. Returns its index, or -1 when
 * there are too many over the life of the broadcast: such a one is not shown to viewers. */
static int update_rendition(struct playlist *playlist, const struct segment_rendition *from, bool *changed)
{
    int index = find_rendition(playlist, from->name);
    struct playlist_rendition *rendition;

    if (index < 0) {
        if (playlist->renditions_count == SEGMENT_MAX_RENDITIONS)
            return -1;
        index = playlist->renditions_count++;
        rendition = &playlist->renditions[index];
        memset(rendition, 0, sizeof(*rendition));
        snprintf(rendition->name, sizeof(rendition->name), "%s", from->name);
        for (int i = 0; i < playlist->segments_count; i++)
            playlist->segments[i].bytes[index] = PLAYLIST_NONE;
    }
    rendition = &playlist->renditions[index];
    if (rendition->width != from->width || rendition->height != from->height ||
        rendition->frame_rate != from->frame_rate || strcmp(rendition->codecs, from->codecs) != 0) {
        *changed = *changed || rendition->width != from->width || rendition->height != from->height ||
                   strcmp(rendition->codecs, from->codecs) != 0;
        rendition->width = from->width;
        rendition->height = from->height;
        rendition->frame_rate = from->frame_rate;
        memcpy(rendition->codecs, from->codecs, sizeof(rendition->codecs));
        rendition->announced_peak_bps = 0;
    }
    return index;
}

/* Of lengths and times that come from elsewhere, so that no quotient is too large for its type. */
static int64_t bits_per_second(int64_t bytes, int64_t duration_us)
{
    double bps = (double)bytes * 8e6 / (double)duration_us;

    return bps < 1e15 ? (int64_t)bps : INT64_C(1000000000000000);
}

static void measure(struct playlist_rendition *rendition, int64_t bytes, int64_t duration_us)
{
    int64_t bps = bits_per_second(bytes, duration_us);

    rendition->bytes_total += bytes;
    rendition->duration_total_us += duration_us;
    /* The rest of a segment (the line was cut) is mostly key frame: its rate is nobody's experience. */
    if (bps > rendition->peak_bps && (duration_us * 2 >= TARGET_US || rendition->peak_bps == 0))
        rendition->peak_bps = bps;
}

/* Drops from the front what is neither in the window nor waiting for MySQL. */
static void drop_old(struct playlist *playlist)
{
    int64_t keep_from =
        playlist->first_sequence < playlist->saved_sequence ? playlist->first_sequence : playlist->saved_sequence;
    int count = 0;

    while (count < playlist->segments_count && playlist->segments[count].sequence < keep_from)
        count++;
    playlist->segments_count -= count;
    memmove(playlist->segments, playlist->segments + count,
            (size_t)playlist->segments_count * sizeof(*playlist->segments));
}

static void slide_window(struct playlist *playlist)
{
    int first = (int)(playlist->first_sequence - playlist->segments[0].sequence);
    int64_t duration_us = 0;

    for (int i = first; i < playlist->segments_count; i++)
        duration_us += playlist->segments[i].duration_us;
    while (playlist->segments_count - first > PLAYLIST_WINDOW_SEGMENTS &&
           duration_us - playlist->segments[first].duration_us >= PLAYLIST_WINDOW_MIN_US) {
        duration_us -= playlist->segments[first].duration_us;
        playlist->discontinuity_sequence += playlist->segments[first].discontinuity;
        playlist->first_sequence++;
        first++;
    }
    if (playlist->segments_count >= PLAYLIST_MAX_SEGMENTS && playlist->saved_sequence < playlist->first_sequence) {
        playlist->dropped_rows += playlist->segments[0].sequence + 1 - playlist->saved_sequence;
        playlist->saved_sequence = playlist->segments[0].sequence + 1;
    }
    drop_old(playlist);
}

static struct playlist_segment *append_segment(struct playlist *playlist)
{
    struct playlist_segment *segment;

    if (playlist->segments_count == playlist->segments_capacity) {
        playlist->segments_capacity = playlist->segments_capacity ? playlist->segments_capacity * 2 : 16;
        playlist->segments =
            realloc(playlist->segments, (size_t)playlist->segments_capacity * sizeof(*playlist->segments));
        if (!playlist->segments)
            abort();
    }
    segment = &playlist->segments[playlist->segments_count++];
    memset(segment, 0, sizeof(*segment));
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++)
        segment->bytes[i] = PLAYLIST_NONE;
    return segment;
}

void playlist_add(struct playlist *playlist, const struct segment_entry *entry, bool force_discontinuity)
{
    struct playlist_segment *segment = append_segment(playlist);
    /* Index, not pointer: valid over the realloc above. */
    const struct playlist_segment *previous = playlist->segments_count > 1 ? segment - 1 : NULL;
    bool changed = false;

    segment->sequence = playlist->next_sequence++;
    segment->session = entry->session;
    segment->number = entry->number;
    segment->program_date_time_ms = entry->program_date_time_ms;
    segment->media_time_us = entry->media_time_us;
    segment->duration_us = entry->duration_us;
    segment->has_thumbnail = entry->thumbnail_key[0] != '\0';
    for (int i = 0; i < entry->renditions_count; i++) {
        const struct segment_rendition *from = &entry->renditions[i];
        int index = update_rendition(playlist, from, &changed);

        if (index < 0)
            continue;
        segment->bytes[index] = 0;
        for (int part = 0; part < from->parts_count; part++)
            segment->bytes[index] += from->parts[part].bytes;
        measure(&playlist->renditions[index], segment->bytes[index], entry->duration_us);
    }
    for (int i = 0; previous && i < playlist->renditions_count; i++)
        changed = changed || (previous->bytes[i] == PLAYLIST_NONE) != (segment->bytes[i] == PLAYLIST_NONE);
    if (segment->sequence > 0)
        segment->discontinuity = entry->discontinuity || force_discontinuity || changed || !previous ||
                                 previous->is_recovered || entry->number != previous->number + 1;
    slide_window(playlist);
}

void playlist_mark_saved(struct playlist *playlist, int64_t sequence)
{
    if (sequence > playlist->saved_sequence)
        playlist->saved_sequence = sequence;
    drop_old(playlist);
}

int64_t playlist_average_bps(const struct playlist_rendition *rendition)
{
    if (rendition->duration_total_us == 0)
        return rendition->announced_average_bps;
    return bits_per_second(rendition->bytes_total, rendition->duration_total_us);
}

static bool moved(int64_t measured, int64_t announced)
{
    int64_t difference = measured > announced ? measured - announced : announced - measured;

    return difference * 10 > announced;
}

bool playlist_multivariant_is_stale(const struct playlist *playlist)
{
    for (int i = 0; i < playlist->renditions_count; i++) {
        const struct playlist_rendition *rendition = &playlist->renditions[i];

        if (rendition->announced_peak_bps == 0 || moved(rendition->peak_bps, rendition->announced_peak_bps) ||
            moved(playlist_average_bps(rendition), rendition->announced_average_bps))
            return true;
    }
    return false;
}

void playlist_announce(struct playlist *playlist)
{
    for (int i = 0; i < playlist->renditions_count; i++) {
        struct playlist_rendition *rendition = &playlist->renditions[i];

        rendition->announced_average_bps = playlist_average_bps(rendition);
        /* Stubs count for the average only, so it may pass the peak: BANDWIDTH never stands below AVERAGE-BANDWIDTH. */
        rendition->announced_peak_bps = rendition->peak_bps > rendition->announced_average_bps
                                            ? rendition->peak_bps
                                            : rendition->announced_average_bps;
        if (rendition->announced_peak_bps == 0)
            rendition->announced_peak_bps = 1;
    }
    playlist->renditions_saved = false;
}

static int64_t pixels(const struct playlist *playlist, int index)
{
    return (int64_t)playlist->renditions[index].width * playlist->renditions[index].height;
}

void playlist_order(const struct playlist *playlist, int order[SEGMENT_MAX_RENDITIONS])
{
    /* Insertion sort, stable: of two with the same size the one that the transcoder called better stays in front. */
    for (int i = 0; i < playlist->renditions_count; i++) {
        int at = i;

        while (at > 0 && pixels(playlist, order[at - 1]) < pixels(playlist, i)) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = i;
    }
}
