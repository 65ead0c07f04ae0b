/* Channels that are being watched: by token, what it holds opened, the recordings' segment lists (read from MySQL once,
 * shared between channels), and the playlist of the second. Bounded: the one not asked for longest goes first. Loop
 * thread only. */
#pragma once

#include "archive.h"
#include "channel_definition.h"

struct channel_cache;

enum channel_error {
    CHANNEL_FORGED = -1,
    CHANNEL_EXPIRED = -2,
    CHANNEL_GONE = -3,  /* a recording in it is not there any more */
    CHANNEL_AWAY = -4,  /* MySQL cannot be asked, or too many wait for it */
    CHANNEL_EARLY = -5, /* not yet: `start_ms` says when */
    CHANNEL_NO_VARIANT = -6,
};

struct channel_answer {
    int code; /* 0 or a channel_error */
    int64_t start_ms;
    const char *text; /* the cache's, for the time of the call */
    size_t len;
};

typedef void (*channel_answer_fn)(const struct channel_answer *answer, void *context);

struct channel_cache *channel_cache_create(struct archive *archive);
/* After the database has called back. NULL is fine. */
void channel_cache_destroy(struct channel_cache *cache);
/* `variant` NULL: the multivariant playlist. `callback` exactly once, mostly before the call returns. */
void channel_cache_get(struct channel_cache *cache, const char *token, const char *variant, channel_answer_fn callback,
                       void *context);
/* The token of a channel, the same for all within a window. */
void channel_cache_seal(const struct channel_cache *cache, const struct channel_definition *definition, char *out,
                        size_t out_size);
