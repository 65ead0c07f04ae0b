/* One connection to one Redis (or Sentinel), from name look-up to close: bytes out, replies in, nothing else. It knows
 * no deadlines, no reconnecting and no hand-shake: see redis_dial.h, redis_link.h, subscriber.h.
 *
 * hiredis formats the commands and reads the replies, but its asynchronous context is not used: that one has no
 * timeouts, drops PONGs of a subscribed connection, and asserts when it is freed or unsubscribed at the wrong moment.
 * Loop thread only. */
#pragma once

#include "libcommon/redis_url.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct redis_connection;
struct redisReply;

struct redis_connection_handlers {
    void (*on_open)(void *context); /* after TLS' hand-shake, where there is TLS; may be NULL */
    /* `reply` is valid during the call. */
    void (*on_reply)(const struct redisReply *reply, void *context);
    /* Once, for every end that redis_connection_free did not make; free it then. `why` is a phrase for logs. */
    void (*on_closed)(const char *why, void *context);
};

/* Never calls a handler before it returns. Copies `address` and `tls`, whose CA file is read once the line stands. */
struct redis_connection *redis_connection_open(struct event_base *loop, const struct redis_address *address,
                                               const struct redis_tls *tls,
                                               const struct redis_connection_handlers *handlers, void *context);
/* At any time, also inside its handlers; no handler is called any more. NULL is fine. */
void redis_connection_free(struct redis_connection *connection);
/* Inside on_reply, at most once: the reply becomes the caller's (freeReplyObject). */
struct redisReply *redis_connection_take_reply(struct redis_connection *connection);
/* For whoever takes the connection over. */
void redis_connection_set_handlers(struct redis_connection *connection,
                                   const struct redis_connection_handlers *handlers, void *context);
/* After each read, replies wait this long before the next: a stream of small answers then costs a few wake-ups instead
 * of one each. 0 (at first): they are read at once. */
void redis_connection_set_reply_pause(struct redis_connection *connection, int64_t pause_ms);
/* Queues a command; all of one turn of the loop leave with one write. `lens` NULL: strings. */
void redis_connection_send(struct redis_connection *connection, int count, const char *const *args, const size_t *lens);
/* The same for a command in the protocol's form; takes `command` (made by malloc, as hiredis does). */
void redis_connection_send_take(struct redis_connection *connection, char *command, size_t len_bytes);
/* The same for one that was written in place: `len_bytes` from `offset` of `memory`, which is taken (made by malloc).
 * Never copied, whatever its size. */
void redis_connection_send_memory(struct redis_connection *connection, void *memory, size_t offset, size_t len_bytes);
