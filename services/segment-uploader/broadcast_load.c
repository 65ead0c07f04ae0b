/* Where the playlist goes on. The state with the most segments counts: what this process remembers of an earlier time
 * (Redis may have been emptied), or what Redis has (another uploader may have gone on). With neither, the playlists in
 * the store tell what viewers have seen. MySQL is not asked: its rows may be late, and they say less. */
#include "services/segment-uploader/broadcast.h"

#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define MAX_PLAYLIST_BYTES 65536
#define RETRY_MS           300

static void load_from_store(struct broadcast *broadcast);

static void finish_load(struct broadcast *broadcast, const char *source)
{
    broadcast->state = BROADCAST_RUNNING;
    log_info("playlist.loaded", log_str("broadcast", broadcast->id), log_str("from", source),
             log_int("next_sequence", broadcast->playlist.next_sequence),
             log_bool("closed", broadcast->playlist.is_closed));
    broadcast->read_again = true;
    broadcast_pump(broadcast);
}

static void on_retry(evutil_socket_t fd, short what, void *context)
{
    struct broadcast *broadcast = context;

    if (broadcast_operation_ended(broadcast))
        broadcast_load(broadcast);
}

static void retry_later(struct broadcast *broadcast, const char *why)
{
    static struct log_limiter limiter = LOG_LIMITER(5000);
    struct timeval in = {0, RETRY_MS * 1000};

    log_limited(&limiter, LOG_LEVEL_WARN, "playlist.load_failed", log_str("broadcast", broadcast->id),
                log_str("why", why));
    metric_add(broadcast->uploader->metrics.retries, 1);
    broadcast_operation_began(broadcast);
    event_base_once(broadcast->uploader->loop, -1, EV_TIMEOUT, on_retry, broadcast, &in);
}

static char *text_of(const struct blob *blob)
{
    return strndup((const char *)blob->data, blob->len);
}

static void on_media_playlist(int code, const char *why, struct blob *blob, void *context)
{
    struct broadcast *broadcast = context;
    char *text;

    if (!broadcast_operation_ended(broadcast))
        return;
    if (code < 0 && code != STORE_MISSING) {
        retry_later(broadcast, why);
        return;
    }
    text = code == 0 ? text_of(blob) : NULL;
    if (text && playlist_recover_media(&broadcast->playlist, broadcast->loading_rendition, text) != 0)
        log_error("playlist.unreadable", log_str("broadcast", broadcast->id),
                  log_str("rendition", broadcast->playlist.renditions[broadcast->loading_rendition].name));
    free(text);
    broadcast->loading_rendition++;
    load_from_store(broadcast);
}

static void on_multivariant(int code, const char *why, struct blob *blob, void *context)
{
    struct broadcast *broadcast = context;
    char *text;

    if (!broadcast_operation_ended(broadcast))
        return;
    if (code == STORE_MISSING) {
        finish_load(broadcast, "nothing");
        return;
    }
    if (code < 0) {
        retry_later(broadcast, why);
        return;
    }
    text = text_of(blob);
    if (playlist_recover_multivariant(&broadcast->playlist, text) == 0) {
        free(text);
        broadcast->loading_rendition = 0;
        load_from_store(broadcast);
        return;
    }
    free(text);
    log_error("playlist.unreadable", log_str("broadcast", broadcast->id), log_str("rendition", "master"));
    playlist_clear(&broadcast->playlist);
    finish_load(broadcast, "nothing");
}

static void load_from_store(struct broadcast *broadcast)
{
    char path[KEY_MAX];

    if (broadcast->loading_rendition >= broadcast->playlist.renditions_count) {
        if (broadcast->playlist.next_sequence == 0)
            playlist_clear(&broadcast->playlist);
        finish_load(broadcast, "store");
        return;
    }
    snprintf(path, sizeof(path), "live/%s/%s/index.m3u8", broadcast->id,
             broadcast->playlist.renditions[broadcast->loading_rendition].name);
    broadcast_operation_began(broadcast);
    store_get(broadcast->uploader->store, path, MAX_PLAYLIST_BYTES, on_media_playlist, broadcast);
}

static void on_state(int code, const struct redisReply *reply, void *context)
{
    struct broadcast *broadcast = context;
    const char *source = "redis";
    char path[KEY_MAX];

    if (!broadcast_operation_ended(broadcast))
        return;
    if (code != 0) {
        retry_later(broadcast, redis_link_strerror(code));
        return;
    }
    playlist_clear(&broadcast->playlist);
    if (reply->type == REDIS_REPLY_STRING && playlist_import(&broadcast->playlist, reply->str, (size_t)reply->len) != 0)
        log_error("playlist.state_unreadable", log_str("broadcast", broadcast->id));
    if (broadcast->memory && broadcast->memory->next_sequence > broadcast->playlist.next_sequence) {
        playlist_clear(&broadcast->playlist);
        broadcast->playlist = *broadcast->memory;
        playlist_init(broadcast->memory);
        source = "memory";
    }
    if (broadcast->playlist.next_sequence > 0 || broadcast->playlist.is_closed) {
        finish_load(broadcast, source);
        return;
    }
    snprintf(path, sizeof(path), "live/%s/master.m3u8", broadcast->id);
    broadcast_operation_began(broadcast);
    store_get(broadcast->uploader->store, path, MAX_PLAYLIST_BYTES, on_multivariant, broadcast);
}

void broadcast_load(struct broadcast *broadcast)
{
    playlist_clear(&broadcast->playlist);
    if (!redis_link_is_up(broadcast->uploader->state)) {
        retry_later(broadcast, redis_link_strerror(REDIS_LINK_DOWN));
        return;
    }
    broadcast_operation_began(broadcast);
    redis_link_commandf(broadcast->uploader->state, on_state, broadcast, "GET " KEY_PLAYLIST "%s", broadcast->id);
}
