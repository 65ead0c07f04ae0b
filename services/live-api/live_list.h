/* Who is live, for the front page: read from Redis alone, so that it is right within half a second and stays right
 * without MySQL; at most twice a second however many ask. Loop thread only. */
#pragma once

#include "live_api.h"

struct live_list;

struct live_list *live_list_create(struct live_api *api);
/* The link is down already: nobody waits any more. */
void live_list_destroy(struct live_list *list);
/* `views` (newest first, valid during the call), or NULL: Redis is away. May be called before live_list_get returns. */
typedef void (*live_list_fn)(const struct broadcast_view *views, size_t count, void *context);
void live_list_get(struct live_list *list, live_list_fn callback, void *context);
