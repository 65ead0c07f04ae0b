/* Worker threads for files; see disk.h. A thread and the loop share nothing but the two queues. */
#include "libcommon/disk.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum operation_kind { OPERATION_WRITE, OPERATION_READ, OPERATION_REMOVE };

struct operation {
    TAILQ_ENTRY(operation) link;   /* in a queue between the threads */
    TAILQ_ENTRY(operation) by_age; /* of the loop: everything unfinished, oldest first */
    enum operation_kind kind;
    char *path; /* root and path */
    size_t root_len;
    struct blob *blob; /* to write; or read */
    bool sync;
    int64_t not_after_ms, started_ms;
    size_t max_bytes;
    int error;
    disk_done_fn done;
    void *context;
};
TAILQ_HEAD(operation_list, operation);

/* Outlives the disk object when a worker hangs, hence apart and counted. */
struct shared {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct operation_list todo, finished;
    int event_fd;
    bool stopping;
    int users; /* workers and the disk object */
};

struct disk {
    struct shared *shared;
    struct event *event;
    struct operation_list by_age;
};

static atomic_uint temporary_number;

/* mkdir -p for the folders of `path` below its root. */
static int make_folders(char *path, size_t root_len)
{
    for (char *slash = strchr(path + root_len + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        int failed;

        *slash = '\0';
        failed = mkdir(path, 0755) != 0 && errno != EEXIST;
        *slash = '/';
        if (failed)
            return errno;
    }
    return 0;
}

static int write_all(int fd, const struct blob *blob)
{
    size_t done = 0;

    while (done < blob->len) {
        ssize_t n = write(fd, blob->data + done, blob->len - done);

        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0)
            done += (size_t)n;
    }
    return 0;
}

static int open_temporary(struct operation *op, char *temporary, size_t size)
{
    const char *name = strrchr(op->path, '/') + 1;
    int fd;

    snprintf(temporary, size, "%.*s.%s.%d-%u", (int)(name - op->path), op->path, name, (int)getpid(),
             atomic_fetch_add(&temporary_number, 1));
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 && errno == ENOENT) {
        int error = make_folders(op->path, op->root_len);

        if (error) {
            errno = error;
            return -1;
        }
        fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    }
    return fd;
}

static int run_write(struct operation *op)
{
    char temporary[PATH_MAX];
    int fd = open_temporary(op, temporary, sizeof(temporary)), error;

    if (fd < 0)
        return errno;
    error = write_all(fd, op->blob);
    if (!error && op->sync && fdatasync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && !error)
        error = errno;
    /* As late as possible: the disk may have hung, and another process may have the file by now. */
    if (!error && op->not_after_ms && clock_monotonic_ms() > op->not_after_ms)
        error = ESTALE;
    if (!error && rename(temporary, op->path) != 0)
        error = errno;
    if (error)
        unlink(temporary);
    return error;
}

static int run_read(struct operation *op)
{
    int fd = open(op->path, O_RDONLY | O_CLOEXEC), error = 0;
    struct stat info;
    size_t done = 0;

    if (fd < 0)
        return errno;
    if (fstat(fd, &info) != 0)
        error = errno;
    else if ((size_t)info.st_size > op->max_bytes)
        error = EFBIG;
    else if (!(op->blob = blob_create((size_t)info.st_size)))
        error = ENOMEM;
    while (!error && done < op->blob->len) {
        ssize_t n = read(fd, op->blob->data + done, op->blob->len - done);

        if (n == 0)
            op->blob->len = done;
        else if (n < 0 && errno != EINTR)
            error = errno;
        else if (n > 0)
            done += (size_t)n;
    }
    close(fd);
    return error;
}

/* ENOENT means that the file is gone, not that the whole folder is (not mounted): what is not seen may still be there.
 */
static int run_remove(struct operation *op)
{
    int error = remove(op->path) != 0 ? errno : 0;

    if (error != ENOENT)
        return error;
    op->path[op->root_len] = '\0';
    error = access(op->path, F_OK) == 0 ? ENOENT : ENODEV;
    op->path[op->root_len] = '/';
    return error;
}

static void run_operation(struct operation *op)
{
    if (op->kind == OPERATION_WRITE)
        op->error = run_write(op);
    else if (op->kind == OPERATION_READ)
        op->error = run_read(op);
    else
        op->error = run_remove(op);
}

static void free_operation(struct operation *op)
{
    blob_unref(op->blob);
    free(op->path);
    free(op);
}

/* Called with the mutex held; releases it. */
static void leave_shared(struct shared *shared)
{
    bool last = --shared->users == 0;
    struct operation *op;

    pthread_cond_broadcast(&shared->wake);
    pthread_mutex_unlock(&shared->mutex);
    if (!last)
        return;
    while ((op = TAILQ_FIRST(&shared->todo))) {
        TAILQ_REMOVE(&shared->todo, op, link);
        free_operation(op);
    }
    while ((op = TAILQ_FIRST(&shared->finished))) {
        TAILQ_REMOVE(&shared->finished, op, link);
        free_operation(op);
    }
    close(shared->event_fd);
    pthread_mutex_destroy(&shared->mutex);
    pthread_cond_destroy(&shared->wake);
    free(shared);
}

