/* Redis has come back without its data. First all broadcasts on air whose hearts MySQL has are marked
 * (script_love_restore, whoever sees that the mark of the whole is missing); until then no broadcast is kept. Then
 * whoever holds a broadcast's lease puts its hearts back, before its first tick and flush: a total never falls, and
 * what was counted meanwhile comes on top. Without a loss this is one command per lease. */
#include "keeper.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/lease.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS           1000
#define BROADCASTS_AT_ONCE 500
#define USERS_AT_ONCE      1000
#define ARGS_IN_FRONT      5

/* --- marking what was lost --- */

struct restore_job {
    struct keeper *keeper;
    char after[ID_SIZE];
    char ids[BROADCASTS_AT_ONCE][ID_SIZE];
    size_t count;
    int code;
};

static void read_page(struct restore_job *job);

static void restore_end(struct restore_job *job, const char *why)
{
    struct keeper *keeper = job->keeper;

    if (why) {
        metric_add(keeper->failures, 1);
        log_limited(&keeper->limiter, LOG_LEVEL_WARN, "loves.not_restored", log_str("why", why));
    }
    free(job);
    keeper->restoring = false;
    if (!keeper->draining)
        kept_arm(keeper->look, why ? RETRY_MS : 0);
}

static void on_marked(int code, const redisReply *reply, void *context)
{
    struct restore_job *job = context;

    if (code != 0)
        restore_end(job, redis_link_strerror(code));
    else if (job->count == BROADCASTS_AT_ONCE && !job->keeper->draining)
        read_page(job);
    else
        restore_end(job, NULL);
}

static void run_restore(struct db_connection *connection, void *context)
{
    struct restore_job *job = context;

    job->code = love_rows_unsettled(connection, job->after, job->ids, BROADCASTS_AT_ONCE, &job->count);
}

static void done_restore(int code, void *context)
{
    struct restore_job *job = context;
    const char *args[1 + BROADCASTS_AT_ONCE];

    code = code != 0 ? code : job->code;
    if (code != 0) {
        restore_end(job, db_strerror(code));
        return;
    }
    args[0] = job->count == BROADCASTS_AT_ONCE ? "more" : "all";
    for (size_t i = 0; i < job->count; i++)
        args[1 + i] = job->ids[i];
    if (job->count > 0)
        strcpy(job->after, job->ids[job->count - 1]);
    redis_link_script(job->keeper->counter->redis, &script_love_restore, on_marked, job, 1 + (int)job->count, args,
                      NULL);
}

static void read_page(struct restore_job *job)
{
    if (db_submit(job->keeper->counter->db, run_restore, done_restore, job) != 0)
        restore_end(job, db_strerror(DB_FULL));
}

void keeper_restore(struct keeper *keeper)
{
    struct restore_job *job = alloc_zero(1, sizeof(*job));

    job->keeper = keeper;
    keeper->restoring = true;
    read_page(job);
}

/* --- putting a broadcast's hearts back --- */

struct seed_job {
    struct kept *kept;
    char broadcast[ID_SIZE];
    char behind[ID_SIZE];
    int64_t total;
    struct love_user users[USERS_AT_ONCE];
    size_t count;
    int code;
};

static void fail(struct kept *kept, const char *why)
{
    metric_add(kept->keeper->failures, 1);
    log_limited(&kept->keeper->limiter, LOG_LEVEL_WARN, "loves.not_seeded", log_str("broadcast", kept->id),
                log_str("why", why));
    kept_arm(kept->flush, RETRY_MS);
}

static void run_seed(struct db_connection *connection, void *context)
{
    struct seed_job *job = context;

    job->code =
        love_rows_read(connection, job->broadcast, job->behind, &job->total, job->users, USERS_AT_ONCE, &job->count);
}

static void on_seed(int code, const redisReply *reply, void *context);

static void add(struct kept *kept, const struct seed_job *job)
{
    const char **args = alloc_zero(ARGS_IN_FRONT + 3 * job->count, sizeof(*args));
    char(*taps)[24] = alloc_zero(job->count + 1, sizeof(*taps)), total[24];
    size_t at = ARGS_IN_FRONT;

    snprintf(total, sizeof(total), "%lld", (long long)job->total);
    args[0] = kept->id;
    args[1] = lease_token(kept->lease);
    args[2] = job->behind;
    args[3] = total;
    args[4] = job->count == USERS_AT_ONCE ? "more" : "all";
    for (size_t i = 0; i < job->count; i++) {
        snprintf(taps[i], sizeof(taps[i]), "%lld", (long long)job->users[i].taps);
        args[at++] = job->users[i].id;
        args[at++] = job->users[i].name;
        args[at++] = taps[i];
    }
    kept->steps++;
    redis_link_script(kept->keeper->counter->redis, &script_love_seed, on_seed, kept, (int)at, args, NULL);
    free(args);
    free(taps);
}

static void done_seed(int code, void *context)
{
    struct seed_job *job = context;
    struct kept *kept = job->kept;

    code = code != 0 ? code : job->code;
    if (kept_step_back(kept)) {
        if (code != 0) {
            fail(kept, db_strerror(code));
        } else {
            log_info("loves.restored", log_str("broadcast", kept->id), log_int("total", job->total),
                     log_int("users", (int64_t)job->count));
            add(kept, job);
        }
    }
    free(job);
}

static void read_users(struct kept *kept, const char *behind)
{
    struct seed_job *job = alloc_zero(1, sizeof(*job));

    job->kept = kept;
    snprintf(job->broadcast, sizeof(job->broadcast), "%s", kept->id);
    snprintf(job->behind, sizeof(job->behind), "%s", behind);
    kept->steps++;
    if (db_submit(kept->keeper->counter->db, run_seed, done_seed, job) == 0)
        return;
    free(job);
    kept->steps--;
    fail(kept, db_strerror(DB_FULL));
}

static void on_seed(int code, const redisReply *reply, void *context)
{
    struct kept *kept = context;

    if (!kept_step_back(kept))
        return;
    if (code != 0 || reply->type != REDIS_REPLY_STRING)
        fail(kept, redis_link_strerror(code));
    else if (strcmp(reply->str, "fenced") == 0)
        kept_end(kept);
    else if (reply->str[0] == '>')
        read_users(kept, reply->str + 1);
    else
        kept_begin(kept);
}

void kept_seed(struct kept *kept)
{
    kept->steps++;
    redis_link_script(kept->keeper->counter->redis, &script_love_seed, on_seed, kept, 2,
                      (const char *[]){kept->id, lease_token(kept->lease)}, NULL);
}
