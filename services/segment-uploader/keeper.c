/* The keeper of every broadcast's clock: silence becomes `suspended`, a grace that is over `ended`, by a script that
 * all uploaders call all the time; each change happens once. Works with nothing but Redis. */
#include "services/segment-uploader/uploader.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"

#include "proto/scripts.h"
#include <event2/event.h>
#include <hiredis/hiredis.h>

#include <string.h>

#define EVERY_MS  200
#define MOST_EACH "200"
/* After a loss of Redis: so long until every ingest has it back, too, and has said what is on air. */
#define AFTER_LOSS_MS 2000

struct keeper {
    struct uploader *uploader;
    struct event *timer;
    bool is_asking, was_up;
    int64_t not_before_ms;
};

/* {suspended ids…, "|", ended ids…} */
static void on_expired(int code, const struct redisReply *reply, void *context)
{
    struct keeper *keeper = context;
    bool ended = false;

    keeper->is_asking = false;
    if (code != 0 || reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < reply->elements; i++) {
        const char *text = reply->element[i]->str;

        if (text && strcmp(text, "|") == 0)
            ended = true;
        else if (ended && id_is_valid(text))
            claimer_on_ended(keeper->uploader->claimer, text);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct keeper *keeper = context;

    if (keeper->is_asking || !redis_link_is_up(keeper->uploader->state) || clock_monotonic_ms() < keeper->not_before_ms)
        return;
    keeper->is_asking = true;
    redis_link_script(keeper->uploader->state, &script_watch_expire, on_expired, keeper, 1, (const char *[]){MOST_EACH},
                      NULL);
}

/* While Redis was away nobody could say that media came: what looks silent then is not. */
void keeper_on_redis_up(struct keeper *keeper)
{
    if (keeper->was_up)
        keeper->not_before_ms = clock_monotonic_ms() + AFTER_LOSS_MS;
    keeper->was_up = true;
}

struct keeper *keeper_create(struct uploader *uploader)
{
    struct keeper *keeper = alloc_zero(1, sizeof(*keeper));
    struct timeval every = {0, EVERY_MS * 1000};

    keeper->uploader = uploader;
    keeper->timer = event_new(uploader->loop, -1, EV_PERSIST, on_tick, keeper);
    event_add(keeper->timer, &every);
    return keeper;
}

void keeper_destroy(struct keeper *keeper)
{
    if (!keeper)
        return;
    event_free(keeper->timer);
    free(keeper);
}
