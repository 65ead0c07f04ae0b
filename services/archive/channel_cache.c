#include "channel_cache.h"

#include "channel_rows.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/metrics.h"
#include "libcommon/sealed_token.h"
#include "libcommon/service.h"

#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

#define BUCKETS     4096 /* a power of two */
#define MAX_WAITING 2000 /* for one channel's recordings */

/* A recording in use. */
struct kept_item {
    LIST_ENTRY(kept_item) bucket;
    int channels;
    struct playout_item *item;
};

struct rendered {
    char *text;
    size_t len;
    int64_t second;
};

struct waiting {
    STAILQ_ENTRY(waiting) entry;
    char variant[24]; /* "": the multivariant playlist */
    channel_answer_fn callback;
    void *context;
};

struct channel {
    LIST_ENTRY(channel) bucket;
    TAILQ_ENTRY(channel) by_use;
    char *token;
    int64_t expires_s;
    bool is_loading;
    struct channel_definition definition;
    struct kept_item *items[PLAYOUT_MAX_ITEMS];
    int items_count;
    struct playout playout;
    struct rendered multivariant, media[PLAYOUT_MAX_VARIANTS];
    STAILQ_HEAD(, waiting) waiting;
    size_t waiting_count;
};

struct load_job {
    struct channel_cache *cache;
    struct channel *channel; /* stays while it is loading */
    bool wanted[PLAYOUT_MAX_ITEMS];
    struct channel_definition definition;
    struct playout_item *items[PLAYOUT_MAX_ITEMS];
    bool is_gone; /* one of them has no segments */
    int code;
};

struct channel_cache {
    struct archive *archive;
    struct sealed_token_key key;
    struct playback_signer signer;
    LIST_HEAD(, channel) channels[BUCKETS];
    LIST_HEAD(, kept_item) items[BUCKETS];
    TAILQ_HEAD(channel_list, channel) by_use; /* the latest first */
    size_t channels_count, memory_bytes;
    struct metric *channels_metric, *memory_metric, *rendered_metric, *refused_metric;
};

static uint32_t bucket_of(const char *text)
{
    uint32_t hash = 2166136261u; /* FNV-1a; a token is sealed, so nobody can choose where it falls */

    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash & (BUCKETS - 1);
}

struct channel_cache *channel_cache_create(struct archive *archive)
{
    struct channel_cache *cache = alloc_zero(1, sizeof(*cache));
    struct metrics *metrics = service_metrics(archive->service);

    cache->archive = archive;
    cache->signer = archive_signer(archive);
    sealed_token_key_init(&cache->key, archive->config.seal_secret, "channel");
    TAILQ_INIT(&cache->by_use);
    cache->channels_metric = metrics_gauge(metrics, "hanabi_playout_channels", "channels in memory", NULL);
    cache->memory_metric =
        metrics_gauge(metrics, "hanabi_playout_memory_bytes", "segment lists of recordings in memory", NULL);
    cache->rendered_metric = metrics_counter(metrics, "hanabi_playout_rendered_total", "playlists computed", NULL);
    cache->refused_metric =
        metrics_counter(metrics, "hanabi_playout_refused_total", "tokens that were forged or had expired", NULL);
    return cache;
}

void channel_cache_seal(const struct channel_cache *cache, const struct channel_definition *definition, char *out,
                        size_t out_size)
{
    uint8_t payload[CHANNEL_PAYLOAD_SIZE];
    size_t len = channel_definition_encode(definition, payload);
    int64_t end_s = sealed_token_window_end(clock_wall_ms() / 1000, cache->archive->config.playback_window_s);

    if (sealed_token_seal(&cache->key, payload, len, end_s, out, out_size) != 0)
        abort(); /* CHANNEL_TOKEN_SIZE is enough for every definition */
}

/* --- recordings --- */

static struct kept_item *find_item(struct channel_cache *cache, const char *id)
{
    struct kept_item *kept;

    LIST_FOREACH(kept, &cache->items[bucket_of(id)], bucket)
    {
        if (strcmp(kept->item->id, id) == 0)
            return kept;
    }
    return NULL;
}

static struct kept_item *keep_item(struct channel_cache *cache, struct playout_item *item)
{
    struct kept_item *kept = alloc_zero(1, sizeof(*kept));

    kept->item = item;
    LIST_INSERT_HEAD(&cache->items[bucket_of(item->id)], kept, bucket);
    cache->memory_bytes += playout_item_memory(item);
    return kept;
}

static void drop_item(struct channel_cache *cache, struct kept_item *kept)
{
    if (--kept->channels > 0)
        return;
    cache->memory_bytes -= playout_item_memory(kept->item);
    LIST_REMOVE(kept, bucket);
    playout_item_destroy(kept->item);
    free(kept);
}

/* --- channels --- */

