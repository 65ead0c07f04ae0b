/* Who is the master now? Asks all sentinels of a URL at once and believes the one with the newest configuration epoch,
 * since a sentinel that was cut off goes on naming the old master. Loop thread only. */
#pragma once

#include "libcommon/redis_url.h"

#include <stdint.h>

struct event_base;
struct redis_sentinel_query;

/* `master` is NULL when no sentinel named one; then `why` is a phrase for logs. */
typedef void (*redis_sentinel_fn)(const struct redis_address *master, const char *why, void *context);

/* Exactly one callback, within timeout_ms, never before this returns. `url` must live as long. */
struct redis_sentinel_query *redis_sentinel_ask(struct event_base *loop, const struct redis_url *url,
                                                int64_t timeout_ms, redis_sentinel_fn callback, void *context);
/* No callback any more. NULL is fine. */
void redis_sentinel_cancel(struct redis_sentinel_query *query);
