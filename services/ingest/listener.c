/* See listener.h. Out of file descriptors, accepting rests for a moment: the waiting connection would wake the loop
 * again and again. */
#include "services/ingest/listener.h"

#include "services/ingest/address_table.h"
#include "services/ingest/connection.h"
#include "services/ingest/ingest.h"
#include "services/ingest/tls.h"
#include "services/ingest/wheel.h"

#include "libcommon/alloc.h"
#include "libcommon/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024

struct listener {
    struct ingest *ingest;
    struct tls *tls;
    struct evconnlistener *acceptor;
    struct event *rest;
};

static void refuse(struct listener *listener, int fd, enum close_reason reason)
{
    static struct log_limiter limiter = LOG_LIMITER(1000);

    log_limited(&limiter, LOG_LEVEL_WARN, "connection.refused", log_str("reason", close_reason_text(reason)->name));
    ingest_count(listener->ingest, reason, false);
    close(fd);
}

static void on_accept(struct evconnlistener *acceptor, evutil_socket_t fd, struct sockaddr *peer, int len,
                      void *context)
{
    struct listener *listener = context;
    struct ingest *ingest = listener->ingest;
    uint8_t address[ADDRESS_KEY_SIZE];

    address_key(peer, address);
    if (wheel_items(ingest->wheel) >= (unsigned)ingest->config->max_connections)
        refuse(listener, fd, CLOSE_TOO_MANY_CONNECTIONS);
    else if (address_table_add(ingest->addresses, address, (unsigned)ingest->config->max_connections_per_address) != 0)
        refuse(listener, fd, CLOSE_TOO_MANY_FROM_ADDRESS);
    else
        connection_accept(ingest, fd, peer, listener->tls ? tls_context(listener->tls) : NULL);
}

static void on_accept_error(struct evconnlistener *acceptor, void *context)
{
    static const struct timeval moment = {0, 100000};
    static struct log_limiter limiter = LOG_LIMITER(5000);
    struct listener *listener = context;

    log_limited(&limiter, LOG_LEVEL_ERROR, "accept.failed", log_str("why", strerror(EVUTIL_SOCKET_ERROR())));
    evconnlistener_disable(acceptor);
    evtimer_add(listener->rest, &moment);
}

static void on_rested(evutil_socket_t fd, short events, void *context)
{
    struct listener *listener = context;

    evconnlistener_enable(listener->acceptor);
}

static int make_address(const struct config_listen *listen, struct sockaddr_storage *out)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, listen->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(listen->port);
        return sizeof(*v4);
    }
    if (inet_pton(AF_INET6, listen->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(listen->port);
        return sizeof(*v6);
    }
    errno = EADDRNOTAVAIL;
    return -1;
}

struct listener *listener_create(struct ingest *ingest, const struct config_listen *listen, struct tls *tls)
{
    struct sockaddr_storage address;
    int len = make_address(listen, &address);
    struct listener *listener;

    if (len < 0)
        return NULL;
    listener = alloc_zero(1, sizeof(*listener));
    listener->ingest = ingest;
    listener->tls = tls;
    listener->acceptor = evconnlistener_new_bind(ingest->loop, on_accept, listener,
                                                 LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE |
                                                     LEV_OPT_REUSEABLE_PORT,
                                                 BACKLOG, (const struct sockaddr *)&address, len);
    if (!listener->acceptor) {
        free(listener);
        return NULL;
    }
    listener->rest = evtimer_new(ingest->loop, on_rested, listener);
    if (!listener->rest)
        abort();
    evconnlistener_set_error_cb(listener->acceptor, on_accept_error);
    return listener;
}

void listener_destroy(struct listener *listener)
{
    if (!listener)
        return;
    event_free(listener->rest);
    evconnlistener_free(listener->acceptor);
    free(listener);
}
