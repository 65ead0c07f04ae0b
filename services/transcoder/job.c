#include "services/transcoder/job.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "services/transcoder/child_main.h"
#include "services/transcoder/child_process.h"

#include <event2/event.h>
#include <stdio.h>

#define HEALTHY_SEGMENTS 3 /* a child that made so many was not killed by what it began with */
#define SKIP_AFTER       2 /* children that died young: the next one begins at the newest media */
#define GIVE_UP_AFTER    8

struct job {
    struct job_options options;
    char broadcast[ID_SIZE];
    struct lease *lease;
    struct child_process *process;
    struct event *restart;
    struct event *over; /* on_end comes from the loop, not from inside a call */
    enum job_end end;
    struct backoff backoff;
    int died_young;
    bool is_ended, is_draining, is_over;
    struct child_status status;
};

static void finish(struct job *job, enum job_end end)
{
    if (job->is_over)
        return;
    job->is_over = true;
    job->end = end;
    event_active(job->over, 0, 0);
}

static void on_over(evutil_socket_t fd, short what, void *context)
{
    struct job *job = context;

    job->options.on_end(job, job->end, job->options.context);
}

static void on_line(const char *line, void *context)
{
    struct job *job = context;
    const struct child_status before = job->status;
    const size_t prefix_len = strlen(CHILD_CHECKPOINT_PREFIX);

    if (strncmp(line, CHILD_CHECKPOINT_PREFIX, prefix_len) == 0)
        job->options.on_checkpoint(job->broadcast, line + prefix_len, job->options.context);
    else if (child_status_parse(line, &job->status) == 0)
        job->options.on_status(&job->status, &before, job->options.context);
    else
        job->status = before;
}

static void on_child_exit(int code, void *context)
{
    struct job *job = context;
    const bool was_healthy = job->status.segments >= HEALTHY_SEGMENTS;

    child_process_destroy(job->process);
    job->process = NULL;
    if (code == CHILD_EXIT_DONE || job->is_draining) {
        finish(job, JOB_FINISHED);
        return;
    }
    if (code == CHILD_EXIT_FENCED || !lease_is_safe(job->lease)) {
        finish(job, JOB_LOST);
        return;
    }
    if (was_healthy)
        backoff_reset(&job->backoff);
    job->died_young = was_healthy ? 0 : job->died_young + 1;
    memset(&job->status, 0, sizeof(job->status));
    /* The first death is worth no wait at all: viewers count the seconds. */
    const int64_t delay_ms = was_healthy || job->died_young <= 1 ? 0 : backoff_next_ms(&job->backoff);
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    log_warn("child.died", log_str("broadcast", job->broadcast), log_int("code", code),
             log_int("restart_in_ms", delay_ms));
    job->options.on_restart(code, job->options.context);
    if (code == CHILD_EXIT_BROKEN || job->died_young >= GIVE_UP_AFTER)
        finish(job, JOB_HOPELESS);
    else
        evtimer_add(job->restart, &delay);
}

static void start(struct job *job)
{
    const char *arguments[] = {"child", job->broadcast, lease_token(job->lease),
                               job->died_young > SKIP_AFTER ? "1" : "0", NULL};
    const struct child_process_options options = {job->options.loop, job->options.instance, arguments,
                                                  on_line,           on_child_exit,         job};

    job->process = child_process_start(&options);
    if (!job->process) {
        finish(job, JOB_HOPELESS);
        return;
    }
    log_info("child.forked", log_str("broadcast", job->broadcast), log_int("pid", child_process_pid(job->process)),
             log_str("token", lease_token(job->lease)));
    if (job->is_ended)
        child_process_tell(job->process, "ended");
}

static void on_restart(evutil_socket_t fd, short what, void *context)
{
    start(context);
}

struct job *job_create(const struct job_options *options, const char *broadcast, struct lease *lease)
{
    struct job *job = alloc_zero(1, sizeof(*job));

    job->options = *options;
    snprintf(job->broadcast, sizeof(job->broadcast), "%s", broadcast);
    job->lease = lease;
    backoff_init(&job->backoff, 100, 5000);
    job->restart = evtimer_new(options->loop, on_restart, job);
    job->over = event_new(options->loop, -1, 0, on_over, job);
    if (!job->restart || !job->over)
        abort();
    start(job);
    return job;
}

void job_destroy(struct job *job)
{
    child_process_destroy(job->process);
    lease_release(job->lease);
    event_free(job->restart);
    event_free(job->over);
    free(job);
}

const char *job_broadcast(const struct job *job)
{
    return job->broadcast;
}

void job_lease_lost(struct job *job)
{
    finish(job, JOB_LOST);
}

void job_end_broadcast(struct job *job)
{
    if (!job->is_ended && job->process)
        child_process_tell(job->process, "ended");
    job->is_ended = true;
}

void job_drain(struct job *job)
{
    job->is_draining = true;
    if (job->process)
        child_process_tell(job->process, "drain");
    else
        finish(job, JOB_FINISHED);
}

const struct child_status *job_status(const struct job *job)
{
    return &job->status;
}
