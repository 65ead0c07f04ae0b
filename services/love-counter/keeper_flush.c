/* From Redis to MySQL: take what it does not have -> one transaction -> say so (fenced) -> again, until nothing is
 * left. Rows hold absolute values that only rise: whatever is repeated after a crash changes nothing. When the
 * broadcast is over, the last transaction marks the rows as final, and only then is Redis freed. */
#include "keeper.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/lease.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_MS      1000
#define RETRY_MS      1000
#define TICKS_AT_ONCE 200
#define ARGS_IN_FRONT 3

/* A portion on its way to MySQL. */
struct portion {
    struct kept *kept;
    char broadcast[ID_SIZE];
    int64_t total, now_ms;
    bool settle;
    struct love_tick ticks[TICKS_AT_ONCE];
    size_t tick_count, user_count;
    int code;
    struct love_user users[];
};

static void flush_later(struct kept *kept, int64_t delay_ms)
{
    kept->flushing = false;
    kept_arm(kept->flush, delay_ms);
}

static void fail(struct kept *kept, const char *what, const char *why)
{
    metric_add(kept->keeper->failures, 1);
    log_limited(&kept->keeper->limiter, LOG_LEVEL_WARN, "loves.not_flushed", log_str("broadcast", kept->id),
                log_str("what", what), log_str("why", why));
    flush_later(kept, RETRY_MS);
}

/* --- settling --- */

static void on_settled(int code, const redisReply *reply, void *context)
{
    struct kept *kept = context;

    if (!kept_step_back(kept))
        return;
    if (code != 0 || reply->type != REDIS_REPLY_STRING) {
        fail(kept, "settling", redis_link_strerror(code));
    } else if (strcmp(reply->str, "more") == 0) {
        flush_later(kept, FLUSH_MS);
    } else {
        if (strcmp(reply->str, "settled") == 0)
            log_info("loves.settled", log_str("broadcast", kept->id), log_int("total", kept->told));
        kept_end(kept);
    }
}

static void settle(struct kept *kept)
{
    kept->steps++;
    redis_link_script(kept->keeper->counter->redis, &script_love_settled, on_settled, kept, 2,
                      (const char *[]){kept->id, lease_token(kept->lease)}, NULL);
}

/* --- saying so --- */

static void take(struct kept *kept);

static void on_flushed(int code, const redisReply *reply, void *context)
{
    struct kept *kept = context;

    if (!kept_step_back(kept))
        return;
    if (code != 0 || reply->type != REDIS_REPLY_STRING) {
        fail(kept, "confirming", redis_link_strerror(code));
    } else if (strcmp(reply->str, "fenced") == 0) {
        kept_end(kept);
    } else if (strcmp(reply->str, "more") == 0 && kept->is_over) {
        take(kept);
    } else {
        if (strcmp(reply->str, "done") == 0)
            kept->unflushed_since_ms = 0;
        /* What taps come meanwhile goes with the next second's portion: one row per user and second is enough. */
        flush_later(kept, FLUSH_MS);
    }
}

static void say_flushed(struct kept *kept, const struct portion *portion)
{
    const char **args = alloc_zero(ARGS_IN_FRONT + 2 * portion->user_count, sizeof(*args));
    char(*taps)[24] = alloc_zero(portion->user_count + 1, sizeof(*taps)), ticks[24];
    size_t at = ARGS_IN_FRONT;

    snprintf(ticks, sizeof(ticks), "%zu", portion->tick_count);
    args[0] = kept->id;
    args[1] = lease_token(kept->lease);
    args[2] = ticks;
    for (size_t i = 0; i < portion->user_count; i++) {
        snprintf(taps[i], sizeof(taps[i]), "%lld", (long long)portion->users[i].taps);
        args[at++] = portion->users[i].id;
        args[at++] = taps[i];
    }
    kept->steps++;
    redis_link_script(kept->keeper->counter->redis, &script_love_flushed, on_flushed, kept, (int)at, args, NULL);
    free(args);
    free(taps);
}

