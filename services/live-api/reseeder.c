#include "reseeder.h"

#include "broadcast_seed.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/service.h"
#include "live_api.h"
#include "proto/keys.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_MS  1000
#define PAGE_ROWS  500
#define MAX_AGE_MS (7LL * 86400 * 1000) /* a scheduled one that is older has expired from Redis too */

struct reseeder {
    struct live_api *api;
    struct event *timer;
    bool due, running, failed;
    size_t waiting; /* scripts of this page that are not answered */
    size_t page_rows;
    size_t restored;
    char after_id[ID_SIZE];
};

struct page_job {
    struct reseeder *reseeder;
    char after_id[ID_SIZE];
    struct db_result *result;
    int code;
};

static void next_page(struct reseeder *reseeder);

static void finish(struct reseeder *reseeder)
{
    static struct log_limiter limiter = LOG_LIMITER(5000);

    reseeder->running = false;
    if (reseeder->restored > 0)
        log_info("broadcasts.restored", log_int("count", (int64_t)reseeder->restored));
    if (reseeder->failed) {
        reseeder->due = true; /* the timer tries again */
        log_limited(&limiter, LOG_LEVEL_WARN, "broadcasts.not_restored", log_str("why", "Redis or MySQL is away"));
        return;
    }
    redis_link_command(reseeder->api->redis, NULL, NULL, 3, (const char *[]){"SET", KEY_BROADCASTS_RESTORED, "1"},
                       NULL);
}

static void page_finished(struct reseeder *reseeder)
{
    if (!reseeder->failed && reseeder->page_rows == PAGE_ROWS)
        next_page(reseeder);
    else
        finish(reseeder);
}

static void on_restored(int code, const redisReply *reply, void *context)
{
    struct reseeder *reseeder = context;
    struct broadcast_seeded seeded;

    if (code != 0 || broadcast_seeded_read(reply, &seeded) != 0)
        reseeder->failed = true;
    else if (seeded.is_new)
        reseeder->restored++;
    if (--reseeder->waiting == 0)
        page_finished(reseeder);
}

static void run(struct db_connection *connection, void *context)
{
    struct page_job *job = context;

    job->code = db_query(connection,
                         "SELECT " BROADCAST_SEED_COLUMNS " FROM broadcasts b JOIN users u ON u.id = b.owner_id"
                         " WHERE b.id > ? AND (b.state IN ('live', 'suspended') OR (b.state = 'scheduled' AND"
                         " b.created_at_ms > ?)) ORDER BY b.id LIMIT ?",
                         DB_PARAMS(db_str(job->after_id), db_int(clock_wall_ms() - MAX_AGE_MS), db_int(PAGE_ROWS)),
                         PAGE_ROWS, &job->result);
}

static void done(int code, void *context)
{
    struct page_job *job = context;
    struct reseeder *reseeder = job->reseeder;

    reseeder->failed = code != 0 || job->code != 0;
    reseeder->page_rows = reseeder->failed ? 0 : db_result_rows(job->result);
    reseeder->waiting = 1; /* this function's own: answers may come before it is through */
    for (size_t row = 0; row < reseeder->page_rows; row++) {
        struct broadcast_seed seed;

        broadcast_seed_take(job->result, row, &seed);
        strcpy(reseeder->after_id, seed.id);
        reseeder->waiting++;
        broadcast_seed_send(reseeder->api, &seed, "restored", on_restored, reseeder);
    }
    db_result_free(job->result);
    free(job);
    if (--reseeder->waiting == 0)
        page_finished(reseeder);
}

static void next_page(struct reseeder *reseeder)
{
    struct page_job *job = alloc_zero(1, sizeof(*job));

    job->reseeder = reseeder;
    strcpy(job->after_id, reseeder->after_id);
    if (!redis_link_is_up(reseeder->api->redis) || live_api_submit(reseeder->api, run, done, job) != 0) {
        free(job);
        reseeder->failed = true;
        finish(reseeder);
    }
}

static void start(struct reseeder *reseeder)
{
    if (reseeder->running || !reseeder->due)
        return;
    reseeder->running = true;
    reseeder->due = false;
    reseeder->failed = false;
    reseeder->restored = 0;
    reseeder->after_id[0] = '\0';
    next_page(reseeder);
}

static void on_mark(int code, const redisReply *reply, void *context)
{
    struct reseeder *reseeder = context;

    if (code == 0 && reply->type == REDIS_REPLY_NIL)
        reseeder_wake(reseeder);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct reseeder *reseeder = context;

    if (reseeder->running)
        return;
    if (reseeder->due)
        start(reseeder);
    else
        redis_link_command(reseeder->api->redis, on_mark, reseeder, 2, (const char *[]){"GET", KEY_BROADCASTS_RESTORED},
                           NULL);
}

void reseeder_wake(struct reseeder *reseeder)
{
    reseeder->due = true;
    start(reseeder);
}

struct reseeder *reseeder_create(struct live_api *api)
{
    const struct timeval period = {PERIOD_MS / 1000, PERIOD_MS % 1000 * 1000};
    struct reseeder *reseeder = alloc_zero(1, sizeof(*reseeder));

    reseeder->api = api;
    reseeder->due = true;
    reseeder->timer = event_new(service_loop(api->service), -1, EV_PERSIST, on_timer, reseeder);
    if (!reseeder->timer)
        abort();
    event_add(reseeder->timer, &period);
    return reseeder;
}

void reseeder_destroy(struct reseeder *reseeder)
{
    if (!reseeder)
        return;
    event_free(reseeder->timer);
    free(reseeder);
}
