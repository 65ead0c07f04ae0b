/* What Redis is given of a broadcast: from MySQL's row to the hash that broadcast_create.lua makes. Where the hash
 * exists, nothing of it but the stream key is taken over, and that only when its number is higher: so a seed may be
 * sent at any time, twice, or after a newer one. */
#pragma once

#include "live_api.h"

struct db_connection;
struct db_result;

/* Of broadcasts b and users u, for broadcast_seed_take(). */
#define BROADCAST_SEED_COLUMNS                                                                                         \
    "b.id, b.state, b.title, b.owner_id, u.name, COALESCE(b.stream_key_hash, ''), b.grace_ms, b.created_at_ms,"        \
    " COALESCE(b.live_at_ms, 0), b.stream_key_version"

#define STREAM_KEY_FIRST 1 /* the number of a broadcast's first key */

struct broadcast_seed {
    char id[ID_SIZE];
    enum broadcast_state state; /* the row's; one that was on air is given as suspended */
    char title[TITLE_MAX_CHARS * 4 + 1];
    char owner_id[ID_SIZE];
    char owner_name[sizeof(((struct broadcast_view *)0)->owner_name)];
    char key_hash[STREAM_KEY_HASH_SIZE]; /* "": without a key */
    int64_t grace_ms, created_at_ms, live_at_ms;
    int64_t key_version;
};

/* Without a key, and with no grace. */
struct broadcast_seed broadcast_seed_of(const struct broadcast_view *view);
/* On a database worker. 0 or a db_error; `found` false: no such row. */
int broadcast_seed_load(struct db_connection *connection, const char *id, struct broadcast_seed *seed, bool *found);
void broadcast_seed_take(const struct db_result *result, size_t row, struct broadcast_seed *seed);
/* To Redis. `reason`: of the change, where the hash is made. `callback` as in redis_link.h, with what
 * broadcast_create.lua answers. */
void broadcast_seed_send(struct live_api *api, const struct broadcast_seed *seed, const char *reason,
                         void (*callback)(int, const struct redisReply *, void *), void *context);

/* The answer. */
struct broadcast_seeded {
    bool is_new; /* there was none */
    enum broadcast_state state;
    int64_t version, key_version; /* as they are in Redis now */
};
/* 0, or -1: not an answer of the script. */
int broadcast_seeded_read(const struct redisReply *reply, struct broadcast_seeded *seeded);
