#include "broadcast_seed.h"

#include "libcommon/db.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPY(field, value) snprintf((field), sizeof(field), "%s", (value))

void broadcast_seed_take(const struct db_result *result, size_t row, struct broadcast_seed *seed)
{
    memset(seed, 0, sizeof(*seed));
    COPY(seed->id, db_result_value(result, row, 0));
    seed->state = broadcast_state_from_name(db_result_value(result, row, 1));
    COPY(seed->title, db_result_value(result, row, 2));
    COPY(seed->owner_id, db_result_value(result, row, 3));
    COPY(seed->owner_name, db_result_value(result, row, 4));
    COPY(seed->key_hash, db_result_value(result, row, 5));
    seed->grace_ms = db_result_int(result, row, 6);
    seed->created_at_ms = db_result_int(result, row, 7);
    seed->live_at_ms = db_result_int(result, row, 8);
    seed->key_version = db_result_int(result, row, 9);
}

struct broadcast_seed broadcast_seed_of(const struct broadcast_view *view)
{
    struct broadcast_seed seed = {
        .state = view->state, .created_at_ms = view->created_at_ms, .live_at_ms = view->live_at_ms};

    COPY(seed.id, view->id);
    COPY(seed.title, view->title);
    COPY(seed.owner_id, view->owner_id);
    COPY(seed.owner_name, view->owner_name);
    return seed;
}

int broadcast_seed_load(struct db_connection *connection, const char *id, struct broadcast_seed *seed, bool *found)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 "SELECT " BROADCAST_SEED_COLUMNS " FROM broadcasts b JOIN users u ON u.id = b.owner_id WHERE b.id = ?",
                 DB_PARAMS(db_str(id)), 1, &result);

    *found = code == 0 && db_result_rows(result) == 1;
    if (*found)
        broadcast_seed_take(result, 0, seed);
    db_result_free(result);
    return code;
}

void broadcast_seed_send(struct live_api *api, const struct broadcast_seed *seed, const char *reason,
                         redis_link_fn callback, void *context)
{
    enum broadcast_state state = seed->state == BROADCAST_SCHEDULED ? BROADCAST_SCHEDULED : BROADCAST_SUSPENDED;
    char grace[24], created[24], live[24], key_version[24];

    snprintf(grace, sizeof(grace), "%" PRId64, seed->grace_ms);
    snprintf(created, sizeof(created), "%" PRId64, seed->created_at_ms);
    snprintf(live, sizeof(live), "%" PRId64, seed->live_at_ms);
    snprintf(key_version, sizeof(key_version), "%" PRId64, seed->key_version);
    redis_link_script(api->redis, &script_broadcast_create, callback, context, 11,
                      (const char *[]){seed->id, broadcast_state_name(state), seed->title, seed->owner_id,
                                       seed->owner_name, seed->key_hash, grace, created, live, reason, key_version},
                      NULL);
}

int broadcast_seeded_read(const redisReply *reply, struct broadcast_seeded *seeded)
{
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 4 || reply->element[0]->type != REDIS_REPLY_INTEGER)
        return -1;
    for (size_t i = 1; i < 4; i++)
        if (reply->element[i]->type != REDIS_REPLY_STRING)
            return -1;
    seeded->is_new = reply->element[0]->integer == 1;
    seeded->state = broadcast_state_from_name(reply->element[1]->str);
    seeded->version = atoll(reply->element[2]->str);
    seeded->key_version = atoll(reply->element[3]->str);
    return 0;
}