static void drop_channel(struct channel_cache *cache, struct channel *channel)
{
    LIST_REMOVE(channel, bucket);
    TAILQ_REMOVE(&cache->by_use, channel, by_use);
    cache->channels_count--;
    for (int i = 0; i < channel->items_count; i++)
        drop_item(cache, channel->items[i]);
    for (int i = 0; i < PLAYOUT_MAX_VARIANTS; i++)
        free(channel->media[i].text);
    free(channel->multivariant.text);
    free(channel->token);
    free(channel);
}

static void note_size(struct channel_cache *cache)
{
    metric_set(cache->channels_metric, (double)cache->channels_count);
    metric_set(cache->memory_metric, (double)cache->memory_bytes);
}

static void make_room(struct channel_cache *cache)
{
    const struct archive_config *config = &cache->archive->config;
    struct channel *channel = TAILQ_LAST(&cache->by_use, channel_list), *before;

    for (; channel && (cache->channels_count > (size_t)config->playout_channels ||
                       cache->memory_bytes > (size_t)config->playout_memory_mb << 20);
         channel = before) {
        before = TAILQ_PREV(channel, channel_list, by_use);
        /* The newest stays, however large: it is what is being asked for. */
        if (!channel->is_loading && before)
            drop_channel(cache, channel);
    }
    note_size(cache);
}

static struct channel *find_channel(struct channel_cache *cache, const char *token)
{
    struct channel *channel;

    LIST_FOREACH(channel, &cache->channels[bucket_of(token)], bucket)
    {
        if (strcmp(channel->token, token) == 0)
            return channel;
    }
    return NULL;
}

static void answer_error(int code, int64_t start_ms, channel_answer_fn callback, void *context)
{
    callback(&(struct channel_answer){.code = code, .start_ms = start_ms}, context);
}

/* Once a second and variant; all who ask within it get the same bytes. */
static int render(struct channel_cache *cache, struct channel *channel, int variant, int64_t now_s,
                  struct rendered **out)
{
    struct rendered *rendered = variant < 0 ? &channel->multivariant : &channel->media[variant];
    int code;

    *out = rendered;
    if (rendered->text && (rendered->second == now_s || variant < 0))
        return 0;
    free(rendered->text);
    rendered->text = NULL;
    rendered->second = now_s;
    if (variant < 0)
        code = playout_render_multivariant(&channel->playout, &rendered->text, &rendered->len);
    else
        code = playout_render_media(&channel->playout, variant, now_s, &cache->signer, &rendered->text, &rendered->len);
    metric_add(cache->rendered_metric, 1);
    return code == 0 ? 0 : CHANNEL_AWAY;
}

static void answer(struct channel_cache *cache, struct channel *channel, const char *variant,
                   channel_answer_fn callback, void *context)
{
    int64_t now_s = clock_wall_ms() / 1000, start_ms = channel->definition.start_ms;
    int index = variant ? playout_find_variant(&channel->playout, variant) : -1;
    struct rendered *rendered;

    if (now_s * 1000 < start_ms)
        answer_error(CHANNEL_EARLY, start_ms, callback, context);
    else if (variant && index < 0)
        answer_error(CHANNEL_NO_VARIANT, start_ms, callback, context);
    else if (render(cache, channel, index, now_s, &rendered) != 0)
        answer_error(CHANNEL_AWAY, start_ms, callback, context);
    else
        callback(&(struct channel_answer){.text = rendered->text, .len = rendered->len, .start_ms = start_ms}, context);
}

/* --- loading --- */

static void run_load(struct db_connection *connection, void *context)
{
    struct load_job *job = context;

    for (int i = 0; job->code == 0 && !job->is_gone && i < job->definition.items_count; i++) {
        if (!job->wanted[i])
            continue;
        job->code = channel_item_load(connection, job->definition.items[i], &job->items[i]);
        if (job->code == 0 && !job->items[i])
            job->is_gone = true;
    }
}

/* All its recordings, or none: false. */
static bool take_items(struct channel_cache *cache, struct load_job *job)
{
    struct channel *channel = job->channel;
    const struct playout_item *items[PLAYOUT_MAX_ITEMS];

    for (int i = 0; i < job->definition.items_count; i++) {
        struct kept_item *kept = find_item(cache, job->definition.items[i]);

        if (!kept && job->items[i]) {
            kept = keep_item(cache, job->items[i]);
            job->items[i] = NULL;
        }
        if (!kept)
            return false; /* another channel has let go of it meanwhile */
        kept->channels++;
        channel->items[channel->items_count++] = kept;
        items[i] = kept->item;
    }
    playout_init(&channel->playout, items, channel->items_count, channel->definition.start_ms,
                 channel->definition.loop);
    return true;
}

