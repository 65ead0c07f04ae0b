/* How many watch, until it is over. Every process asks every now and then; the script lets one of them count and
 * publish. */
#include "room.h"
#include "table.h"

#include "libcommon/backoff.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <stdio.h>

static int count_broadcast(const char *id, void *value, void *context)
{
    struct broadcast *broadcast = value;
    struct chat *chat = broadcast->chat;
    char least_ms[24];

    if (broadcast->connections == 0 || broadcast->is_over || !redis_link_is_up(broadcast->shard->redis))
        return 0;
    snprintf(least_ms, sizeof(least_ms), "%lld", (long long)chat->config.presence_ms);
    redis_link_script(broadcast->shard->redis, &script_chat_presence, NULL, NULL, 2, (const char *[]){id, least_ms},
                      NULL);
    return 0;
}

void presence_tick(struct chat *chat, int64_t now_ms)
{
    if (now_ms < chat->presence_due_ms)
        return;
    /* A little less than the script allows, and never in step with the others. */
    chat->presence_due_ms =
        now_ms + chat->config.presence_ms * 3 / 4 + random_below((uint32_t)chat->config.presence_ms / 4 + 1);
    table_each(chat->broadcasts, count_broadcast, NULL);
}
