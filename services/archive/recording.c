#include "recording.h"

#include "libcommon/db.h"
#include "proto/hls_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 1000

void recording_clear(struct recording *recording)
{
    for (int i = 0; i < recording->renditions_count; i++) {
        if (recording->renditions[i].out)
            fclose(recording->renditions[i].out);
        free(recording->renditions[i].body);
    }
    if (recording->storyboard_out)
        fclose(recording->storyboard_out);
    free(recording->storyboard);
    memset(recording, 0, sizeof(*recording));
}

int recording_begin(struct recording *recording)
{
    recording->last_sequence = -1;
    recording->storyboard_out = open_memstream(&recording->storyboard, &recording->storyboard_len);
    if (!recording->storyboard_out)
        return -1;
    for (int i = 0; i < recording->renditions_count; i++) {
        struct recording_rendition *rendition = &recording->renditions[i];

        rendition->out = open_memstream(&rendition->body, &rendition->body_len);
        if (!rendition->out)
            return -1;
    }
    return 0;
}

/* --- a segment --- */

/* Which rendition's object stands for `rendition` in this segment: its own, else the next smaller one, else the next
 * larger one, as it was live. */
static int object_of(const struct recording *recording, const json_t *bytes, int rendition)
{
    if (json_object_size(bytes) == 0 || json_object_get(bytes, recording->renditions[rendition].name))
        return rendition;
    for (int i = rendition + 1; i < recording->renditions_count; i++)
        if (json_object_get(bytes, recording->renditions[i].name))
            return i;
    for (int i = rendition - 1; i >= 0; i--)
        if (json_object_get(bytes, recording->renditions[i].name))
            return i;
    return rendition;
}

static void print_segment(struct recording *recording, const struct recording_segment *segment, bool discontinuity,
                          const json_t *bytes, int index)
{
    int object = object_of(recording, bytes, index);
    FILE *out = recording->renditions[index].out;

    hls_print_segment(out, discontinuity, segment->program_date_time_ms, segment->duration_us);
    if (object == index)
        fprintf(out, "%s\n", segment->file);
    else
        fprintf(out, "../%s/%s\n", recording->renditions[object].name, segment->file);
}

int recording_add(struct recording *recording, struct timeline *timeline, const struct recording_segment *segment)
{
    json_t *bytes = json_loads(segment->bytes, 0, NULL);
    int64_t media_ms = timeline_duration_ms(timeline);
    /* In front of the first there is nothing to be discontinuous with; where rows are missing there is. */
    bool discontinuity =
        recording->segments > 0 && (segment->discontinuity || segment->sequence != recording->last_sequence + 1);

    if (!json_is_object(bytes) || segment->duration_us <= 0 ||
        timeline_add(timeline, segment->program_date_time_ms, segment->duration_us) != 0) {
        json_decref(bytes);
        return -1;
    }
    for (int i = 0; i < recording->renditions_count; i++)
        print_segment(recording, segment, discontinuity, bytes, i);
    if (segment->thumbnail)
        fprintf(recording->storyboard_out, "%s{\"at_ms\":%" PRId64 ",\"url\":\"%s\"}",
                recording->thumbnails++ ? "," : "", media_ms, segment->thumbnail);
    if (segment->duration_us > recording->longest_us)
        recording->longest_us = segment->duration_us;
    recording->last_sequence = segment->sequence;
    recording->segments++;
    json_decref(bytes);
    return 0;
}

/* --- the texts --- */

char *recording_multivariant(const struct recording *recording)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    hls_print_multivariant_head(out);
    for (int i = 0; i < recording->renditions_count; i++) {
        const struct recording_rendition *rendition = &recording->renditions[i];
        const struct hls_variant variant = {rendition->peak_bps, rendition->average_bps, rendition->codecs,
                                            rendition->width,    rendition->height,      rendition->frame_rate};

        hls_print_variant(out, &variant, rendition->name, "recording.m3u8");
    }
    return fclose(out) == 0 ? text : NULL;
}

