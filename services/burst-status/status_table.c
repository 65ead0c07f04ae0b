/* See status_table.h: a hash table with chains, and two lists by age for what may be forgotten. */
#include "services/burst-status/status_table.h"

#include "libcommon/alloc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define DAY_MS              ((int64_t)24 * 3600 * 1000)
#define OVER_EXPIRE_MS      DAY_MS
#define SCHEDULED_EXPIRE_MS (8 * DAY_MS) /* a day longer than its hash in Redis */
#define BODY_ID_AT          7            /* behind {"id":" */

SLIST_HEAD(bucket, status_entry);
TAILQ_HEAD(age_list, status_entry);

struct status_table {
    struct bucket *buckets;
    size_t buckets_mask;
    size_t count, max_entries;
    uint64_t seed;
    size_t count_by_state[BROADCAST_ARCHIVED + 1];
    struct age_list scheduled, over;
};

struct status_table *status_table_create(size_t max_entries, uint64_t seed)
{
    struct status_table *table = alloc_zero(1, sizeof(*table));
    size_t buckets = 64;

    while (buckets < max_entries)
        buckets *= 2;
    table->buckets = alloc_zero(buckets, sizeof(*table->buckets));
    table->buckets_mask = buckets - 1;
    table->max_entries = max_entries;
    table->seed = seed;
    TAILQ_INIT(&table->scheduled);
    TAILQ_INIT(&table->over);
    return table;
}

void status_table_destroy(struct status_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i <= table->buckets_mask; i++) {
        struct status_entry *entry;
        while ((entry = SLIST_FIRST(&table->buckets[i]))) {
            SLIST_REMOVE_HEAD(&table->buckets[i], same_bucket);
            free(entry);
        }
    }
    free(table->buckets);
    free(table);
}

/* FNV-1a. Only ids that our own services made are put in, so nobody can build long chains. */
static struct bucket *bucket_of(const struct status_table *table, const char *id, size_t id_len)
{
    uint64_t hash = 0xcbf29ce484222325u ^ table->seed;

    for (size_t i = 0; i < id_len; i++)
        hash = (hash ^ (unsigned char)id[i]) * 0x100000001b3u;
    return &table->buckets[(hash ^ (hash >> 32)) & table->buckets_mask];
}

static struct status_entry *find(const struct status_table *table, const char *id, size_t id_len)
{
    struct status_entry *entry;

    SLIST_FOREACH(entry, bucket_of(table, id, id_len), same_bucket)
    if (entry->id_len == id_len && memcmp(entry->body + BODY_ID_AT, id, id_len) == 0)
        return entry;
    return NULL;
}

const struct status_entry *status_table_find(const struct status_table *table, const char *id, size_t id_len)
{
    return id_len < ID_SIZE ? find(table, id, id_len) : NULL;
}

static struct age_list *list_of(struct status_table *table, enum broadcast_state state)
{
    switch (state) {
    case BROADCAST_SCHEDULED:
        return &table->scheduled;
    case BROADCAST_ENDED:
    case BROADCAST_ARCHIVED:
        return &table->over;
    default:
        return NULL;
    }
}

static void unlist(struct status_table *table, struct status_entry *entry)
{
    struct age_list *list = list_of(table, entry->state);

    table->count_by_state[entry->state]--;
    if (list)
        TAILQ_REMOVE(list, entry, by_age);
}

static void drop(struct status_table *table, struct status_entry *entry)
{
    unlist(table, entry);
    SLIST_REMOVE(bucket_of(table, entry->body + BODY_ID_AT, entry->id_len), entry, status_entry, same_bucket);
    free(entry);
    table->count--;
}

/* Kept in order of age from the tail: nearly always the new one is the youngest. */
static void enlist(struct status_table *table, struct status_entry *entry)
{
    struct age_list *list = list_of(table, entry->state);
    struct status_entry *older;

    table->count_by_state[entry->state]++;
    if (!list)
        return;
    TAILQ_FOREACH_REVERSE(older, list, age_list, by_age)
    if (older->since_ms <= entry->since_ms)
        break;
    if (older)
        TAILQ_INSERT_AFTER(list, older, entry, by_age);
    else
        TAILQ_INSERT_HEAD(list, entry, by_age);
}

static struct status_entry *add(struct status_table *table, const char *id)
{
    struct status_entry *entry;

    if (table->count >= table->max_entries) {
        if (TAILQ_EMPTY(&table->over))
            return NULL;
        drop(table, TAILQ_FIRST(&table->over));
    }
    entry = alloc_zero(1, sizeof(*entry));
    entry->id_len = (uint8_t)strlen(id);
    SLIST_INSERT_HEAD(bucket_of(table, id, entry->id_len), entry, same_bucket);
    table->count++;
    return entry;
}

static void render(struct status_entry *entry, const char *id)
{
    int len = snprintf(entry->body, sizeof(entry->body),
                       "{\"id\":\"%s\",\"state\":\"%s\",\"version\":%" PRId64 ",\"retry_after_ms\":%*s}", id,
                       broadcast_state_name(entry->state), entry->version, STATUS_RETRY_SIZE, "0");
    assert(len > 0 && (size_t)len < sizeof(entry->body));
    entry->body_len = (uint8_t)len;
}

enum status_update status_table_update(struct status_table *table, const char *id, enum broadcast_state state,
                                       int64_t version, int64_t since_ms)
{
    assert(id_is_valid(id) && state != BROADCAST_UNKNOWN);
    struct status_entry *entry = find(table, id, strlen(id));
    bool same_state = false;

    if (entry) {
        if (version <= entry->version)
            return STATUS_STALE;
        same_state = entry->state == state;
        unlist(table, entry);
    } else if (!(entry = add(table, id))) {
        return STATUS_FULL;
    }
    entry->state = state;
    entry->version = version;
    if (!same_state)
        entry->since_ms = since_ms;
    render(entry, id);
    enlist(table, entry);
    return STATUS_UPDATED;
}

void status_table_expire(struct status_table *table, int64_t now_ms)
{
    struct status_entry *entry;

    while ((entry = TAILQ_FIRST(&table->over)) && now_ms - entry->since_ms >= OVER_EXPIRE_MS)
        drop(table, entry);
    while ((entry = TAILQ_FIRST(&table->scheduled)) && now_ms - entry->since_ms >= SCHEDULED_EXPIRE_MS)
        drop(table, entry);
}

size_t status_table_count(const struct status_table *table)
{
    return table->count;
}

size_t status_table_count_state(const struct status_table *table, enum broadcast_state state)
{
    return table->count_by_state[state];
}
