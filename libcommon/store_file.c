/* A folder as the store; nginx (or a network file system) shows it to viewers. */
#include "libcommon/disk.h"
#include "libcommon/store.h"

#include "libcommon/alloc.h"

#include <errno.h>
#include <stdio.h>

#define STUCK_MS           5000
#define DESTROY_TIMEOUT_MS 2000

struct store_file {
    struct disk *disk;
    char *root;
    bool sync;
};

struct call {
    store_done_fn done;
    store_get_fn got;
    void *context;
    char *path;
};

static int code_of(int error)
{
    switch (error) {
    case 0:
        return 0;
    case ESTALE:
        return STORE_LATE;
    case EACCES:
    case EPERM:
    case EROFS:
        return STORE_REFUSED;
    default:
        return STORE_AWAY;
    }
}

static struct call *new_call(const char *path, void *context)
{
    struct call *call = alloc_zero(1, sizeof(*call));

    call->path = alloc_string(path);
    call->context = context;
    return call;
}

static void on_done(int error, struct blob *blob, void *context)
{
    struct call *call = context;
    char why[300];

    snprintf(why, sizeof(why), "%s: %s", call->path, strerror(error));
    call->done(code_of(error), error ? why : "", call->context);
    free(call->path);
    free(call);
}

static void on_removed(int error, struct blob *blob, void *context)
{
    struct call *call = context;

    if (error != ENOENT) {
        on_done(error, blob, context);
        return;
    }
    call->done(STORE_MISSING, "", call->context);
    free(call->path);
    free(call);
}

static void on_got(int error, struct blob *blob, void *context)
{
    struct call *call = context;
    char why[300];

    snprintf(why, sizeof(why), "%s: %s", call->path, strerror(error));
    call->got(error == ENOENT ? STORE_MISSING : code_of(error), error ? why : "", blob, call->context);
    free(call->path);
    free(call);
}

static void put(void *self, const struct store_put *request, store_done_fn done, void *context)
{
    struct store_file *store = self;
    struct call *call = new_call(request->path, context);

    call->done = done;
    /* A playlist is written anew in two seconds; only what is written once is worth waiting for the platter. */
    disk_write(store->disk,
               &(struct disk_write){.root = store->root,
                                    .path = request->path,
                                    .blob = request->blob,
                                    .sync = store->sync && !request->not_after_ms,
                                    .not_after_ms = request->not_after_ms},
               on_done, call);
}

static void get(void *self, const char *path, size_t max_bytes, store_get_fn done, void *context)
{
    struct store_file *store = self;
    struct call *call = new_call(path, context);

    call->got = done;
    disk_read(store->disk, store->root, path, max_bytes, on_got, call);
}

static void delete (void *self, const char *path, store_done_fn done, void *context)
{
    struct store_file *store = self;
    struct call *call = new_call(path, context);

    call->done = done;
    disk_remove(store->disk, store->root, path, on_removed, call);
}

static const char *stuck(void *self)
{
    struct store_file *store = self;

    return disk_waiting_ms(store->disk) > STUCK_MS ? "the disk has not answered for more than 5 s" : NULL;
}

static void destroy(void *self)
{
    struct store_file *store = self;

    disk_destroy(store->disk, DESTROY_TIMEOUT_MS);
    free(store->root);
    free(store);
}

static const struct store_ops file_ops = {.put = put, .get = get, .delete = delete, .stuck = stuck, .destroy = destroy};

void *store_file_create(struct event_base *loop, const struct store_options *options, const struct store_ops **ops,
                        char *error, size_t error_size)
{
    struct store_file *store;
    const char *root = options->url + strlen("file://");
    size_t len;

    if (strncmp(options->url, "file:///", 8) != 0) {
        snprintf(error, error_size, "is not file:///folder");
        return NULL;
    }
    store = alloc_zero(1, sizeof(*store));
    store->root = alloc_string(root);
    for (len = strlen(store->root); len > 1 && store->root[len - 1] == '/'; len--)
        store->root[len - 1] = '\0';
    store->sync = options->sync_files;
    store->disk = disk_create(loop, options->max_operations > 8 ? 8 : options->max_operations);
    *ops = &file_ops;
    return store;
}
