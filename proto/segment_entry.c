/* The JSON of a finished segment's entry; see segment_entry.h. The decoder trusts nothing: names become directories and
 * keys become Redis commands of the uploader. */
#include "proto/segment_entry.h"

#include "libcommon/json_member.h"

#include <string.h>

/* A day: far above any real segment, far below what would overflow a sum. */
#define MAX_DURATION_US (86400LL * 1000000)
#define MAX_PART_BYTES  (1LL << 30)

static json_t *encode_rendition(const struct segment_rendition *rendition)
{
    json_t *parts = json_array();

    for (int i = 0; i < rendition->parts_count; i++)
        json_array_append_new(parts, json_pack("{s:s, s:I}", "key", rendition->parts[i].key, "bytes",
                                               (json_int_t)rendition->parts[i].bytes));
    /* "o" takes the reference to `parts`. */
    return json_pack("{s:s, s:i, s:i, s:f, s:s, s:o}", "name", rendition->name, "width", rendition->width, "height",
                     rendition->height, "frame_rate", rendition->frame_rate, "codecs", rendition->codecs, "parts",
                     parts);
}

char *segment_entry_encode(const struct segment_entry *entry)
{
    json_t *root = NULL, *renditions = NULL;
    char *text = NULL;

    if (entry->final) {
        root = json_pack("{s:b}", "final", 1);
    } else {
        renditions = json_array();
        for (int i = 0; i < entry->renditions_count; i++)
            json_array_append_new(renditions, encode_rendition(&entry->renditions[i]));
        root = json_pack("{s:I, s:I, s:b, s:I, s:I, s:I, s:I, s:o}", "session", (json_int_t)entry->session, "number",
                         (json_int_t)entry->number, "discontinuity", entry->discontinuity, "program_date_time_ms",
                         (json_int_t)entry->program_date_time_ms, "media_time_us", (json_int_t)entry->media_time_us,
                         "duration_us", (json_int_t)entry->duration_us, "arrived_ms", (json_int_t)entry->arrived_ms,
                         "renditions", renditions);
        if (root && entry->thumbnail_key[0])
            json_object_set_new(root, "thumbnail_key", json_string(entry->thumbnail_key));
    }
    if (root)
        text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

/* A part's key must be one: an entry cannot make the uploader read or publish something else. */
static int read_key(const json_t *object, const char *name, char out[KEY_MAX])
{
    if (json_member_string(object, name, out, KEY_MAX) != 0 ||
        strncmp(out, KEY_MEDIA_PART, sizeof(KEY_MEDIA_PART) - 1) != 0)
        return -1;
    return 0;
}

bool segment_codecs_are_valid(const char *codecs)
{
    return codecs[0] &&
           strspn(codecs, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,-_") == strlen(codecs);
}

static int parse_rendition(const json_t *object, struct segment_rendition *rendition)
{
    const json_t *parts = json_object_get(object, "parts");
    int64_t width, height;

    if (json_member_string(object, "name", rendition->name, sizeof(rendition->name)) != 0 ||
        !id_is_valid(rendition->name) ||
        json_member_string(object, "codecs", rendition->codecs, sizeof(rendition->codecs)) != 0 ||
        !segment_codecs_are_valid(rendition->codecs) || json_member_whole(object, "width", 0, 65535, &width) != 0 ||
        json_member_whole(object, "height", 0, 65535, &height) != 0)
        return -1;
    rendition->width = (int)width;
    rendition->height = (int)height;
    rendition->frame_rate = json_number_value(json_object_get(object, "frame_rate"));
    if (!(rendition->frame_rate >= 0 && rendition->frame_rate <= 1000))
        return -1;
    if (json_array_size(parts) < 1 || json_array_size(parts) > SEGMENT_MAX_PARTS)
        return -1;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        struct segment_part *part = &rendition->parts[rendition->parts_count++];

        if (read_key(json_array_get(parts, i), "key", part->key) != 0 ||
            json_member_whole(json_array_get(parts, i), "bytes", 0, MAX_PART_BYTES, &part->bytes) != 0)
            return -1;
    }
    return 0;
}

static int parse_renditions(const json_t *list, struct segment_entry *entry)
{
    if (json_array_size(list) < 1 || json_array_size(list) > SEGMENT_MAX_RENDITIONS)
        return -1;
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct segment_rendition *rendition = &entry->renditions[i];

        if (parse_rendition(json_array_get(list, i), rendition) != 0)
            return -1;
        for (size_t other = 0; other < i; other++)
            if (strcmp(entry->renditions[other].name, rendition->name) == 0)
                return -1;
        entry->renditions_count++;
    }
    return 0;
}

int segment_entry_parse(const char *json, size_t len_bytes, struct segment_entry *entry)
{
    int result = -1;
    json_t *root = json_loadb(json, len_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    memset(entry, 0, sizeof(*entry));
    if (!json_is_object(root))
        goto out;
    if (json_is_true(json_object_get(root, "final"))) {
        entry->final = true;
        result = 0;
        goto out;
    }
    if (json_member_whole(root, "session", 0, JSON_WHOLE_MAX, &entry->session) != 0 ||
        json_member_whole(root, "number", 0, JSON_WHOLE_MAX, &entry->number) != 0 ||
        json_member_whole(root, "program_date_time_ms", 0, JSON_WHOLE_MAX, &entry->program_date_time_ms) != 0 ||
        json_member_whole(root, "media_time_us", 0, JSON_WHOLE_MAX, &entry->media_time_us) != 0 ||
        json_member_whole(root, "duration_us", 1, MAX_DURATION_US, &entry->duration_us) != 0 ||
        json_member_whole(root, "arrived_ms", 0, JSON_WHOLE_MAX, &entry->arrived_ms) != 0)
        goto out;
    entry->discontinuity = json_is_true(json_object_get(root, "discontinuity"));
    if (json_object_get(root, "thumbnail_key") && read_key(root, "thumbnail_key", entry->thumbnail_key) != 0)
        goto out;
    result = parse_renditions(json_object_get(root, "renditions"), entry);
out:
    json_decref(root);
    return result;
}
