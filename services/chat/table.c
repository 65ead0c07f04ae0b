#include "table.h"

#include "libcommon/alloc.h"

#include <stdint.h>
#include <sys/random.h>

struct entry {
    struct entry *next;
    void *value;
    uint32_t hash;
    char key[];
};

struct table {
    struct entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    uint32_t seed; /* users choose some of the keys: they shall not choose the bucket */
};

static uint32_t hash_of(const struct table *table, const char *key)
{
    uint64_t hash = 14695981039346656037ULL ^ ((uint64_t)table->seed << 16);

    for (; *key; key++)
        hash = (hash ^ (unsigned char)*key) * 1099511628211ULL;
    hash ^= hash >> 29;
    return (uint32_t)(hash * 0x9E3779B97F4A7C15ULL >> 32);
}

struct table *table_create(void)
{
    struct table *table = alloc_zero(1, sizeof(*table));

    if (getrandom(&table->seed, sizeof(table->seed), 0) != sizeof(table->seed))
        table->seed = (uint32_t)(uintptr_t)table;
    table->bucket_count = 16;
    table->buckets = alloc_zero(table->bucket_count, sizeof(struct entry *));
    return table;
}

void table_destroy(struct table *table, void (*free_value)(void *value))
{
    if (!table)
        return;
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct entry *next;

        for (struct entry *entry = table->buckets[i]; entry; entry = next) {
            next = entry->next;
            if (free_value)
                free_value(entry->value);
            free(entry);
        }
    }
    free(table->buckets);
    free(table);
}

/* The pointer that points to the key's entry, or to the NULL at the end of its bucket. */
static struct entry **find(const struct table *table, const char *key, uint32_t hash)
{
    struct entry **link = &table->buckets[hash & (table->bucket_count - 1)];

    while (*link && ((*link)->hash != hash || strcmp((*link)->key, key) != 0))
        link = &(*link)->next;
    return link;
}

void *table_get(const struct table *table, const char *key)
{
    const struct entry *entry = *find(table, key, hash_of(table, key));

    return entry ? entry->value : NULL;
}

static void grow(struct table *table)
{
    size_t count = table->bucket_count * 2;
    struct entry **buckets = alloc_zero(count, sizeof(struct entry *));

    for (size_t i = 0; i < table->bucket_count; i++) {
        struct entry *next;

        for (struct entry *entry = table->buckets[i]; entry; entry = next) {
            next = entry->next;
            entry->next = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = count;
}

void table_set(struct table *table, const char *key, void *value)
{
    uint32_t hash = hash_of(table, key);
    struct entry **link = find(table, key, hash);
    size_t size = strlen(key) + 1;

    if (*link) {
        (*link)->value = value;
        return;
    }
    if (table->count >= table->bucket_count) {
        grow(table);
        link = find(table, key, hash);
    }
    *link = alloc_zero(1, sizeof(struct entry) + size);
    (*link)->hash = hash;
    (*link)->value = value;
    memcpy((*link)->key, key, size);
    table->count++;
}

void *table_take(struct table *table, const char *key)
{
    struct entry **link = find(table, key, hash_of(table, key));
    struct entry *entry = *link;
    void *value;

    if (!entry)
        return NULL;
    value = entry->value;
    *link = entry->next;
    free(entry);
    table->count--;
    return value;
}

size_t table_count(const struct table *table)
{
    return table->count;
}

void table_each(struct table *table, int (*visit)(const char *key, void *value, void *context), void *context)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct entry **link = &table->buckets[i];

        while (*link) {
            struct entry *entry = *link;

            if (visit(entry->key, entry->value, context)) {
                *link = entry->next;
                free(entry);
                table->count--;
            } else {
                link = &entry->next;
            }
        }
    }
}
