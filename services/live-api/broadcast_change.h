/* A broadcast's state reaches MySQL together with all that follows from it, in one transaction: the row, and at the
 * first `live` the notice for the followers and the announcement in the outbox; at the events of webhooks, deliveries.
 * Whoever dies in the middle has done nothing, and the next one does it. On database workers only. */
#pragma once

#include "live_api.h"

struct db_connection;

/* `announced`: this was the one time that the broadcast was announced. 0 or a db_error. */
int broadcast_change_save(struct db_connection *connection, const struct live_api *api,
                          const struct broadcast_view *view, bool *announced);
