#include "state_saver.h"

#include "broadcast_change.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/service.h"
#include "outbox.h"
#include "proto/keys.h"
#include "proto/scripts.h"
#include "webhook.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_MS 1000
#define BATCH     "100"

struct state_saver {
    struct live_api *api;
    struct event *timer;
    size_t under_way; /* broadcasts of the current round that are not done */
    bool wanted;      /* woken during a round */
    struct metric *saved, *waiting;
};

struct save_job {
    struct state_saver *saver;
    struct broadcast_view view;
    bool is_announced;
    int code;
};

static void start_round(struct state_saver *saver);

static void arm(struct state_saver *saver, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(saver->timer, &delay);
}

static void finish_one(struct save_job *job)
{
    struct state_saver *saver = job->saver;

    free(job);
    if (--saver->under_way > 0)
        return;
    if (saver->wanted) {
        saver->wanted = false;
        start_round(saver);
    } else {
        arm(saver, PERIOD_MS);
    }
}

/* --- one broadcast --- */

static void run(struct db_connection *connection, void *context)
{
    struct save_job *job = context;

    job->code = broadcast_change_save(connection, job->saver->api, &job->view, &job->is_announced);
}

static void on_confirmed(int code, const redisReply *reply, void *context)
{
    struct save_job *job = context;

    /* 0: it has changed again meanwhile; the set still holds it. */
    if (code == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer == 0)
        job->saver->wanted = true;
    finish_one(job);
}

static void done(int code, void *context)
{
    struct save_job *job = context;
    char version[24];

    if (code != 0 || job->code != 0) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "state.not_saved", log_str("broadcast", job->view.id),
                    log_str("why", db_strerror(code != 0 ? code : job->code)));
        finish_one(job);
        return;
    }
    metric_add(job->saver->saved, 1);
    webhook_sender_wake(job->saver->api->webhook_sender);
    if (job->is_announced)
        outbox_relay_wake(job->saver->api->announcer);
    snprintf(version, sizeof(version), "%lld", (long long)job->view.version);
    redis_link_script(job->saver->api->redis, &script_broadcast_saved, on_confirmed, job, 2,
                      (const char *[]){job->view.id, version}, NULL);
}

static void on_fetched(int code, const redisReply *reply, void *context)
{
    struct save_job *job = context;

    if (code == 0 && !broadcast_view_overlay(&job->view, reply)) {
        /* The hash has expired: nothing is left to save. */
        redis_link_script(job->saver->api->redis, &script_broadcast_saved, on_confirmed, job, 2,
                          (const char *[]){job->view.id, "0"}, NULL);
    } else if (code != 0 || live_api_submit(job->saver->api, run, done, job) != 0) {
        finish_one(job);
    }
}

/* --- a round --- */

static void on_members(int code, const redisReply *reply, void *context)
{
    struct state_saver *saver = context;
    size_t count = code == 0 && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;

    metric_set(saver->waiting, (double)count);
    if (count == 0) {
        saver->under_way = 0;
        arm(saver, PERIOD_MS);
        return;
    }
    /* Counted before the first can finish. */
    saver->under_way = count;
    for (size_t i = 0; i < count; i++) {
        struct save_job *job = alloc_zero(1, sizeof(*job));

        job->saver = saver;
        snprintf(job->view.id, sizeof(job->view.id), "%s", reply->element[i]->str);
        broadcast_view_fetch(saver->api, job->view.id, on_fetched, job);
    }
}

static void start_round(struct state_saver *saver)
{
    saver->under_way = 1; /* the question itself */
    evtimer_del(saver->timer);
    redis_link_command(saver->api->redis, on_members, saver, 3,
                       (const char *[]){"SRANDMEMBER", KEY_BROADCASTS_UNSAVED, BATCH}, NULL);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct state_saver *saver = context;

    if (saver->under_way == 0)
        start_round(saver);
}

void state_saver_wake(struct state_saver *saver)
{
    if (saver->under_way > 0)
        saver->wanted = true;
    else
        start_round(saver);
}

struct state_saver *state_saver_create(struct live_api *api)
{
    struct state_saver *saver = alloc_zero(1, sizeof(*saver));

    saver->api = api;
    saver->timer = evtimer_new(service_loop(api->service), on_timer, saver);
    if (!saver->timer)
        abort();
    saver->saved = metrics_counter(service_metrics(api->service), "hanabi_api_states_saved_total",
                                   "states written to MySQL", NULL);
    saver->waiting =
        metrics_gauge(service_metrics(api->service), "hanabi_api_states_waiting", "states not in MySQL yet", NULL);
    arm(saver, PERIOD_MS);
    return saver;
}

void state_saver_destroy(struct state_saver *saver)
{
    if (!saver)
        return;
    event_free(saver->timer);
    free(saver);
}
