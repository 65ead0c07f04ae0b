/* The request is shared by the loop and its thread; whoever lets go last frees it, so that a cancelled look-up may hang
 * as long as it likes without anybody waiting for it. */
#include "libcommon/resolver.h"

#include "libcommon/alloc.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct resolver_request {
    atomic_int references;
    int done_fd;
    char *host;
    char service[8];
    /* Written by the thread before it signals done_fd, read by the loop afterwards. */
    int code;
    struct addrinfo *addresses;
    /* Loop only. */
    struct event *done;
    resolver_fn callback;
    void *context;
};

static void request_unref(struct resolver_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) > 1)
        return;
    if (request->addresses)
        freeaddrinfo(request->addresses);
    close(request->done_fd);
    free(request->host);
    free(request);
}

static void *look_up(void *argument)
{
    struct resolver_request *request = argument;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};

    request->code = getaddrinfo(request->host, request->service, &hints, &request->addresses);
    /* A write of 8 bytes to a fresh eventfd cannot fail or block. */
    if (eventfd_write(request->done_fd, 1) != 0)
        abort();
    request_unref(request);
    return NULL;
}

static void on_done(evutil_socket_t fd, short events, void *context)
{
    struct resolver_request *request = context;
    eventfd_t count;

    if (eventfd_read(fd, &count) != 0)
        return;
    event_free(request->done);
    request->done = NULL;
    request->callback(request->code, request->code == 0 ? request->addresses : NULL, request->context);
    request_unref(request);
}

struct resolver_request *resolver_start(struct event_base *loop, const char *host, int port, resolver_fn callback,
                                        void *context)
{
    struct resolver_request *request = alloc_zero(1, sizeof(*request));
    pthread_attr_t attributes;
    pthread_t thread;

    request->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (request->done_fd < 0) {
        free(request);
        return NULL;
    }
    request->host = alloc_string(host);
    snprintf(request->service, sizeof(request->service), "%d", port & 0xffff);
    request->callback = callback;
    request->context = context;
    atomic_init(&request->references, 2);
    request->done = event_new(loop, request->done_fd, EV_READ, on_done, request);
    if (!request->done)
        abort();
    event_add(request->done, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, look_up, request);
    pthread_attr_destroy(&attributes);
    if (failed) {
        request_unref(request);
        resolver_cancel(request);
        return NULL;
    }
    return request;
}

void resolver_cancel(struct resolver_request *request)
{
    if (!request)
        return;
    event_free(request->done);
    request->done = NULL;
    request_unref(request);
}
