#include "reseed.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROWS   5000
#define MAX_AGE_MS (7LL * 86400 * 1000) /* a scheduled one that is older has expired from Redis too */

struct reseed_job {
    struct live_api *api;
    struct db_result *result;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct reseed_job *job = context;

    job->code =
        db_query(connection,
                 "SELECT b.id, b.state, b.title, b.owner_id, u.name, COALESCE(b.stream_key_hash, ''), b.grace_ms,"
                 " b.created_at_ms, COALESCE(b.live_at_ms, 0) FROM broadcasts b JOIN users u ON u.id = b.owner_id"
                 " WHERE b.state IN ('live', 'suspended') OR (b.state = 'scheduled' AND b.created_at_ms > ?)"
                 " ORDER BY b.created_at_ms DESC LIMIT 5000",
                 DB_PARAMS(db_int(clock_wall_ms() - MAX_AGE_MS)), MAX_ROWS, &job->result);
}

static void on_restored(int code, const redisReply *reply, void *context)
{
    if (code == 0 && reply->type == REDIS_REPLY_ARRAY && reply->element[0]->integer == 1)
        log_info("broadcast.restored", log_str("version", reply->element[2]->str),
                 log_str("state", reply->element[1]->str));
}

static void done(int code, void *context)
{
    struct reseed_job *job = context;

    if (code != 0 || job->code != 0)
        log_warn("reseed.failed", log_str("why", db_strerror(code != 0 ? code : job->code)));
    for (size_t row = 0; row < db_result_rows(job->result); row++) {
        const char *args[10] = {db_result_value(job->result, row, 0)};

        args[1] = strcmp(db_result_value(job->result, row, 1), "scheduled") == 0 ? "scheduled" : "suspended";
        for (size_t i = 2; i <= 8; i++)
            args[i] = db_result_value(job->result, row, i);
        args[9] = "restored";
        redis_link_script(job->api->redis, &script_broadcast_create, on_restored, job->api, 10, args, NULL);
    }
    db_result_free(job->result);
    free(job);
}

void reseed_start(struct live_api *api)
{
    struct reseed_job *job = alloc_zero(1, sizeof(*job));

    job->api = api;
    if (db_submit(api->db, run, done, job) != 0)
        free(job);
}
