/* A broadcast as callers see it: the row, overlaid with what Redis says now. */
#include "live_api.h"

#include "libcommon/clock.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_time(json_t *object, const char *name, int64_t time_ms)
{
    json_object_set_new(object, name, time_ms > 0 ? json_integer(time_ms) : json_null());
}

json_t *broadcast_view_to_json(const struct live_api *api, const struct broadcast_view *view, bool for_owner)
{
    char playback[300], thumbnail[300], chat[120], status[120], key[STREAM_KEY_SIZE];
    const struct playback_signer signer = live_api_signer(api);
    int64_t now_s = clock_wall_ms() / 1000;

    playback_url_make(&signer, view->id, now_s, "master.m3u8", playback, sizeof(playback));
    playback_url_make(&signer, view->id, now_s, "thumbnail.jpg", thumbnail, sizeof(thumbnail));
    snprintf(chat, sizeof(chat), "/chat/v1/broadcasts/%s", view->id);
    snprintf(status, sizeof(status), "/status/v1/broadcasts/%s", view->id);
    json_t *object = json_pack("{s:s,s:s,s:I,s:s,s:{s:s,s:s},s:s,s:s,s:s,s:s}", "id", view->id, "state",
                               broadcast_state_name(view->state), "version", (json_int_t)view->version, "title",
                               view->title, "owner", "id", view->owner_id, "name", view->owner_name, "playback_url",
                               playback, "thumbnail_url", thumbnail, "chat_url", chat, "status_url", status);
    if (!object)
        abort();
    if (view->is_private && !for_owner) {
        /* A signature over the broadcast's folder would open the recording too. */
        json_object_set_new(object, "playback_url", json_null());
        json_object_set_new(object, "thumbnail_url", json_null());
    }
    set_time(object, "created_at_ms", view->created_at_ms);
    set_time(object, "live_at_ms", view->live_at_ms);
    set_time(object, "ended_at_ms", view->ended_at_ms);
    if (for_owner && view->key_sealed_len > 0 &&
        secret_open(api, view->key_sealed, view->key_sealed_len, key, sizeof(key)) == 0) {
        json_object_set_new(object, "stream_key", json_string(key));
        json_object_set_new(object, "rtmp_url", json_string(api->config.rtmp_url));
    }
    return object;
}

static const char *text_of(const redisReply *reply, size_t i)
{
    return reply->element[i]->type == REDIS_REPLY_STRING ? reply->element[i]->str : "";
}

static void take_text(const redisReply *reply, size_t i, char *out, size_t out_size)
{
    if (text_of(reply, i)[0])
        snprintf(out, out_size, "%s", text_of(reply, i));
}

static void take_time(const redisReply *reply, size_t i, int64_t *out)
{
    if (text_of(reply, i)[0])
        *out = atoll(text_of(reply, i));
}

bool broadcast_view_overlay(struct broadcast_view *view, const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 9)
        return false;
    enum broadcast_state state = broadcast_state_from_name(text_of(reply, 0));
    int64_t version = atoll(text_of(reply, 1));

    if (state == BROADCAST_UNKNOWN)
        return false;
    take_text(reply, 2, view->title, sizeof(view->title));
    take_text(reply, 3, view->owner_id, sizeof(view->owner_id));
    take_text(reply, 4, view->owner_name, sizeof(view->owner_name));
    view->is_private = view->is_private || strcmp(text_of(reply, 8), "private") == 0;
    if (version >= view->version) {
        view->state = state;
        view->version = version;
        take_time(reply, 5, &view->created_at_ms);
        take_time(reply, 6, &view->live_at_ms);
        take_time(reply, 7, &view->ended_at_ms);
    }
    return true;
}

void broadcast_view_fetch(struct live_api *api, const char *id, redis_link_fn callback, void *context)
{
    char key[KEY_MAX];

    redis_link_command(api->redis, callback, context, 11,
                       (const char *[]){"HMGET", key_of(key, KEY_BROADCAST, id), "state", "version", "title",
                                        "owner_id", "owner_name", "created_at_ms", "live_at_ms", "ended_at_ms",
                                        "visibility"},
                       NULL);
}
