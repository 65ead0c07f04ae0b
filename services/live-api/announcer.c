#include "announcer.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "outbox.h"
#include "proto/keys.h"

#include <stdlib.h>

#define KIND "announce"

struct publication {
    struct outbox_batch *batch;
    size_t index;
};

int announcer_insert(struct db_connection *connection, const struct live_api *api, const struct broadcast_view *view)
{
    const struct playback_signer signer = live_api_signer(api);
    char playback[PLAYBACK_URL_SIZE];

    playback_url_make(&signer, view->id, clock_wall_ms() / 1000, "master.m3u8", playback, sizeof(playback));
    json_t *body = json_pack("{s:s,s:s,s:s,s:{s:s,s:s},s:s,s:I}", "type", "broadcast.live", "id", view->id, "title",
                             view->title, "owner", "id", view->owner_id, "name", view->owner_name, "playback_url",
                             playback, "at_ms", (json_int_t)view->live_at_ms);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        abort();
    int code = outbox_insert(connection, KIND, view->id, text);

    free(text);
    json_decref(body);
    return code;
}

static void on_published(int code, const struct redisReply *reply, void *context)
{
    struct publication *publication = context;

    if (code == 0)
        log_info("broadcast.announced", log_str("broadcast", publication->batch->entries[publication->index].subject));
    outbox_entry_settle(publication->batch, publication->index, code == 0 ? OUTBOX_DELIVERED : OUTBOX_RETRY);
    free(publication);
}

static void deliver(struct outbox_batch *batch, void *context)
{
    struct live_api *api = context;
    size_t count = batch->count; /* with the last one settled the batch may be gone */

    for (size_t i = 0; i < count; i++) {
        struct publication *publication = alloc_zero(1, sizeof(*publication));

        publication->batch = batch;
        publication->index = i;
        redis_link_command(api->redis, on_published, publication, 3,
                           (const char *[]){"PUBLISH", CHANNEL_ANNOUNCE, batch->entries[i].payload}, NULL);
    }
}

struct outbox_relay *announcer_create(struct live_api *api)
{
    return outbox_relay_create(api, &(struct outbox_options){.kind = KIND, .deliver = deliver, .context = api});
}
