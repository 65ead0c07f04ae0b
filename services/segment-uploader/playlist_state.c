/* The playlist's state as JSON, at KEY_PLAYLIST in Redis: private to this service, versioned by "v". A segment is an
 * array, since there may be thousands of them while MySQL is away. */
#include "services/segment-uploader/playlist.h"

#include "libcommon/alloc.h"

#include <jansson.h>
#include <string.h>

#define STATE_VERSION 1

enum { FLAG_DISCONTINUITY = 1, FLAG_THUMBNAIL = 2, FLAG_RECOVERED = 4 };

static json_t *export_segment(const struct playlist *playlist, const struct playlist_segment *segment)
{
    int flags = (segment->discontinuity ? FLAG_DISCONTINUITY : 0) | (segment->has_thumbnail ? FLAG_THUMBNAIL : 0) |
                (segment->is_recovered ? FLAG_RECOVERED : 0);
    json_t *array = json_pack("[I, I, I, i, I, I, I]", (json_int_t)segment->sequence, (json_int_t)segment->session,
                              (json_int_t)segment->number, flags, (json_int_t)segment->program_date_time_ms,
                              (json_int_t)segment->media_time_us, (json_int_t)segment->duration_us);

    for (int i = 0; i < playlist->renditions_count; i++)
        json_array_append_new(array, json_integer(segment->bytes[i]));
    return array;
}

char *playlist_export(const struct playlist *playlist)
{
    json_t *renditions = json_array(), *segments = json_array(), *root;
    char *text;

    for (int i = 0; i < playlist->renditions_count; i++) {
        const struct playlist_rendition *r = &playlist->renditions[i];

        json_array_append_new(
            renditions, json_pack("{s:s, s:i, s:i, s:f, s:s, s:I, s:I, s:I, s:I, s:I}", "name", r->name, "width",
                                  r->width, "height", r->height, "frame_rate", r->frame_rate, "codecs", r->codecs,
                                  "peak", (json_int_t)r->peak_bps, "bytes", (json_int_t)r->bytes_total, "us",
                                  (json_int_t)r->duration_total_us, "announced_peak", (json_int_t)r->announced_peak_bps,
                                  "announced_average", (json_int_t)r->announced_average_bps));
    }
    for (int i = 0; i < playlist->segments_count; i++)
        json_array_append_new(segments, export_segment(playlist, &playlist->segments[i]));
    root = json_pack("{s:i, s:I, s:I, s:I, s:I, s:b, s:b, s:o, s:o}", "v", STATE_VERSION, "first",
                     (json_int_t)playlist->first_sequence, "discontinuities",
                     (json_int_t)playlist->discontinuity_sequence, "next", (json_int_t)playlist->next_sequence, "saved",
                     (json_int_t)playlist->saved_sequence, "closed", playlist->is_closed, "renditions_saved",
                     playlist->renditions_saved, "renditions", renditions, "segments", segments);
    text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* No sum of what we count comes near to this, nor a date that has no year. */
#define LARGEST (INT64_C(1) << 53)

/* Whatever stands in Redis: beyond all that we write it becomes `otherwise`, which is refused where it matters. */
static int64_t bounded(const json_t *number, int64_t otherwise)
{
    int64_t value = json_integer_value(number);

    return value >= PLAYLIST_NONE && value <= LARGEST ? value : otherwise;
}

static int64_t integer_of(const json_t *object, const char *name)
{
    return bounded(json_object_get(object, name), -1);
}

static int import_rendition(struct playlist *playlist, const json_t *object)
{
    struct playlist_rendition *r = &playlist->renditions[playlist->renditions_count];
    const char *name = json_string_value(json_object_get(object, "name"));
    const char *codecs = json_string_value(json_object_get(object, "codecs"));

    if (!name || strlen(name) >= sizeof(r->name) || !id_is_valid(name) || !codecs ||
        strlen(codecs) >= sizeof(r->codecs) || (codecs[0] && !segment_codecs_are_valid(codecs)))
        return -1;
    strcpy(r->name, name);
    strcpy(r->codecs, codecs);
    r->width = (int)integer_of(object, "width");
    r->height = (int)integer_of(object, "height");
    r->frame_rate = json_number_value(json_object_get(object, "frame_rate"));
    if (!(r->frame_rate >= 0 && r->frame_rate <= 1000) || r->width < 0 || r->width > 65535 || r->height < 0 ||
        r->height > 65535)
        return -1;
    r->peak_bps = integer_of(object, "peak");
    r->bytes_total = integer_of(object, "bytes");
    r->duration_total_us = integer_of(object, "us");
    r->announced_peak_bps = integer_of(object, "announced_peak");
    r->announced_average_bps = integer_of(object, "announced_average");
    if (r->bytes_total < 0 || r->duration_total_us < 0)
        return -1;
    playlist->renditions_count++;
    return 0;
}

static int import_segment(struct playlist *playlist, const json_t *array)
{
    struct playlist_segment *segment = &playlist->segments[playlist->segments_count];
    int flags = (int)json_integer_value(json_array_get(array, 3));

    if (json_array_size(array) != 7 + (size_t)playlist->renditions_count)
        return -1;
    segment->sequence = bounded(json_array_get(array, 0), -1);
    segment->session = bounded(json_array_get(array, 1), 0);
    segment->number = bounded(json_array_get(array, 2), 0);
    segment->discontinuity = flags & FLAG_DISCONTINUITY;
    segment->has_thumbnail = flags & FLAG_THUMBNAIL;
    segment->is_recovered = flags & FLAG_RECOVERED;
    segment->program_date_time_ms = bounded(json_array_get(array, 4), 0);
    segment->media_time_us = bounded(json_array_get(array, 5), 0);
    segment->duration_us = bounded(json_array_get(array, 6), 0);
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++)
        segment->bytes[i] = i < playlist->renditions_count
                                ? bounded(json_array_get(array, 7 + (size_t)i), PLAYLIST_NONE)
                                : PLAYLIST_NONE;
    if (segment->duration_us <= 0 || segment->duration_us > PLAYLIST_LONGEST_SEGMENT_US || segment->sequence < 0 ||
        (playlist->segments_count > 0 && segment->sequence != segment[-1].sequence + 1))
        return -1;
    playlist->segments_count++;
    return 0;
}

