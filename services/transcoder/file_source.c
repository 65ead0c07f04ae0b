/* Several files one after the other ("a.flv,b.flv") are as many publishing sessions. */
#include "services/transcoder/file_source.h"

#include "libcommon/alloc.h"
#include "libcommon/buffer.h"
#include "proto/flv.h"
#include "proto/media_ring.h"

#include <stdio.h>

#define FLV_HEADER_BYTES 13
#define MAX_FILE_BYTES   ((size_t)2 << 30)
#define BETWEEN_FILES_MS 5000

struct group {
    struct buffer bytes;
    int64_t begin_ms;
    bool is_open, is_start;
};

struct file_source {
    struct media_entry *first, **end, *at;
    struct buffer headers[3]; /* onMetaData, video, audio */
    bool has_video;
    int64_t clock_ms; /* as if it arrived in real time */
    uint32_t last_ms;
    int64_t session;
    unsigned sequence;
    struct group group;
};

static void append_entry(struct file_source *source, const uint8_t *bytes, size_t len_bytes, bool is_start, bool is_end)
{
    char id[MEDIA_ENTRY_ID_SIZE];

    snprintf(id, sizeof(id), "%lld-%u", (long long)source->clock_ms, source->sequence++);
    struct media_entry *entry = media_entry_create(id, source->clock_ms, source->session, bytes, len_bytes);
    entry->is_start = is_start;
    entry->is_end = is_end;
    *source->end = entry;
    source->end = &entry->next;
}

static void close_group(struct file_source *source)
{
    if (source->group.is_open)
        append_entry(source, source->group.bytes.data, source->group.bytes.len, source->group.is_start, false);
    buffer_reset(&source->group.bytes);
    source->group.is_open = false;
}

static void append(struct buffer *buffer, const void *bytes, size_t len_bytes)
{
    if (buffer_append(buffer, bytes, len_bytes) != 0)
        abort();
}

static void add_tag(struct file_source *source, const struct flv_tag *tag, const uint8_t *bytes, size_t len_bytes)
{
    const int header = tag->type == FLV_TAG_SCRIPT ? 0 : tag->type == FLV_TAG_VIDEO ? 1 : 2;
    const bool is_header = tag->type == FLV_TAG_SCRIPT || tag->is_sequence_header;

    if (tag->is_media) {
        const int32_t step = (int32_t)(tag->timestamp_ms - source->last_ms);
        source->clock_ms += step >= 0 && step <= 1000 ? step : step > 1000 ? 33 : 0;
        source->last_ms = tag->timestamp_ms;
    }
    if (is_header) {
        buffer_reset(&source->headers[header]);
        append(&source->headers[header], bytes, len_bytes);
    }
    source->has_video = source->has_video || tag->type == FLV_TAG_VIDEO;
    const bool is_key = tag->is_media && (tag->is_keyframe || !source->has_video);
    const bool is_old = source->group.is_open && source->clock_ms - source->group.begin_ms >= MEDIA_RING_GROUP_MS;
    if ((is_key && tag->is_keyframe) || is_old)
        close_group(source);
    if (!source->group.is_open) {
        source->group.is_open = true;
        source->group.begin_ms = source->clock_ms;
        source->group.is_start = is_key;
        for (int i = 0; is_key && i < 3; i++)
            append(&source->group.bytes, source->headers[i].data, source->headers[i].len);
    }
    append(&source->group.bytes, bytes, len_bytes);
}

static int read_file(struct file_source *source, const char *path)
{
    struct buffer bytes;
    FILE *file = fopen(path, "rb");
    struct flv_tag tag;
    int taken, result = -1;
    size_t got;

    buffer_init(&bytes, MAX_FILE_BYTES);
    while (file) {
        uint8_t *room = buffer_reserve(&bytes, 1 << 20);
        if (!room || (got = fread(room, 1, 1 << 20, file)) == 0)
            break;
        buffer_commit(&bytes, got);
    }
    if (file)
        fclose(file);
    if (bytes.len < FLV_HEADER_BYTES || memcmp(bytes.data, "FLV", 3) != 0)
        goto out;
    const uint8_t *at = bytes.data + FLV_HEADER_BYTES;
    size_t left = bytes.len - FLV_HEADER_BYTES;
    for (int i = 0; i < 3; i++)
        buffer_reset(&source->headers[i]);
    source->has_video = false;
    source->session++;
    while ((taken = flv_tag_parse(at, left, &tag)) > 0) {
        add_tag(source, &tag, at, (size_t)taken);
        at += taken;
        left -= (size_t)taken;
    }
    close_group(source);
    append_entry(source, NULL, 0, false, true);
    source->clock_ms += BETWEEN_FILES_MS;
    result = 0;
out:
    buffer_clear(&bytes);
    return result;
}

struct file_source *file_source_open(const char *paths)
{
    struct file_source *source = alloc_zero(1, sizeof(*source));
    char *list = alloc_string(paths), *rest = list;

    source->end = &source->first;
    source->clock_ms = 1000000;
    buffer_init(&source->group.bytes, MAX_FILE_BYTES);
    for (int i = 0; i < 3; i++)
        buffer_init(&source->headers[i], 1 << 20);
    for (const char *path; (path = strsep(&rest, ",")) != NULL;) {
        if (read_file(source, path) == 0)
            continue;
        file_source_close(source);
        source = NULL;
        break;
    }
    if (source)
        source->at = source->first;
    free(list);
    return source;
}

void file_source_close(struct file_source *source)
{
    if (!source)
        return;
    while (source->first) {
        struct media_entry *next = source->first->next;
        free(source->first);
        source->first = next;
    }
    for (int i = 0; i < 3; i++)
        buffer_clear(&source->headers[i]);
    buffer_clear(&source->group.bytes);
    free(source);
}

struct media_entry *file_source_next(struct file_source *source)
{
    const struct media_entry *entry = source->at;

    if (!entry)
        return NULL;
    source->at = entry->next;
    struct media_entry *copy =
        media_entry_create(entry->id, entry->arrival_ms, entry->session, entry->bytes, entry->len_bytes);
    copy->is_start = entry->is_start;
    copy->is_end = entry->is_end;
    return copy;
}

void file_source_seek(struct file_source *source, const char *id, bool inclusive)
{
    struct media_entry *entry = source->first;

    while (entry && strcmp(entry->id, id) != 0)
        entry = entry->next;
    source->at = entry && !inclusive ? entry->next : entry;
}
