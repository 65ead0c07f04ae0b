/* From the outbox into the chat: each gift stands in its broadcast's log once, whatever dies on the way.
 *
 * An entry and its id in KEY_CHAT_DELIVERED are made in one step, and the id stays until the entry's row is gone from
 * the outbox: so a repetition finds it. It is forgotten only then, which bounds the set; that nobody delivers after
 * that is Redis' own to see, since the script refuses what comes after the batch's lease. What Redis' clock says when
 * that is comes from a question first. */
#include "libcommon/alloc.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "live_api.h"
#include "outbox.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 50
#define LEASE_MS  5000 /* a gift in the hands of a process that is killed comes so late */

/* What of a batch goes to one chat Redis. */
struct gift_delivery {
    struct redis_link *redis;
    struct outbox_batch *batch;
    size_t entries[BATCH_MAX]; /* by index */
    size_t count;
};

static void finish(struct gift_delivery *delivery, enum outbox_result result, const char *why)
{
    if (result == OUTBOX_RETRY) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "gifts.delayed", log_int("count", (int64_t)delivery->count),
                    log_str("why", why));
    }
    for (size_t i = 0; i < delivery->count; i++)
        outbox_entry_settle(delivery->batch, delivery->entries[i], result);
    free(delivery);
}

static void on_delivered(int code, const redisReply *reply, void *context)
{
    if (code != 0 || reply->type != REDIS_REPLY_INTEGER)
        finish(context, OUTBOX_RETRY, redis_link_strerror(code));
    else if (reply->integer < 0)
        finish(context, OUTBOX_RETRY, "the lease is over");
    else
        finish(context, OUTBOX_DELIVERED, NULL);
}

static void on_time(int code, const redisReply *reply, void *context)
{
    struct gift_delivery *delivery = context;
    const char *args[1 + 3 * BATCH_MAX];
    char ids[BATCH_MAX][24], not_after[24];

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        finish(delivery, OUTBOX_RETRY, redis_link_strerror(code));
        return;
    }
    snprintf(not_after, sizeof(not_after), "%lld",
             atoll(reply->element[0]->str) * 1000 + atoll(reply->element[1]->str) / 1000 +
                 (long long)outbox_batch_left_ms(delivery->batch));
    args[0] = not_after;
    for (size_t i = 0; i < delivery->count; i++) {
        const struct outbox_entry *entry = &delivery->batch->entries[delivery->entries[i]];

        snprintf(ids[i], sizeof(ids[i]), "%lld", (long long)entry->id);
        args[1 + 3 * i] = ids[i];
        args[2 + 3 * i] = entry->subject;
        args[3 + 3 * i] = entry->payload + 1; /* without its brace: the script puts id and time in front */
    }
    redis_link_script(delivery->redis, &script_chat_deliver, on_delivered, delivery, 1 + 3 * (int)delivery->count, args,
                      NULL);
}

static void deliver(struct outbox_batch *batch, void *context)
{
    struct live_api *api = context;
    struct gift_delivery *deliveries[REDIS_SHARDS_MAX] = {NULL};

    for (size_t i = 0; i < batch->count; i++) {
        size_t shard = redis_shard_of(batch->entries[i].subject, api->chat_redis.count);

        if (!deliveries[shard]) {
            deliveries[shard] = alloc_zero(1, sizeof(*deliveries[shard]));
            deliveries[shard]->redis = api->chat_redis.links[shard];
            deliveries[shard]->batch = batch;
        }
        deliveries[shard]->entries[deliveries[shard]->count++] = i;
    }
    /* The batch may be gone when the last one calls back, even before the call returns. */
    for (size_t shard = 0; shard < REDIS_SHARDS_MAX; shard++)
        if (deliveries[shard])
            redis_link_command(deliveries[shard]->redis, on_time, deliveries[shard], 1, (const char *[]){"TIME"}, NULL);
}

static void forget(const struct outbox_entry *entries, size_t count, void *context)
{
    struct live_api *api = context;
    char key[KEY_MAX], id[24];

    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "%lld", (long long)entries[i].id);
        redis_link_command(redis_shards_link(&api->chat_redis, entries[i].subject), NULL, NULL, 3,
                           (const char *[]){"SREM", key_of(key, KEY_CHAT_DELIVERED, entries[i].subject), id}, NULL);
    }
}

struct outbox_relay *gift_relay_create(struct live_api *api)
{
    return outbox_relay_create(api, &(struct outbox_options){.kind = "gift",
                                                             .batch = BATCH_MAX,
                                                             .lease_ms = LEASE_MS,
                                                             .deliver = deliver,
                                                             .on_gone = forget,
                                                             .context = api});
}