/* The window must lie within the list, and the list end where the next segment begins. */
static bool counters_fit(const struct playlist *playlist)
{
    const struct playlist_segment *segments = playlist->segments;
    int count = playlist->segments_count;

    if (playlist->first_sequence < 0 || playlist->discontinuity_sequence < 0 || playlist->saved_sequence < 0 ||
        playlist->saved_sequence > playlist->next_sequence || playlist->first_sequence > playlist->next_sequence)
        return false;
    if (count == 0)
        return playlist->next_sequence == 0;
    return segments[count - 1].sequence + 1 == playlist->next_sequence &&
           segments[0].sequence <= playlist->first_sequence && playlist->renditions_count > 0;
}

int playlist_import(struct playlist *playlist, const char *json, size_t len_bytes)
{
    json_t *root = json_loadb(json, len_bytes, 0, NULL), *item;
    const json_t *renditions = json_object_get(root, "renditions"), *segments = json_object_get(root, "segments");
    size_t i, count = json_array_size(segments);
    int result = -1;

    if (integer_of(root, "v") != STATE_VERSION || json_array_size(renditions) > SEGMENT_MAX_RENDITIONS ||
        count > PLAYLIST_MAX_SEGMENTS + 1)
        goto out;
    playlist->first_sequence = integer_of(root, "first");
    playlist->discontinuity_sequence = integer_of(root, "discontinuities");
    playlist->next_sequence = integer_of(root, "next");
    playlist->saved_sequence = integer_of(root, "saved");
    playlist->is_closed = json_is_true(json_object_get(root, "closed"));
    playlist->renditions_saved = json_is_true(json_object_get(root, "renditions_saved"));
    json_array_foreach(renditions, i, item)
    {
        if (import_rendition(playlist, item) != 0)
            goto out;
    }
    playlist->segments_capacity = (int)count + 16;
    playlist->segments = alloc_zero((size_t)playlist->segments_capacity, sizeof(*playlist->segments));
    json_array_foreach(segments, i, item)
    {
        if (import_segment(playlist, item) != 0)
            goto out;
    }
    result = counters_fit(playlist) ? 0 : -1;
out:
    json_decref(root);
    if (result != 0)
        playlist_clear(playlist);
    return result;
}
