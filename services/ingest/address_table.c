/* Open hashing over a fixed number of buckets; the seed keeps outsiders from choosing addresses that meet in one. */
#include "services/ingest/address_table.h"

#include "libcommon/alloc.h"

#include <netinet/in.h>
#include <openssl/rand.h>
#include <sys/queue.h>

#define BUCKETS 1024

struct address {
    SLIST_ENTRY(address) entry;
    uint8_t key[ADDRESS_KEY_SIZE];
    unsigned count;
};

struct address_table {
    SLIST_HEAD(, address) buckets[BUCKETS];
    unsigned addresses, max_addresses;
    uint64_t seed;
};

struct address_table *address_table_create(unsigned max_addresses)
{
    struct address_table *table = alloc_zero(1, sizeof(*table));

    table->max_addresses = max_addresses;
    if (RAND_bytes((unsigned char *)&table->seed, sizeof(table->seed)) != 1)
        abort();
    return table;
}

void address_table_destroy(struct address_table *table)
{
    struct address *address;

    if (!table)
        return;
    for (int i = 0; i < BUCKETS; i++) {
        while ((address = SLIST_FIRST(&table->buckets[i]))) {
            SLIST_REMOVE_HEAD(&table->buckets[i], entry);
            free(address);
        }
    }
    free(table);
}

void address_key(const struct sockaddr *address, uint8_t out[ADDRESS_KEY_SIZE])
{
    memset(out, 0, ADDRESS_KEY_SIZE);
    if (address->sa_family == AF_INET) {
        out[0] = 4;
        memcpy(out + 1, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        out[0] = 6;
        memcpy(out + 1, &((const struct sockaddr_in6 *)address)->sin6_addr, 8);
    }
}

static unsigned bucket_of(const struct address_table *table, const uint8_t *key)
{
    uint64_t hash = table->seed;

    for (int i = 0; i < ADDRESS_KEY_SIZE; i++)
        hash = (hash ^ key[i]) * 0x100000001b3ULL;
    return (unsigned)((hash ^ hash >> 32) % BUCKETS);
}

static struct address *find(const struct address_table *table, unsigned bucket, const uint8_t *key)
{
    struct address *address;

    SLIST_FOREACH(address, &table->buckets[bucket], entry)
    {
        if (memcmp(address->key, key, ADDRESS_KEY_SIZE) == 0)
            return address;
    }
    return NULL;
}

int address_table_add(struct address_table *table, const uint8_t key[ADDRESS_KEY_SIZE], unsigned max)
{
    unsigned bucket = bucket_of(table, key);
    struct address *address = find(table, bucket, key);

    if (!address) {
        if (max == 0 || table->addresses == table->max_addresses)
            return -1;
        address = alloc_zero(1, sizeof(*address));
        memcpy(address->key, key, ADDRESS_KEY_SIZE);
        SLIST_INSERT_HEAD(&table->buckets[bucket], address, entry);
        table->addresses++;
    }
    if (address->count >= max)
        return -1;
    address->count++;
    return 0;
}

void address_table_remove(struct address_table *table, const uint8_t key[ADDRESS_KEY_SIZE])
{
    unsigned bucket = bucket_of(table, key);
    struct address *address = find(table, bucket, key);

    if (!address || --address->count > 0)
        return;
    SLIST_REMOVE(&table->buckets[bucket], address, address, entry);
    table->addresses--;
    free(address);
}