/* --- writing --- */

static void run(struct db_connection *connection, void *context)
{
    struct portion *portion = context;

    portion->code = love_rows_write(connection, portion->broadcast, portion->total, portion->ticks, portion->tick_count,
                                    portion->users, portion->user_count, portion->settle, portion->now_ms);
}

static void done(int code, void *context)
{
    struct portion *portion = context;
    struct kept *kept = portion->kept;

    code = code != 0 ? code : portion->code;
    if (kept_step_back(kept)) {
        if (code != 0) {
            fail(kept, "writing", db_strerror(code));
        } else {
            metric_add(kept->keeper->flushed, (double)portion->user_count);
            if (portion->settle)
                settle(kept);
            else
                say_flushed(kept, portion);
        }
    }
    free(portion);
}

/* --- taking --- */

static bool is_portion(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 4 && reply->element[0]->type == REDIS_REPLY_STRING &&
           reply->element[2]->type == REDIS_REPLY_ARRAY && reply->element[2]->elements <= TICKS_AT_ONCE &&
           reply->element[3]->type == REDIS_REPLY_ARRAY && reply->element[3]->elements % 3 == 0;
}

static void take_ticks(struct portion *portion, const redisReply *ticks)
{
    for (size_t i = 0; i < ticks->elements; i++) {
        const char *text = ticks->element[i]->str, *colon = strchr(text, ':');

        portion->ticks[portion->tick_count++] =
            (struct love_tick){.at_ms = atoll(text), .total = colon ? atoll(colon + 1) : 0};
    }
}

static void take_users(struct portion *portion, const redisReply *users)
{
    for (size_t i = 0; i + 2 < users->elements; i += 3) {
        struct love_user *user = &portion->users[portion->user_count++];

        snprintf(user->id, sizeof(user->id), "%s", users->element[i]->str);
        snprintf(user->name, sizeof(user->name), "%s", users->element[i + 1]->str);
        user->taps = atoll(users->element[i + 2]->str);
    }
}

static void on_taken(int code, const redisReply *reply, void *context)
{
    struct kept *kept = context;
    struct portion *portion;

    if (!kept_step_back(kept))
        return;
    if (code != 0 || !is_portion(reply)) {
        fail(kept, "reading", redis_link_strerror(code));
        return;
    }
    portion = alloc_zero(1, sizeof(*portion) + reply->element[3]->elements / 3 * sizeof(portion->users[0]));
    portion->kept = kept;
    snprintf(portion->broadcast, sizeof(portion->broadcast), "%s", kept->id);
    portion->total = atoll(reply->element[0]->str);
    portion->now_ms = clock_wall_ms();
    take_ticks(portion, reply->element[2]);
    take_users(portion, reply->element[3]);
    bool is_empty = portion->tick_count == 0 && portion->user_count == 0;
    portion->settle = is_empty && kept->is_over && kept->told == portion->total;
    if (is_empty && !portion->settle) {
        kept->unflushed_since_ms = 0;
        free(portion);
        flush_later(kept, FLUSH_MS);
        return;
    }
    if (kept->unflushed_since_ms == 0)
        kept->unflushed_since_ms = clock_monotonic_ms();
    kept->steps++;
    if (db_submit(kept->keeper->counter->db, run, done, portion) == 0)
        return;
    free(portion);
    kept->steps--;
    fail(kept, "writing", db_strerror(DB_FULL));
}

static void take(struct kept *kept)
{
    char users[24], ticks[24];

    snprintf(users, sizeof(users), "%lld", (long long)kept->keeper->counter->config.flush_users);
    snprintf(ticks, sizeof(ticks), "%d", TICKS_AT_ONCE);
    kept->steps++;
    redis_link_script(kept->keeper->counter->redis, &script_love_take, on_taken, kept, 3,
                      (const char *[]){kept->id, users, ticks}, NULL);
}

void kept_flush(struct kept *kept)
{
    if (kept->flushing)
        return;
    kept->flushing = true;
    take(kept);
}
