/* Chains in a table that doubles when it holds as many names as chains. FNV-1a is enough: names are ours, not an
 * attacker's. */
#include "libcommon/channel_set.h"

#include "libcommon/alloc.h"

#include <stdint.h>

#define FIRST_CHAINS 64

struct channel {
    struct channel *next;
    uint64_t hash;
    char name[];
};

struct channel_set {
    struct channel **chains;
    size_t chain_count; /* a power of two */
    size_t count;
};

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 14695981039346656037u;

    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return hash;
}

/* Where the pointer to `name` is, or would be added. */
static struct channel **find(const struct channel_set *set, const char *name, uint64_t hash)
{
    struct channel **place = &set->chains[hash & (set->chain_count - 1)];

    while (*place && ((*place)->hash != hash || strcmp((*place)->name, name) != 0))
        place = &(*place)->next;
    return place;
}

struct channel_set *channel_set_create(void)
{
    struct channel_set *set = alloc_zero(1, sizeof(*set));

    set->chain_count = FIRST_CHAINS;
    set->chains = alloc_zero(set->chain_count, sizeof(*set->chains));
    return set;
}

void channel_set_destroy(struct channel_set *set)
{
    for (size_t i = 0; i < set->chain_count; i++) {
        while (set->chains[i]) {
            struct channel *channel = set->chains[i];

            set->chains[i] = channel->next;
            free(channel);
        }
    }
    free(set->chains);
    free(set);
}

static void grow(struct channel_set *set)
{
    size_t old_count = set->chain_count;
    struct channel **old = set->chains;

    set->chain_count *= 2;
    set->chains = alloc_zero(set->chain_count, sizeof(*set->chains));
    for (size_t i = 0; i < old_count; i++) {
        while (old[i]) {
            struct channel *channel = old[i];
            struct channel **chain = &set->chains[channel->hash & (set->chain_count - 1)];

            old[i] = channel->next;
            channel->next = *chain;
            *chain = channel;
        }
    }
    free(old);
}

bool channel_set_add(struct channel_set *set, const char *name)
{
    uint64_t hash = hash_name(name);

    if (*find(set, name, hash))
        return false;
    if (set->count >= set->chain_count)
        grow(set);
    size_t len = strlen(name);
    struct channel *channel = alloc_zero(1, sizeof(*channel) + len + 1);
    channel->hash = hash;
    memcpy(channel->name, name, len);
    *find(set, name, hash) = channel;
    set->count++;
    return true;
}

bool channel_set_remove(struct channel_set *set, const char *name)
{
    struct channel **place = find(set, name, hash_name(name));
    struct channel *channel = *place;

    if (!channel)
        return false;
    *place = channel->next;
    free(channel);
    set->count--;
    return true;
}

bool channel_set_has(const struct channel_set *set, const char *name)
{
    return *find(set, name, hash_name(name)) != NULL;
}

size_t channel_set_count(const struct channel_set *set)
{
    return set->count;
}

void channel_set_list(const struct channel_set *set, const char **names)
{
    for (size_t i = 0; i < set->chain_count; i++)
        for (const struct channel *channel = set->chains[i]; channel; channel = channel->next)
            *names++ = channel->name;
}
