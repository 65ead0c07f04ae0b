/* Files without blocking the loop: whole files are written, read and removed on worker threads, so that a disk that
 * hangs stops nothing but what waits for it. A written file appears whole or not at all (temporary file, then rename).
 * Calls and callbacks on the loop thread; operations run in parallel and in no order. */
#pragma once

#include "libcommon/blob.h"

#include <stdbool.h>

struct disk;
struct event_base;

/* `error` is 0 or an errno; ESTALE: `not_after_ms` had passed, nothing was changed. `blob`: what was read (borrowed:
 * take a reference to keep it), else NULL. Exactly once, never before the call returns. */
typedef void (*disk_done_fn)(int error, struct blob *blob, void *context);

struct disk_write {
    const char *root;     /* must exist: a store that is not mounted is not made anew in its place */
    const char *path;     /* below root; folders are made as needed */
    struct blob *blob;    /* a reference is taken */
    bool sync;            /* fdatasync before the rename */
    int64_t not_after_ms; /* monotonic: too late for the rename after this. 0: never */
};

struct disk *disk_create(struct event_base *loop, int workers);
/* Waits up to `timeout_ms` for what is under way; the callbacks of what hangs longer are called with ECANCELED. */
void disk_destroy(struct disk *disk, int64_t timeout_ms);
void disk_write(struct disk *disk, const struct disk_write *write, disk_done_fn done, void *context);
/* EFBIG above max_bytes. */
void disk_read(struct disk *disk, const char *root, const char *path, size_t max_bytes, disk_done_fn done,
               void *context);
/* Of a file, or of a folder that is empty. */
void disk_remove(struct disk *disk, const char *root, const char *path, disk_done_fn done, void *context);
/* How long the oldest operation has been waiting, 0 without one. */
int64_t disk_waiting_ms(const struct disk *disk);
