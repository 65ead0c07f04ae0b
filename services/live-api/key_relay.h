/* A renewed stream key to Redis, whatever dies on the way: an outbox row of the transaction that renews it. Whoever
 * renewed it also tells Redis at once, before the owner is answered; the relay tells it again, which does no harm, and
 * is what is left when that process was killed or Redis away. */
#pragma once

#include "live_api.h"

struct db_connection;
struct outbox_relay;

struct outbox_relay *key_relay_create(struct live_api *api);
/* On a database worker, inside the transaction. 0 or a db_error. */
int key_relay_insert(struct db_connection *connection, const char *broadcast_id);
