/* From a URL to a connection that can be used: Sentinel is asked afresh, then AUTH, SELECT, CLIENT SETNAME and PING
 * must succeed (PING, since a Redis that is still loading its data answers the others), and behind Sentinel ROLE must
 * say master. What redis_link.c and subscriber.c share. Loop thread only. */
#pragma once

#include "libcommon/redis_url.h"

#include <stdint.h>

struct event_base;
struct redis_connection;
struct redis_dial;

/* `connection` belongs to the callee, who sets its handlers at once; NULL: `why` is a phrase for logs. `address` is
 * where it leads, or led (may be NULL). */
typedef void (*redis_dial_fn)(struct redis_connection *connection, const struct redis_address *address, const char *why,
                              void *context);

/* Exactly one callback, within timeout_ms for Sentinel and timeout_ms for the connection, never before this returns.
 * `url` must live as long; `name` is copied. */
struct redis_dial *redis_dial_start(struct event_base *loop, const struct redis_url *url, const char *name,
                                    int64_t timeout_ms, redis_dial_fn callback, void *context);
/* No callback any more. NULL is fine. */
void redis_dial_cancel(struct redis_dial *dial);
