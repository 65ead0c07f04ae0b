/* Where viewers' objects live: a folder (file://) or a bucket (s3://), behind one interface. Loop thread only.
 *
 * An operation is tried once; who needs it done tries again, because only he knows whether it is still wanted. A put of
 * the same path again replaces the object, whole. */
#pragma once

#include "libcommon/blob.h"

#include <stdbool.h>

struct event_base;
struct metrics;
struct store;

enum store_error {
    STORE_MISSING = -1, /* no such object */
    STORE_AWAY = -2,    /* cannot be reached, or is overloaded, or the disk is full: try again */
    STORE_REFUSED = -3, /* it answers, and says no: credentials, permissions */
    STORE_LATE = -4,    /* not_after_ms had passed: nothing was changed */
};

struct store_put {
    const char *path; /* "live/<id>/…" */
    struct blob *blob;
    const char *content_type;
    const char *cache_control;
    int64_t not_after_ms; /* monotonic; 0: none. For what another process may write next */
};

/* `why`: a phrase for logs when code < 0. Exactly once, never before the call returns. */
typedef void (*store_done_fn)(int code, const char *why, void *context);
/* `blob` is borrowed, NULL when code < 0. */
typedef void (*store_get_fn)(int code, const char *why, struct blob *blob, void *context);

struct store_options {
    const char *url; /* file:///folder, s3://bucket[/prefix]?endpoint=http://host:port&region=… */
    const char *access_key, *secret_key;
    bool sync_files;    /* fdatasync each segment */
    int max_operations; /* at once */
    struct metrics *metrics;
};

/* NULL with a sentence in `error`: the url is broken. */
struct store *store_create(struct event_base *loop, const struct store_options *options, char *error,
                           size_t error_size);
/* What is still under way is reported as STORE_AWAY. */
void store_destroy(struct store *store);
void store_put(struct store *store, const struct store_put *put, store_done_fn done, void *context);
void store_get(struct store *store, const char *path, size_t max_bytes, store_get_fn done, void *context);
/* STORE_MISSING: there was none (a bucket does not say so: 0). */
void store_delete(struct store *store, const char *path, store_done_fn done, void *context);
/* A service_ready_fn; from memory: what the last operation said. Idle or failing, it writes a small object of its own
 * every few seconds to know. */
bool store_ready(void *store, char *why, size_t why_size);

/* ---- for the kinds of store ---- */

struct store_ops {
    void (*put)(void *self, const struct store_put *put, store_done_fn done, void *context);
    void (*get)(void *self, const char *path, size_t max_bytes, store_get_fn done, void *context);
    void (*delete)(void *self, const char *path, store_done_fn done, void *context);
    /* A phrase when operations hang, else NULL; may be NULL. */
    const char *(*stuck)(void *self);
    void (*destroy)(void *self);
};
void *store_file_create(struct event_base *loop, const struct store_options *options, const struct store_ops **ops,
                        char *error, size_t error_size);
void *store_s3_create(struct event_base *loop, const struct store_options *options, const struct store_ops **ops,
                      char *error, size_t error_size);
