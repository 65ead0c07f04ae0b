/* See spool.h. A file: one line of JSON with the sizes, then the bytes one after the other. */
#include "services/segment-uploader/spool.h"

#include "libcommon/alloc.h"
#include "libcommon/metrics.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_HEADER_BYTES 1024
#define MAX_FILE_BYTES   (1UL << 30)
#define FORGOTTEN_S      86400
#define WORKERS          2
#define DESTROY_MS       2000

struct spool {
    struct disk *disk;
    char *folder;
    int64_t bytes, max_bytes;
    struct metric *bytes_gauge, *written;
};

void segment_media_clear(struct segment_media *media)
{
    for (int i = 0; i < SEGMENT_MAX_RENDITIONS; i++) {
        blob_unref(media->renditions[i]);
        media->renditions[i] = NULL;
    }
    blob_unref(media->thumbnail);
    media->thumbnail = NULL;
}

size_t segment_media_bytes(const struct segment_media *media)
{
    size_t bytes = media->thumbnail ? media->thumbnail->len : 0;

    for (int i = 0; i < media->renditions_count; i++)
        bytes += media->renditions[i] ? media->renditions[i]->len : 0;
    return bytes;
}

static json_int_t size_of(const struct blob *blob)
{
    return blob ? (json_int_t)blob->len : -1;
}

struct blob *spool_encode(const struct segment_media *media)
{
    json_t *sizes = json_array(), *root;
    char *header;
    struct blob *blob;
    uint8_t *at;

    for (int i = 0; i < media->renditions_count; i++)
        json_array_append_new(sizes, json_integer(size_of(media->renditions[i])));
    root = json_pack("{s:o, s:I}", "sizes", sizes, "thumbnail", size_of(media->thumbnail));
    header = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    blob = blob_create(strlen(header) + 1 + segment_media_bytes(media));
    if (blob) {
        at = mempcpy(blob->data, header, strlen(header));
        *at++ = '\n';
        for (int i = 0; i < media->renditions_count; i++)
            if (media->renditions[i])
                at = mempcpy(at, media->renditions[i]->data, media->renditions[i]->len);
        if (media->thumbnail)
            memcpy(at, media->thumbnail->data, media->thumbnail->len);
    }
    free(header);
    return blob;
}

/* -1: the file is shorter than it says. */
static int take_slice(struct blob *file, size_t *offset, const json_t *size, struct blob **out)
{
    json_int_t len = json_integer_value(size);

    if (!json_is_integer(size) || len < -1 || (len > 0 && (size_t)len > file->len - *offset))
        return -1;
    if (len >= 0) {
        *out = blob_slice(file, *offset, (size_t)len);
        *offset += (size_t)len;
    }
    return 0;
}

int spool_decode(struct blob *file, struct segment_media *media)
{
    const uint8_t *end = memchr(file->data, '\n', file->len < MAX_HEADER_BYTES ? file->len : MAX_HEADER_BYTES);
    size_t offset = end ? (size_t)(end - file->data) + 1 : 0;
    json_t *root = end ? json_loadb((const char *)file->data, offset - 1, 0, NULL) : NULL;
    const json_t *sizes = json_object_get(root, "sizes");
    int result = -1;

    memset(media, 0, sizeof(*media));
    if (!json_is_array(sizes) || json_array_size(sizes) > SEGMENT_MAX_RENDITIONS)
        goto out;
    media->renditions_count = (int)json_array_size(sizes);
    for (int i = 0; i < media->renditions_count; i++)
        if (take_slice(file, &offset, json_array_get(sizes, (size_t)i), &media->renditions[i]) != 0)
            goto out;
    if (take_slice(file, &offset, json_object_get(root, "thumbnail"), &media->thumbnail) != 0 || offset != file->len)
        goto out;
    result = 0;
out:
    if (result != 0)
        segment_media_clear(media);
    json_decref(root);
    return result;
}

static void count_bytes(struct spool *spool, int64_t difference)
{
    spool->bytes += difference;
    if (spool->bytes < 0)
        spool->bytes = 0;
    metric_set(spool->bytes_gauge, (double)spool->bytes);
}

