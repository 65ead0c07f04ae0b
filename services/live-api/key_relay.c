#include "key_relay.h"

#include "broadcast_seed.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "outbox.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

#define KIND "stream_key"

/* The entry says only which broadcast: what is told is the row as it is by then. */
struct key_delivery {
    struct live_api *api;
    struct outbox_batch *batch;
    size_t index;
    struct broadcast_seed seed;
    bool found;
    int code;
};

int key_relay_insert(struct db_connection *connection, const char *broadcast_id)
{
    return outbox_insert(connection, KIND, broadcast_id, "");
}

static void settle(struct key_delivery *delivery, enum outbox_result result, const char *why)
{
    if (result == OUTBOX_RETRY) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "stream_key.delayed",
                    log_str("broadcast", delivery->batch->entries[delivery->index].subject), log_str("why", why));
    }
    outbox_entry_settle(delivery->batch, delivery->index, result);
    free(delivery);
}

static void on_seeded(int code, const redisReply *reply, void *context)
{
    struct broadcast_seeded seeded;

    if (code != 0)
        settle(context, OUTBOX_RETRY, redis_link_strerror(code));
    else if (broadcast_seeded_read(reply, &seeded) != 0)
        settle(context, OUTBOX_RETRY, "not an answer of the script");
    else
        settle(context, OUTBOX_DELIVERED, NULL);
}

static void run(struct db_connection *connection, void *context)
{
    struct key_delivery *delivery = context;
    const char *id = delivery->batch->entries[delivery->index].subject;

    delivery->code = broadcast_seed_load(connection, id, &delivery->seed, &delivery->found);
}

static void done(int code, void *context)
{
    struct key_delivery *delivery = context;

    code = code != 0 ? code : delivery->code;
    if (code != 0)
        settle(delivery, OUTBOX_RETRY, db_strerror(code));
    else if (!delivery->found || !delivery->seed.key_hash[0])
        settle(delivery, OUTBOX_DELIVERED, NULL); /* over meanwhile: it has no key any more */
    else
        broadcast_seed_send(delivery->api, &delivery->seed, "restored", on_seeded, delivery);
}

static void deliver(struct outbox_batch *batch, void *context)
{
    size_t count = batch->count; /* with the last one settled the batch may be gone */

    for (size_t i = 0; i < count; i++) {
        struct key_delivery *delivery = alloc_zero(1, sizeof(*delivery));

        delivery->api = context;
        delivery->batch = batch;
        delivery->index = i;
        if (live_api_submit(delivery->api, run, done, delivery) != 0)
            done(DB_FULL, delivery);
    }
}

struct outbox_relay *key_relay_create(struct live_api *api)
{
    return outbox_relay_create(api, &(struct outbox_options){.kind = KIND, .deliver = deliver, .context = api});
}
