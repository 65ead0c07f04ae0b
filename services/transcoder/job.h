/* A broadcast that this supervisor works on: its lease and its child process, which is started again, with back-off,
 * whenever it dies. Loop thread only. */
#pragma once

#include "libcommon/lease.h"
#include "proto/broadcast.h"
#include "services/transcoder/child_status.h"

struct event_base;
struct job;

enum job_end {
    JOB_FINISHED,
    JOB_LOST /* the lease, or the child was fenced */,
    JOB_HOPELESS /* the child keeps dying */
};

struct job_options {
    struct event_base *loop;
    const char *instance;
    void (*on_status)(const struct child_status *now, const struct child_status *before, void *context);
    void (*on_checkpoint)(const char *broadcast, const char *text, void *context);
    void (*on_restart)(int code, void *context);
    /* The job is over; destroy it (not before the callback returns is needed). */
    void (*on_end)(struct job *job, enum job_end end, void *context);
    void *context;
};

/* Takes the lease. */
struct job *job_create(const struct job_options *options, const char *broadcast, struct lease *lease);
void job_destroy(struct job *job); /* kills the child, releases the lease */
const char *job_broadcast(const struct job *job);
void job_lease_lost(struct job *job);
/* The broadcast is over: finish it. May be called again and again. */
void job_end_broadcast(struct job *job);
/* Stop at the next segment; on_end(JOB_FINISHED) follows. */
void job_drain(struct job *job);
const struct child_status *job_status(const struct job *job);
