/* The public port: a small HTTP/1.1 server for one kind of GET, made for bursts. It speaks to sockets itself, since the
 * cost of a general server is many times that of this answer: one read and one write for all requests that a
 * connection has pipelined, no allocation while a client keeps up, all connections in one epoll descriptor that hangs
 * in the libevent loop.
 *
 * Bounds: connections (the longest idle one makes room, metric), 8 KiB of a request's head, what slow clients make us
 * keep, 10 s to deliver it or to take an answer, 60 s idle. Several processes may share the port (SO_REUSEPORT). Loop
 * thread only. */
#pragma once

#include "libcommon/config.h"
#include "services/burst-status/retry_policy.h"
#include "services/burst-status/status_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct metrics;
struct status_server;

struct status_server_options {
    const struct status_table *table;
    struct retry_policy *policy;
    size_t max_connections;
    struct metrics *metrics;
    /* False while an id that the table does not have may well exist: then 503 instead of 404. */
    bool (*knows_all)(void *context);
    /* After status_server_drain: the last connection is gone. */
    void (*on_drained)(void *context);
    void *context;
};

/* Listens at once. NULL when the address is not to be had (errno says why). */
struct status_server *status_server_create(struct event_base *loop, const struct config_listen *listen,
                                           const struct status_server_options *options);
void status_server_destroy(struct status_server *server);
uint16_t status_server_port(const struct status_server *server);
/* Takes no new connections, closes the idle ones, closes each other one behind its next answer. */
void status_server_drain(struct status_server *server);
