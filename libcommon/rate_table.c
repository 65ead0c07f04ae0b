#include "libcommon/rate_table.h"

#include "libcommon/alloc.h"
#include "libcommon/token_bucket.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 4

struct slot {
    char key[RATE_TABLE_KEY_SIZE]; /* "": free */
    struct token_bucket bucket;
};

struct rate_table {
    int64_t burst, per_10s;
    size_t sets, ways;
    uint64_t forgotten;
    uint8_t secret[crypto_shorthash_KEYBYTES];
    struct slot slots[];
};

struct rate_table *rate_table_create(size_t slots, int64_t burst, int64_t per_10s)
{
    struct rate_table *table = alloc_zero(1, sizeof(*table) + slots * sizeof(table->slots[0]));

    assert(slots > 0 && (slots & (slots - 1)) == 0 && burst > 0 && per_10s > 0);
    table->burst = burst;
    table->per_10s = per_10s;
    table->ways = slots < WAYS ? slots : WAYS;
    table->sets = slots / table->ways;
    randombytes_buf(table->secret, sizeof(table->secret));
    return table;
}

void rate_table_destroy(struct rate_table *table)
{
    free(table);
}

static struct slot *set_of(struct rate_table *table, const char *key)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t number;

    crypto_shorthash(hash, (const unsigned char *)key, strlen(key), table->secret);
    memcpy(&number, hash, sizeof(number));
    return &table->slots[(number & (table->sets - 1)) * table->ways];
}

/* What is in the bucket by now, at most the burst. */
static int64_t fill_of(const struct rate_table *table, const struct slot *slot, int64_t now_ms)
{
    struct token_bucket bucket = slot->bucket;

    token_bucket_refill(&bucket, table->burst, table->per_10s, now_ms);
    return bucket.millitokens;
}

/* The slot of a key that has none yet. */
static struct slot *make_room(struct rate_table *table, struct slot *set, int64_t now_ms)
{
    struct slot *fullest = &set[0];
    int64_t most = -1;

    for (size_t i = 0; i < table->ways; i++) {
        int64_t fill = set[i].key[0] ? fill_of(table, &set[i], now_ms) : INT64_MAX;

        if (fill > most) {
            fullest = &set[i];
            most = fill;
        }
    }
    table->forgotten += most < table->burst * 1000;
    return fullest;
}

bool rate_table_take(struct rate_table *table, const char *key, int64_t now_ms, int64_t *retry_after_ms)
{
    struct slot *set = set_of(table, key), *slot = NULL;

    assert(key[0] && strlen(key) < RATE_TABLE_KEY_SIZE);
    for (size_t i = 0; i < table->ways && !slot; i++)
        if (strcmp(set[i].key, key) == 0)
            slot = &set[i];
    if (!slot) {
        slot = make_room(table, set, now_ms);
        strcpy(slot->key, key);
        token_bucket_init(&slot->bucket, table->burst, now_ms);
    }
    return token_bucket_take(&slot->bucket, table->burst, table->per_10s, now_ms, retry_after_ms);
}

uint64_t rate_table_forgotten(const struct rate_table *table)
{
    return table->forgotten;
}