static void answer_waiting(struct channel_cache *cache, struct channel *channel, int code)
{
    struct waiting *waiting;

    while ((waiting = STAILQ_FIRST(&channel->waiting))) {
        STAILQ_REMOVE_HEAD(&channel->waiting, entry);
        if (code == 0)
            answer(cache, channel, waiting->variant[0] ? waiting->variant : NULL, waiting->callback, waiting->context);
        else
            answer_error(code, channel->definition.start_ms, waiting->callback, waiting->context);
        free(waiting);
    }
    channel->waiting_count = 0;
}

static void on_loaded(int db_code, void *context)
{
    struct load_job *job = context;
    struct channel_cache *cache = job->cache;
    struct channel *channel = job->channel;
    int code = db_code != 0 || job->code != 0 ? CHANNEL_AWAY : job->is_gone ? CHANNEL_GONE : 0;

    if (code == 0 && !take_items(cache, job))
        code = CHANNEL_AWAY;
    channel->is_loading = false;
    answer_waiting(cache, channel, code);
    if (code != 0)
        drop_channel(cache, channel);
    for (int i = 0; i < PLAYOUT_MAX_ITEMS; i++)
        playout_item_destroy(job->items[i]);
    free(job);
    make_room(cache);
}

static void load(struct channel_cache *cache, struct channel *channel)
{
    struct load_job *job = alloc_zero(1, sizeof(*job));

    job->cache = cache;
    job->channel = channel;
    job->definition = channel->definition;
    channel->is_loading = true;
    for (int i = 0; i < job->definition.items_count; i++) {
        job->wanted[i] = !find_item(cache, job->definition.items[i]);
        for (int before = 0; before < i; before++)
            if (strcmp(job->definition.items[before], job->definition.items[i]) == 0)
                job->wanted[i] = false;
    }
    if (archive_submit(cache->archive, run_load, on_loaded, job) != 0)
        on_loaded(DB_FULL, job);
}

static void wait_for_load(struct channel *channel, const char *variant, channel_answer_fn callback, void *context)
{
    struct waiting *waiting;

    if (channel->waiting_count == MAX_WAITING) {
        answer_error(CHANNEL_AWAY, channel->definition.start_ms, callback, context);
        return;
    }
    waiting = alloc_zero(1, sizeof(*waiting));
    /* A name too long for any variant is cut to one that is none. */
    if (variant)
        snprintf(waiting->variant, sizeof(waiting->variant), "%s", variant[0] ? variant : "?");
    waiting->callback = callback;
    waiting->context = context;
    STAILQ_INSERT_TAIL(&channel->waiting, waiting, entry);
    channel->waiting_count++;
}

/* Of a token that is not in memory. 0 or a channel_error. */
static int open_token(struct channel_cache *cache, const char *token, struct channel **out)
{
    uint8_t payload[CHANNEL_PAYLOAD_SIZE];
    struct channel_definition definition;
    int64_t expires_s;
    size_t len;
    int code =
        sealed_token_open(&cache->key, token, clock_wall_ms() / 1000, payload, sizeof(payload), &len, &expires_s);

    if (code != 0)
        return code == SEALED_TOKEN_EXPIRED ? CHANNEL_EXPIRED : CHANNEL_FORGED;
    if (channel_definition_decode(&definition, payload, len) != 0)
        return CHANNEL_FORGED;
    struct channel *channel = alloc_zero(1, sizeof(*channel));
    channel->token = alloc_string(token);
    channel->expires_s = expires_s;
    channel->definition = definition;
    STAILQ_INIT(&channel->waiting);
    LIST_INSERT_HEAD(&cache->channels[bucket_of(token)], channel, bucket);
    TAILQ_INSERT_HEAD(&cache->by_use, channel, by_use);
    cache->channels_count++;
    *out = channel;
    return 0;
}

void channel_cache_get(struct channel_cache *cache, const char *token, const char *variant, channel_answer_fn callback,
                       void *context)
{
    struct channel *channel = find_channel(cache, token);

    if (channel && !channel->is_loading && channel->expires_s <= clock_wall_ms() / 1000) {
        drop_channel(cache, channel);
        channel = NULL;
    }
    if (!channel) {
        int code = open_token(cache, token, &channel);

        if (code != 0) {
            metric_add(cache->refused_metric, 1);
            answer_error(code, 0, callback, context);
            return;
        }
        wait_for_load(channel, variant, callback, context);
        load(cache, channel);
    } else if (channel->is_loading) {
        wait_for_load(channel, variant, callback, context);
    } else {
        if (channel != TAILQ_FIRST(&cache->by_use)) {
            TAILQ_REMOVE(&cache->by_use, channel, by_use);
            TAILQ_INSERT_HEAD(&cache->by_use, channel, by_use);
        }
        answer(cache, channel, variant, callback, context);
    }
}

void channel_cache_destroy(struct channel_cache *cache)
{
    struct channel *channel;

    if (!cache)
        return;
    while ((channel = TAILQ_FIRST(&cache->by_use)))
        drop_channel(cache, channel);
    free(cache);
}
