/* Reads our own playlists back, for the case that Redis and every uploader's memory were lost: what the viewers have
 * seen must go on, not begin anew. What a playlist does not say (bytes, media time) stays unknown. */
#include "services/segment-uploader/playlist.h"

#include "libcommon/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LARGEST (INT64_C(1) << 53) /* of a number that is counted on from */

/* The value of a tag at the start of `line`, or NULL. */
static const char *tag_value(const char *line, const char *tag)
{
    size_t len = strlen(tag);

    return strncmp(line, tag, len) == 0 ? line + len : NULL;
}

/* Copies the next line of `*text` and moves on; false at the end. Lines longer than ours can be are cut. */
static bool next_line(const char **text, char *line, size_t size)
{
    size_t len = strcspn(*text, "\n");

    if (**text == '\0')
        return false;
    snprintf(line, size, "%.*s", (int)(len < size ? len : size - 1), *text);
    *text += len + ((*text)[len] == '\n');
    return true;
}

static int64_t attribute_integer(const char *attributes, const char *name)
{
    const char *at = strstr(attributes, name);
    int64_t value = at ? strtoll(at + strlen(name), NULL, 10) : 0;

    return value >= 0 && value <= LARGEST ? value : 0;
}

static void parse_stream_inf(const char *attributes, struct playlist_rendition *rendition)
{
    const char *at;

    memset(rendition, 0, sizeof(*rendition));
    /* It stands first, so this does not find AVERAGE-BANDWIDTH. */
    rendition->announced_peak_bps = rendition->peak_bps = attribute_integer(attributes, "BANDWIDTH=");
    rendition->announced_average_bps = attribute_integer(attributes, "AVERAGE-BANDWIDTH=");
    at = strstr(attributes, "CODECS=\"");
    if (at)
        sscanf(at, "CODECS=\"%63[^\"]", rendition->codecs);
    if (!segment_codecs_are_valid(rendition->codecs))
        rendition->codecs[0] = '\0';
    at = strstr(attributes, "RESOLUTION=");
    if (at)
        sscanf(at, "RESOLUTION=%5dx%5d", &rendition->width, &rendition->height);
    if (rendition->width < 0 || rendition->width > 65535 || rendition->height < 0 || rendition->height > 65535)
        rendition->width = rendition->height = 0;
    at = strstr(attributes, "FRAME-RATE=");
    if (at)
        rendition->frame_rate = strtod(at + strlen("FRAME-RATE="), NULL);
    if (!(rendition->frame_rate >= 0 && rendition->frame_rate <= 1000))
        rendition->frame_rate = 0;
}

int playlist_recover_multivariant(struct playlist *playlist, const char *text)
{
    struct playlist_rendition rendition = {0};
    bool described = false;
    char line[512];

    while (next_line(&text, line, sizeof(line))) {
        const char *attributes = tag_value(line, "#EXT-X-STREAM-INF:");

        if (attributes) {
            parse_stream_inf(attributes, &rendition);
            described = true;
        } else if (described && line[0] != '#') {
            char *slash = strchr(line, '/');

            if (!slash || strcmp(slash, "/index.m3u8") != 0 || slash - line >= (int)sizeof(rendition.name) ||
                playlist->renditions_count == SEGMENT_MAX_RENDITIONS)
                return -1;
            *slash = '\0';
            if (!id_is_valid(line))
                return -1;
            strcpy(rendition.name, line);
            playlist->renditions[playlist->renditions_count++] = rendition;
            described = false;
        }
    }
    return playlist->renditions_count > 0 ? 0 : -1;
}

static int64_t parse_date_time(const char *value)
{
    struct tm utc = {0};
    const char *end = strptime(value, "%Y-%m-%dT%H:%M:%S", &utc);

    long ms = end && *end == '.' ? strtol(end + 1, NULL, 10) : -1;

    return ms >= 0 && ms <= 999 ? (int64_t)timegm(&utc) * 1000 + ms : 0;
}

static int64_t parse_duration_us(const char *value)
{
    double us = strtod(value, NULL) * 1e6 + 0.5;

    return us > 0 && us <= PLAYLIST_LONGEST_SEGMENT_US ? (int64_t)us : 0;
}

