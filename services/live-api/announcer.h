/* `broadcast.live` on CHANNEL_ANNOUNCE: an outbox row of the transaction that saves the first `live`, published by the
 * relay of whichever process gets to it. At least once per broadcast: whoever dies between the PUBLISH and the row's
 * end has it published again. */
#pragma once

#include "live_api.h"

struct db_connection;
struct outbox_relay;

struct outbox_relay *announcer_create(struct live_api *api);
/* On a database worker, inside the transaction. 0 or a db_error. */
int announcer_insert(struct db_connection *connection, const struct live_api *api, const struct broadcast_view *view);