static void *worker(void *context)
{
    struct shared *shared = context;
    uint64_t one = 1;

    pthread_mutex_lock(&shared->mutex);
    for (;;) {
        struct operation *op = TAILQ_FIRST(&shared->todo);

        if (op) {
            TAILQ_REMOVE(&shared->todo, op, link);
            pthread_mutex_unlock(&shared->mutex);
            run_operation(op);
            pthread_mutex_lock(&shared->mutex);
            TAILQ_INSERT_TAIL(&shared->finished, op, link);
            if (write(shared->event_fd, &one, sizeof(one)) < 0)
                continue; /* only when the counter is full: the loop is awake anyway */
        } else if (shared->stopping) {
            break;
        } else {
            pthread_cond_wait(&shared->wake, &shared->mutex);
        }
    }
    leave_shared(shared);
    return NULL;
}

/* Reports what the workers have finished. */
static void deliver_finished(struct disk *disk)
{
    struct operation_list finished = TAILQ_HEAD_INITIALIZER(finished);
    struct operation *op;

    pthread_mutex_lock(&disk->shared->mutex);
    TAILQ_CONCAT(&finished, &disk->shared->finished, link);
    pthread_mutex_unlock(&disk->shared->mutex);
    while ((op = TAILQ_FIRST(&finished))) {
        TAILQ_REMOVE(&finished, op, link);
        TAILQ_REMOVE(&disk->by_age, op, by_age);
        if (op->done)
            op->done(op->error, op->kind == OPERATION_READ && !op->error ? op->blob : NULL, op->context);
        free_operation(op);
    }
}

static void on_finished(evutil_socket_t fd, short what, void *context)
{
    uint64_t count;

    if (read(fd, &count, sizeof(count)) > 0)
        deliver_finished(context);
}

struct disk *disk_create(struct event_base *loop, int workers)
{
    struct disk *disk = alloc_zero(1, sizeof(*disk));
    struct shared *shared = alloc_zero(1, sizeof(*shared));
    pthread_condattr_t attributes;

    disk->shared = shared;
    TAILQ_INIT(&disk->by_age);
    TAILQ_INIT(&shared->todo);
    TAILQ_INIT(&shared->finished);
    pthread_mutex_init(&shared->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&shared->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    shared->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    shared->users = 1;
    disk->event = event_new(loop, shared->event_fd, EV_READ | EV_PERSIST, on_finished, disk);
    event_add(disk->event, NULL);
    for (int i = 0; i < workers; i++) {
        pthread_t thread;

        pthread_mutex_lock(&shared->mutex);
        shared->users++;
        pthread_mutex_unlock(&shared->mutex);
        if (pthread_create(&thread, NULL, worker, shared) != 0)
            abort();
        pthread_detach(thread);
    }
    return disk;
}

void disk_destroy(struct disk *disk, int64_t timeout_ms)
{
    struct shared *shared;
    struct operation *op;
    struct timespec until;

    if (!disk)
        return;
    shared = disk->shared;
    event_free(disk->event);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&shared->mutex);
    shared->stopping = true;
    pthread_cond_broadcast(&shared->wake);
    while (shared->users > 1)
        if (pthread_cond_timedwait(&shared->wake, &shared->mutex, &until) == ETIMEDOUT)
            break;
    pthread_mutex_unlock(&shared->mutex);
    deliver_finished(disk);
    /* The rest is in the hands of workers that hang, and theirs to free. */
    while ((op = TAILQ_FIRST(&disk->by_age))) {
        TAILQ_REMOVE(&disk->by_age, op, by_age);
        if (op->done)
            op->done(ECANCELED, NULL, op->context);
    }
    pthread_mutex_lock(&shared->mutex);
    leave_shared(shared);
    free(disk);
}

static struct operation *new_operation(enum operation_kind kind, const char *root, const char *path, disk_done_fn done,
                                       void *context)
{
    struct operation *op = alloc_zero(1, sizeof(*op));

    op->kind = kind;
    op->root_len = strlen(root);
    if (asprintf(&op->path, "%s/%s", root, path) < 0)
        abort();
    op->done = done;
    op->context = context;
    op->started_ms = clock_monotonic_ms();
    return op;
}

static void submit(struct disk *disk, struct operation *op)
{
    TAILQ_INSERT_TAIL(&disk->by_age, op, by_age);
    pthread_mutex_lock(&disk->shared->mutex);
    TAILQ_INSERT_TAIL(&disk->shared->todo, op, link);
    pthread_cond_signal(&disk->shared->wake);
    pthread_mutex_unlock(&disk->shared->mutex);
}

void disk_write(struct disk *disk, const struct disk_write *write_request, disk_done_fn done, void *context)
{
    struct operation *op = new_operation(OPERATION_WRITE, write_request->root, write_request->path, done, context);

    op->blob = blob_ref(write_request->blob);
    op->sync = write_request->sync;
    op->not_after_ms = write_request->not_after_ms;
    submit(disk, op);
}

void disk_read(struct disk *disk, const char *root, const char *path, size_t max_bytes, disk_done_fn done,
               void *context)
{
    struct operation *op = new_operation(OPERATION_READ, root, path, done, context);

    op->max_bytes = max_bytes;
    submit(disk, op);
}

void disk_remove(struct disk *disk, const char *root, const char *path, disk_done_fn done, void *context)
{
    submit(disk, new_operation(OPERATION_REMOVE, root, path, done, context));
}

int64_t disk_waiting_ms(const struct disk *disk)
{
    const struct operation *oldest = TAILQ_FIRST(&disk->by_age);

    return oldest ? clock_monotonic_ms() - oldest->started_ms : 0;
}