/* The list as one media playlist gives it, before it is merged. */
struct recovered {
    struct playlist_segment segments[128];
    bool is_own[128]; /* the segment names an object of this rendition */
    int count;
    int64_t first_sequence, discontinuity_sequence;
    bool is_closed;
};

static int recover_uri(struct recovered *list, const struct playlist_segment *pending, const char *uri)
{
    const char *file = strrchr(uri, '/') ? strrchr(uri, '/') + 1 : uri;
    struct playlist_segment *segment = &list->segments[list->count];

    if (list->count == (int)(sizeof(list->segments) / sizeof(list->segments[0])) || pending->duration_us <= 0 ||
        list->first_sequence < 0 || list->first_sequence > LARGEST)
        return -1;
    *segment = *pending;
    segment->is_recovered = true;
    if (sscanf(file, "%" SCNd64 "-%" SCNd64 ".ts", &segment->sequence, &segment->session) != 2 ||
        segment->sequence != list->first_sequence + list->count)
        return -1;
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++)
        segment->bytes[i] = PLAYLIST_NONE;
    list->is_own[list->count++] = file == uri;
    return 0;
}

static int parse_media(struct recovered *list, const char *text)
{
    struct playlist_segment pending = {0};
    const char *value;
    char line[512];

    while (next_line(&text, line, sizeof(line))) {
        if ((value = tag_value(line, "#EXT-X-MEDIA-SEQUENCE:")))
            list->first_sequence = strtoll(value, NULL, 10);
        else if ((value = tag_value(line, "#EXT-X-DISCONTINUITY-SEQUENCE:")))
            list->discontinuity_sequence = strtoll(value, NULL, 10);
        else if (strcmp(line, "#EXT-X-DISCONTINUITY") == 0)
            pending.discontinuity = true;
        else if ((value = tag_value(line, "#EXT-X-PROGRAM-DATE-TIME:")))
            pending.program_date_time_ms = parse_date_time(value);
        else if ((value = tag_value(line, "#EXTINF:")))
            pending.duration_us = parse_duration_us(value);
        else if (strcmp(line, "#EXT-X-ENDLIST") == 0)
            list->is_closed = true;
        else if (line[0] != '#' && line[0] != '\0') {
            if (recover_uri(list, &pending, line) != 0)
                return -1;
            memset(&pending, 0, sizeof(pending));
        }
    }
    /* It stands in front of the segments: one behind them would be another list. */
    return list->count > 0 && list->segments[0].sequence == list->first_sequence && list->discontinuity_sequence >= 0 &&
                   list->discontinuity_sequence <= LARGEST
               ? 0
               : -1;
}

int playlist_recover_media(struct playlist *playlist, int rendition, const char *text)
{
    struct recovered *list = alloc_zero(1, sizeof(*list));
    int result = parse_media(list, text);

    if (result != 0)
        goto out;
    /* The renditions are written one after the other, so a crash may have left one a segment ahead: the one that got
     * furthest counts, since somebody may have seen it. Its objects are there in all renditions: objects go first. */
    if (list->first_sequence + list->count > playlist->next_sequence) {
        free(playlist->segments);
        playlist->segments_capacity = list->count + 16;
        playlist->segments = alloc_zero((size_t)playlist->segments_capacity, sizeof(*playlist->segments));
        memcpy(playlist->segments, list->segments, (size_t)list->count * sizeof(*list->segments));
        playlist->segments_count = list->count;
        playlist->first_sequence = list->first_sequence;
        playlist->discontinuity_sequence = list->discontinuity_sequence;
        playlist->next_sequence = list->first_sequence + list->count;
        for (int i = 0; i < playlist->segments_count; i++)
            for (int r = 0; r < playlist->renditions_count; r++)
                playlist->segments[i].bytes[r] = 0;
    }
    for (int i = 0; i < list->count; i++) {
        struct playlist_segment *segment =
            (struct playlist_segment *)playlist_find(playlist, list->segments[i].sequence);

        if (segment && !list->is_own[i])
            segment->bytes[rendition] = PLAYLIST_NONE;
    }
    playlist->is_closed = playlist->is_closed || list->is_closed;
    playlist->saved_sequence = playlist->first_sequence;
out:
    free(list);
    return result;
}
