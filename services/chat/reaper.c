/* Places of processes that died. Any live one gives them back; repeating it is harmless. */
#include "audience_log.h"
#include "chat.h"
#include "room.h"

#include "libcommon/backoff.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

static void on_reaped(int code, const struct redisReply *reply, void *context)
{
    struct chat *chat = context;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < reply->elements; i++) {
        log_warn("chat.instance_reaped", log_str("gone", reply->element[i]->str));
        audience_log_gone(chat, reply->element[i]->str);
    }
    metric_add(chat->metrics.reaped, (double)reply->elements);
}

void reaper_tick(struct chat *chat, int64_t now_ms)
{
    char deaf_ms[24];

    if (now_ms < chat->reap_due_ms)
        return;
    chat->reap_due_ms = now_ms + chat->config.reap_ms / 4 + random_below((uint32_t)chat->config.reap_ms / 4 + 1);
    snprintf(deaf_ms, sizeof(deaf_ms), "%lld", (long long)chat->config.reap_ms);
    for (size_t i = 0; i < chat->shard_count; i++)
        if (redis_link_is_up(chat->shards[i].redis))
            redis_link_script(chat->shards[i].redis, &script_chat_reap, on_reaped, chat, 2,
                              (const char *[]){service_instance(chat->service), deaf_ms}, NULL);
}
