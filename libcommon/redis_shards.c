#include "libcommon/redis_shards.h"

#include <stdio.h>
#include <string.h>

/* FNV-1a, then mixed: its last characters alone would hardly change the upper bits, by which shards are compared. */
static uint64_t weight(const char *id, size_t shard)
{
    uint64_t hash = 14695981039346656037u;

    for (const char *c = id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    hash = (hash ^ (shard + 1)) * 1099511628211u;
    hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccdu;
    hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53u;
    return hash ^ (hash >> 33);
}

size_t redis_shard_of(const char *id, size_t count)
{
    uint64_t best = 0;
    size_t shard = 0;

    for (size_t i = 0; count > 1 && i < count; i++) {
        uint64_t own = weight(id, i);

        if (own > best) {
            best = own;
            shard = i;
        }
    }
    return shard;
}

const char *redis_shards_next_url(const char **list, char *url)
{
    const char *begin = *list + strspn(*list, " ");
    size_t len = strcspn(begin, " ");

    *list = begin + len;
    if (len == 0)
        return NULL;
    snprintf(url, REDIS_SHARD_URL_SIZE, "%.*s", (int)len, begin);
    return url;
}

int redis_shards_check(const char *urls, char *error, size_t error_size)
{
    char url[REDIS_SHARD_URL_SIZE];
    int count = 0;

    while (redis_shards_next_url(&urls, url)) {
        if (++count > REDIS_SHARDS_MAX) {
            snprintf(error, error_size, "names more than %d Redis", REDIS_SHARDS_MAX);
            return -1;
        }
        if (redis_link_check_url(url, error, error_size) != 0)
            return -1;
    }
    if (count == 0)
        snprintf(error, error_size, "names no Redis");
    return count > 0 ? 0 : -1;
}

int redis_shards_open(struct redis_shards *shards, struct event_base *loop, const char *urls,
                      const struct redis_link_options *options)
{
    struct redis_link_options own = *options;
    char url[REDIS_SHARD_URL_SIZE], error[200], name[80];

    shards->count = 0;
    if (redis_shards_check(urls, error, sizeof(error)) != 0)
        return -1;
    while (redis_shards_next_url(&urls, url)) {
        if (shards->count > 0) {
            snprintf(name, sizeof(name), "%.50s-%zu", options->name, shards->count);
            own.name = name;
        }
        shards->links[shards->count++] = redis_link_create(loop, url, &own);
    }
    return 0;
}

void redis_shards_borrow(struct redis_shards *shards, struct redis_link *link)
{
    shards->links[0] = link;
    shards->count = 1;
}

void redis_shards_close(struct redis_shards *shards)
{
    while (shards->count > 0)
        redis_link_destroy(shards->links[--shards->count]);
}

struct redis_link *redis_shards_link(const struct redis_shards *shards, const char *id)
{
    return shards->links[redis_shard_of(id, shards->count)];
}

bool redis_shards_ready(void *context, char *why, size_t why_size)
{
    const struct redis_shards *shards = context;

    for (size_t i = 0; i < shards->count; i++)
        if (!redis_link_ready(shards->links[i], why, why_size))
            return false;
    return true;
}
