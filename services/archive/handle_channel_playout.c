/* GET /playout/v1/{token}/master.m3u8 and …/{variant}/index.m3u8: a channel's playlists. The same for everybody within
 * a second, so the edge keeps them for one. */
#include "channel_cache.h"
#include "channel_http.h"
#include "libcommon/clock.h"

#include <stdio.h>

#define KEEP_A_SECOND "public, max-age=1"

/* Before its start: when that is, for programs too. */
static void reply_early(struct http_request *request, int64_t start_ms)
{
    int64_t wait_ms = start_ms - clock_wall_ms();
    char seconds[24];

    wait_ms = wait_ms > 0 ? wait_ms : 0;
    snprintf(seconds, sizeof(seconds), "%lld", (long long)(wait_ms / 1000 + 1));
    http_reply_header(request, "Retry-After", seconds);
    http_reply_header(request, "Cache-Control", KEEP_A_SECOND);
    http_reply_json(request, 404,
                    json_pack("{s:{s:s,s:s},s:I,s:I}", "error", "code", "not_started", "message",
                              "the channel has not begun: ask again at start_at_ms", "start_at_ms",
                              (json_int_t)start_ms, "retry_after_ms", (json_int_t)wait_ms));
}

static void on_answer(const struct channel_answer *answer, void *context)
{
    struct http_request *request = context;

    switch (answer->code) {
    case 0:
        http_reply_header(request, "Cache-Control", KEEP_A_SECOND);
        http_reply_bytes(request, 200, "application/vnd.apple.mpegurl", answer->text, answer->len);
        break;
    case CHANNEL_EARLY:
        reply_early(request, answer->start_ms);
        break;
    case CHANNEL_EXPIRED:
        http_reply_error(request, 410, "expired", "this playback URL has expired: ask the API for a new one");
        break;
    case CHANNEL_FORGED:
        http_reply_error(request, 403, "bad_token", "this playback URL was not made by us: ask the API for one");
        break;
    case CHANNEL_GONE:
        http_reply_error(request, 404, "archive_gone", "an archive of this channel is not there any more");
        break;
    case CHANNEL_NO_VARIANT:
        http_reply_error(request, 404, "no_such_variant", "the channel has no such variant: see master.m3u8");
        break;
    default:
        http_reply_header(request, "Retry-After", "2");
        http_reply_error(request, 503, "unavailable", "the database cannot be reached right now: try again");
    }
}

void handle_channel_multivariant(struct http_request *request, void *context)
{
    struct archive *archive = context;

    channel_cache_get(archive->channels, http_request_param(request, "token"), NULL, on_answer, request);
}

void handle_channel_media(struct http_request *request, void *context)
{
    struct archive *archive = context;

    channel_cache_get(archive->channels, http_request_param(request, "token"), http_request_param(request, "variant"),
                      on_answer, request);
}
