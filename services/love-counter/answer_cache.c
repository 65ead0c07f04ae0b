/* A small table, one answer to a slot: a newer one takes the place of another that falls on the same slot. */
#include "love_counter.h"

#include "libcommon/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS   1024
#define GOOD_MS 10000

struct answer {
    char broadcast[ID_SIZE];
    int limit;
    int64_t until_ms;
    char *body; /* owned; NULL: free */
};

struct answer_cache {
    struct answer slots[SLOTS];
};

struct answer_cache *answer_cache_create(void)
{
    return alloc_zero(1, sizeof(struct answer_cache));
}

void answer_cache_destroy(struct answer_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        free(cache->slots[i].body);
    free(cache);
}

/* FNV-1a. */
static struct answer *slot_of(struct answer_cache *cache, const char *broadcast, int limit)
{
    uint32_t hash = 2166136261u ^ (uint32_t)limit;

    for (const char *c = broadcast; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &cache->slots[(hash ^ (hash >> 16)) % SLOTS];
}

const char *answer_cache_get(struct answer_cache *cache, const char *broadcast, int limit, int64_t now_ms)
{
    const struct answer *answer = slot_of(cache, broadcast, limit);

    if (!answer->body || answer->limit != limit || now_ms >= answer->until_ms ||
        strcmp(answer->broadcast, broadcast) != 0)
        return NULL;
    return answer->body;
}

void answer_cache_put(struct answer_cache *cache, const char *broadcast, int limit, const char *body, int64_t now_ms)
{
    struct answer *answer = slot_of(cache, broadcast, limit);

    free(answer->body);
    snprintf(answer->broadcast, sizeof(answer->broadcast), "%s", broadcast);
    answer->limit = limit;
    answer->until_ms = now_ms + GOOD_MS;
    answer->body = alloc_string(body);
}
