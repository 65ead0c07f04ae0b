#include "export_files.h"

#include "libcommon/alloc.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define HOUR_MS 3600000
#define GZIP    (15 + 16) /* the largest window, with gzip's head: zlib writes no time into it */
#define LEVEL   6

bool export_files_are_full(const struct export_files *files, size_t max_lines)
{
    return files->lines >= max_lines || files->bytes >= EXPORT_MAX_BYTES || files->count >= EXPORT_MAX_FILES;
}

static bool is_folder_name(const char *kind)
{
    size_t len = strlen(kind);

    return len > 0 && len < EXPORT_KIND_SIZE && strspn(kind, "abcdefghijklmnopqrstuvwxyz_") == len;
}

static struct export_file *file_for(struct export_files *files, const char *kind, int64_t hour)
{
    struct export_file *file;

    /* Neighbours are mostly of the same kind and hour. */
    for (size_t i = 0; i < files->count; i++) {
        size_t at = (files->last + i) % files->count;

        if (files->files[at].hour == hour && strcmp(files->files[at].kind, kind) == 0) {
            files->last = at;
            return &files->files[at];
        }
    }
    if (files->count == files->capacity) {
        files->capacity = files->capacity ? 2 * files->capacity : 8;
        files->files = reallocarray(files->files, files->capacity, sizeof(files->files[0]));
        if (!files->files)
            abort();
    }
    files->last = files->count++;
    file = &files->files[files->last];
    memset(file, 0, sizeof(*file));
    strcpy(file->kind, kind);
    file->hour = hour;
    buffer_init(&file->text, SIZE_MAX / 4); /* bounded by export_files_are_full() */
    return file;
}

void export_files_add(struct export_files *files, const char *kind, int64_t at_ms, const char *head, const char *text,
                      size_t len_bytes)
{
    struct export_file *file =
        file_for(files, is_folder_name(kind) ? kind : "other", (at_ms > 0 ? at_ms : 0) / HOUR_MS);
    size_t head_len = strlen(head);
    uint8_t *at = buffer_reserve(&file->text, head_len + len_bytes + 1);

    if (!at)
        abort();
    at = mempcpy(at, head, head_len);
    for (size_t i = 0; i < len_bytes; i++)
        *at++ = text[i] == '\n' || text[i] == '\r' ? ' ' : (uint8_t)text[i];
    *at = '\n';
    buffer_commit(&file->text, head_len + len_bytes + 1);
    files->lines++;
    files->bytes += head_len + len_bytes + 1;
}

void export_file_path(const struct export_file *file, const char *source, int64_t number, char out[EXPORT_PATH_SIZE])
{
    time_t seconds = (time_t)(file->hour * (HOUR_MS / 1000));
    struct tm utc;
    char date[32];

    gmtime_r(&seconds, &utc);
    strftime(date, sizeof(date), "dt=%Y-%m-%d/hour=%H", &utc);
    snprintf(out, EXPORT_PATH_SIZE, "export/%s/%s/%s-%010lld.ndjson.gz", file->kind, date, source, (long long)number);
}

static int compress_text(struct buffer *text)
{
    z_stream stream = {0};
    struct buffer out;
    int code = -1;

    buffer_init(&out, SIZE_MAX / 4);
    if (deflateInit2(&stream, LEVEL, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    uLong bound = deflateBound(&stream, (uLong)text->len);
    stream.next_out = buffer_reserve(&out, bound);
    if (stream.next_out) {
        stream.avail_out = (uInt)bound;
        stream.next_in = text->data;
        stream.avail_in = (uInt)text->len;
        code = deflate(&stream, Z_FINISH) == Z_STREAM_END ? 0 : -1;
        buffer_commit(&out, stream.total_out);
    }
    deflateEnd(&stream);
    if (code != 0) {
        buffer_clear(&out);
        return -1;
    }
    buffer_clear(text);
    *text = out;
    return 0;
}

int export_files_compress(struct export_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        if (compress_text(&files->files[i].text) != 0)
            return -1;
    return 0;
}

void export_files_clear(struct export_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        buffer_clear(&files->files[i].text);
    free(files->files);
    *files = (struct export_files){0};
}
