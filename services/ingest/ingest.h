/* The state of one ingest process. Loop thread only.
 *
 * How an RTMP packet travels: listener.c accepts -> connection.c reads (through line.c) -> rtmp_session.c: handshake,
 * rtmp_chunk.c makes messages of chunks, rtmp_command.c answers commands -> publisher.c, the seam -> media_guard.c
 * -> ring_writer.c: groups into the media Redis. */
#pragma once

#include "services/ingest/close_reason.h"
#include "services/ingest/config.h"
#include "services/ingest/ring_writer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct address_table;
struct connection;
struct db;
struct event_base;
struct listener;
struct metric;
struct publisher;
struct redis_link;
struct service;
struct session_registry;
struct subscriber;
struct tls;
struct wheel;

struct ingest_metrics {
    struct metric *connections, *publishers, *received_bytes;
    struct metric *refused[CLOSE_REASONS], *closes[CLOSE_REASONS];
};

struct ingest {
    struct service *service;
    struct event_base *loop;
    const struct ingest_config *config;
    struct config_listen rtmps;
    struct redis_link *state, *media; /* the same one when there is one Redis */
    struct subscriber *subscriber;
    char ping_channel[256];
    struct db *db;
    struct session_registry *registry;
    struct ring_writer_pool pool;
    struct tls *tls; /* NULL without RTMPS */
    struct listener *rtmp_listener, *rtmps_listener;
    struct address_table *addresses;
    struct wheel *wheel;
    LIST_HEAD(, publisher) publishers;
    struct ingest_metrics metrics;
};

/* Counts it under its name: as refused when it never published, else as closed. */
void ingest_count(struct ingest *ingest, enum close_reason reason, bool has_published);
