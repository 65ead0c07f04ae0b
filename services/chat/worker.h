/* A websocket worker: a thread with a libuv loop, an lws context and a listening socket of its own (SO_REUSEPORT).
 * It checks tokens and the form of messages, and sends; it knows nothing of Redis. */
#pragma once

#include "audience.h"
#include "connection.h"

#include <libwebsockets.h>
#include <pthread.h>
#include <uv.h>

struct chat;
struct table;

#define WHEEL_SLOTS 64

struct worker {
    struct chat *chat;
    unsigned index;
    pthread_t thread;
    bool is_started;
    struct message_queue queue; /* from the loop; any thread */

    /* --- the thread's own --- */
    uv_loop_t loop;
    uv_async_t async;
    uv_timer_t frame_timer; /* runs while an audience is dirty, until the next is due */
    uv_timer_t second_timer, drain_timer;
    uv_poll_t listen_poll;
    int listen_fd; /* -1: draining */
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct table *audiences; /* id in hex -> struct audience */
    struct audience *dirty;
    int64_t rest_until_ms;                 /* no frames before, see worker_flush() */
    struct connection *wheel[WHEEL_SLOTS]; /* a slot of connections is looked at each second */
    unsigned wheel_now, wheel_next;
    size_t connection_count;
    int64_t drain_until_ms; /* nonzero: draining */
    bool is_quitting, is_quiet;
};

/* NULL with errno when the address is not to be had. `port` 0: the one that the first worker got is in *port. */
struct worker *worker_create(struct chat *chat, unsigned index, uint16_t *port);
/* Waits for the thread to end, after MESSAGE_QUIT was pushed. */
void worker_join(struct worker *worker);
/* Frees it, and the connections that MESSAGE_GONE has come for. */
void worker_destroy(struct worker *worker);

/* --- for the files of the worker's thread --- */

void worker_want_writable(struct connection *connection, int64_t now_ms);
void worker_mark_dirty(struct audience *audience);
/* Writes to the audiences whose time for a frame has come, and comes again for the others. At most once in a turn of
 * the loop, behind what is for single connections: so nobody waits longer than for one round of frames. */
void worker_flush(struct worker *worker);
/* Nobody new; those who are here are sent away until then. */
void worker_drain(struct worker *worker, int64_t until_ms);
struct audience *worker_audience(struct worker *worker, uint64_t id, bool create);
void worker_audience_leave(struct connection *connection);

/* connection.c: the websocket's life. */
int connection_on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
/* Copies; it is written when the socket is writable. With a full private queue the connection is closed instead. */
void connection_send(struct connection *connection, const char *text, size_t len);
/* The same, written at once if that can be: not from inside of a callback of lws. */
void connection_send_now(struct connection *connection, const char *text, size_t len, int64_t now_ms);
void connection_close(struct connection *connection, int code, const char *text);
/* All that waits for it, as far as the kernel takes it, without a turn of the loop and two epoll_ctl for each write;
 * the rest when the socket is writable again. Not from inside of a callback of lws. */
void connection_write_now(struct connection *connection, int64_t now_ms);
void connection_free(struct connection *connection);
/* Closes without asking the peer: it does not read. */
void connection_kill(struct connection *connection);

/* receive.c: a whole message of a client. */
void receive_message(struct connection *connection, const char *bytes, size_t len);

/* wheel.c: keep-alive pings and slow readers, a slot a second. */
void wheel_add(struct worker *worker, struct connection *connection);
void wheel_remove(struct worker *worker, struct connection *connection);
void wheel_turn(struct worker *worker, int64_t now_ms);

/* worker_message.c: what the loop says. */
void worker_on_messages(struct worker *worker);