char *recording_media(struct recording *recording, int rendition)
{
    /* RFC 8216, 4.3.3.1: no EXTINF, rounded to the nearest second, is above it. */
    int64_t target_s = (recording->longest_us + 500000) / 1000000;
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    if (target_s < SEGMENT_TARGET_DURATION_S)
        target_s = SEGMENT_TARGET_DURATION_S;
    hls_print_media_head(out, target_s, 0, 0, true);
    fflush(recording->renditions[rendition].out);
    fwrite(recording->renditions[rendition].body, 1, recording->renditions[rendition].body_len, out);
    hls_print_end(out);
    return fclose(out) == 0 ? text : NULL;
}

char *recording_storyboard(struct recording *recording)
{
    char *text = NULL;

    fflush(recording->storyboard_out);
    if (asprintf(&text, "{\"thumbnails\":[%s]}", recording->storyboard) < 0)
        return NULL;
    return text;
}

/* --- from MySQL --- */

static int load_renditions(struct db_connection *connection, const char *broadcast, struct recording *recording)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT name, codecs, width, height, frame_rate, peak_bandwidth, average_bandwidth FROM "
                        "renditions WHERE broadcast_id = ? ORDER BY position, name LIMIT 8",
                        DB_PARAMS(db_str(broadcast)), SEGMENT_MAX_RENDITIONS, &result);

    for (size_t i = 0; code == 0 && i < db_result_rows(result); i++) {
        struct recording_rendition *rendition = &recording->renditions[recording->renditions_count++];

        snprintf(rendition->name, sizeof(rendition->name), "%s", db_result_value(result, i, 0));
        snprintf(rendition->codecs, sizeof(rendition->codecs), "%s", db_result_value(result, i, 1));
        rendition->width = (int)db_result_int(result, i, 2);
        rendition->height = (int)db_result_int(result, i, 3);
        rendition->frame_rate = strtod(db_result_value(result, i, 4), NULL);
        rendition->peak_bps = db_result_int(result, i, 5);
        rendition->average_bps = db_result_int(result, i, 6);
    }
    db_result_free(result);
    return code;
}

static int take_rows(const struct db_result *result, struct recording *recording, struct timeline *timeline)
{
    for (size_t i = 0; i < db_result_rows(result); i++) {
        const struct recording_segment segment = {.sequence = db_result_int(result, i, 0),
                                                  .file = db_result_value(result, i, 1),
                                                  .discontinuity = db_result_int(result, i, 2) != 0,
                                                  .program_date_time_ms = db_result_int(result, i, 3),
                                                  .duration_us = db_result_int(result, i, 4),
                                                  .bytes = db_result_value(result, i, 5),
                                                  .thumbnail = db_result_value(result, i, 6)};

        if (recording_add(recording, timeline, &segment) != 0)
            return RECORDING_ODD;
    }
    return 0;
}

int recording_load(struct db_connection *connection, const char *broadcast, struct recording *recording,
                   struct timeline *timeline)
{
    int code = load_renditions(connection, broadcast, recording);
    size_t rows = ROWS;

    if (code == 0 && recording_begin(recording) != 0)
        code = RECORDING_ODD;
    while (code == 0 && rows == ROWS) {
        struct db_result *result = NULL;

        code = db_query(connection,
                        "SELECT sequence, file, discontinuity, program_date_time_ms, duration_us, bytes, thumbnail "
                        "FROM segments WHERE broadcast_id = ? AND sequence > ? ORDER BY sequence LIMIT 1000",
                        DB_PARAMS(db_str(broadcast), db_int(recording->last_sequence)), ROWS, &result);
        rows = code == 0 ? db_result_rows(result) : 0;
        if (code == 0)
            code = take_rows(result, recording, timeline);
        db_result_free(result);
    }
    return code;
}