/* At start, before the loop runs: what a predecessor left. */
static void scan_broadcast(struct spool *spool, const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *file;

    while (folder && (file = readdir(folder))) {
        char name[PATH_MAX];
        struct stat info;

        if (snprintf(name, sizeof(name), "%s/%s", path, file->d_name) >= (int)sizeof(name) || stat(name, &info) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        if (time(NULL) - info.st_mtime > FORGOTTEN_S)
            unlink(name);
        else
            count_bytes(spool, info.st_size);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

static void scan(struct spool *spool)
{
    DIR *folder = opendir(spool->folder);
    struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        char path[PATH_MAX];

        if (id_is_valid(entry->d_name) &&
            snprintf(path, sizeof(path), "%s/%s", spool->folder, entry->d_name) < (int)sizeof(path))
            scan_broadcast(spool, path);
    }
    if (folder)
        closedir(folder);
}

struct spool *spool_create(struct event_base *loop, const char *folder, int64_t max_bytes, struct metrics *metrics,
                           char *error, size_t error_size)
{
    struct spool *spool;

    if ((mkdir(folder, 0755) != 0 && errno != EEXIST) || access(folder, W_OK | X_OK) != 0) {
        snprintf(error, error_size, "\"%s\" cannot be written: %s", folder, strerror(errno));
        return NULL;
    }
    spool = alloc_zero(1, sizeof(*spool));
    spool->folder = alloc_string(folder);
    spool->max_bytes = max_bytes;
    spool->bytes_gauge =
        metrics_gauge(metrics, "hanabi_uploader_spool_bytes", "segments on disk, waiting for the store", NULL);
    spool->written = metrics_counter(metrics, "hanabi_uploader_spooled_segments_total", "segments put on disk", NULL);
    spool->disk = disk_create(loop, WORKERS);
    scan(spool);
    return spool;
}

void spool_destroy(struct spool *spool)
{
    if (!spool)
        return;
    disk_destroy(spool->disk, DESTROY_MS);
    free(spool->folder);
    free(spool);
}

bool spool_has_room(const struct spool *spool, size_t bytes)
{
    return spool->bytes + (int64_t)bytes <= spool->max_bytes;
}

static void file_of(char out[KEY_MAX], const char *broadcast, const char *entry_id)
{
    snprintf(out, KEY_MAX, "%s/%s.segment", broadcast, entry_id);
}

struct write_call {
    struct spool *spool;
    size_t bytes;
    spool_done_fn done;
    void *context;
};

static void on_written(int error, struct blob *blob, void *context)
{
    struct write_call *call = context;

    if (error)
        count_bytes(call->spool, -(int64_t)call->bytes);
    else
        metric_add(call->spool->written, 1);
    call->done(error, NULL, call->context);
    free(call);
}

void spool_put(struct spool *spool, const char *broadcast, const char *entry_id, const struct segment_media *media,
               spool_done_fn done, void *context)
{
    struct write_call *call = alloc_zero(1, sizeof(*call));
    struct blob *blob = spool_encode(media);
    char path[KEY_MAX];

    if (!blob)
        abort();
    file_of(path, broadcast, entry_id);
    *call = (struct write_call){spool, blob->len, done, context};
    count_bytes(spool, (int64_t)blob->len);
    disk_write(spool->disk, &(struct disk_write){.root = spool->folder, .path = path, .blob = blob}, on_written, call);
    blob_unref(blob);
}

void spool_get(struct spool *spool, const char *broadcast, const char *entry_id, spool_done_fn done, void *context)
{
    char path[KEY_MAX];

    file_of(path, broadcast, entry_id);
    disk_read(spool->disk, spool->folder, path, MAX_FILE_BYTES, done, context);
}

struct removal {
    struct spool *spool;
    size_t bytes;
};

static void on_removed(int error, struct blob *blob, void *context)
{
    struct removal *removal = context;

    if (!error)
        count_bytes(removal->spool, -(int64_t)removal->bytes);
    free(removal);
}

void spool_remove(struct spool *spool, const char *broadcast, const char *entry_id, size_t bytes)
{
    struct removal *removal = alloc_zero(1, sizeof(*removal));
    char path[KEY_MAX];

    file_of(path, broadcast, entry_id);
    *removal = (struct removal){spool, bytes};
    disk_remove(spool->disk, spool->folder, path, on_removed, removal);
}

void spool_remove_broadcast(struct spool *spool, const char *broadcast)
{
    disk_remove(spool->disk, spool->folder, broadcast, NULL, NULL);
}
