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

struct gift_delivery {
    struct live_api *api;
    struct outbox_batch *batch;
};

static void finish(struct gift_delivery *delivery, enum outbox_result result, const char *why)
{
    if (result == OUTBOX_RETRY) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "gifts.delayed", log_int("count", (int64_t)delivery->batch->count),
                    log_str("why", why));
    }
    outbox_batch_settle(delivery->batch, result);
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
    const struct outbox_batch *batch = delivery->batch;
    const char *args[1 + 3 * BATCH_MAX];
    char ids[BATCH_MAX][24], not_after[24];

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        finish(delivery, OUTBOX_RETRY, redis_link_strerror(code));
        return;
    }
    snprintf(not_after, sizeof(not_after), "%lld",
             atoll(reply->element[0]->str) * 1000 + atoll(reply->element[1]->str) / 1000 +
                 (long long)outbox_batch_left_ms(batch));
    args[0] = not_after;
    for (size_t i = 0; i < batch->count; i++) {
        snprintf(ids[i], sizeof(ids[i]), "%lld", (long long)batch->entries[i].id);
        args[1 + 3 * i] = ids[i];
        args[2 + 3 * i] = batch->entries[i].subject;
        args[3 + 3 * i] = batch->entries[i].payload + 1; /* without its brace: the script puts id and time in front */
    }
    redis_link_script(delivery->api->chat_redis, &script_chat_deliver, on_delivered, delivery,
                      1 + 3 * (int)batch->count, args, NULL);
}

static void deliver(struct outbox_batch *batch, void *context)
{
    struct gift_delivery *delivery = alloc_zero(1, sizeof(*delivery));

    delivery->api = context;
    delivery->batch = batch;
    redis_link_command(delivery->api->chat_redis, on_time, delivery, 1, (const char *[]){"TIME"}, NULL);
}

static void forget(const struct outbox_entry *entries, size_t count, void *context)
{
    struct live_api *api = context;
    char key[KEY_MAX], id[24];

    for (size_t i = 0; i < count; i++) {
        snprintf(id, sizeof(id), "%lld", (long long)entries[i].id);
        redis_link_command(api->chat_redis, NULL, NULL, 3,
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
