/* What keeper.c and keeper_flush.c share: a broadcast whose hearts this process keeps. */
#pragma once

#include "love_counter.h"

#include "libcommon/log.h"

#include <sys/queue.h>

struct lease;

struct kept {
    LIST_ENTRY(kept) link;
    struct keeper *keeper;
    char id[ID_SIZE];
    struct lease *lease;
    struct event *tick, *flush;
    int steps;                  /* commands and jobs under way: it is freed when none is */
    bool is_seeded;             /* what MySQL has is in Redis, too */
    bool ending;                /* lease lost, nothing left, or the process ends: begin nothing new */
    bool flushing;              /* one flush at a time */
    bool is_over;               /* the broadcast is: flush to the end, then settle */
    int64_t told;               /* the total that was told last; -1: not known yet */
    int64_t unflushed_since_ms; /* 0: MySQL has everything, as far as is known */
};

struct keeper {
    struct love_counter *counter;
    struct event *look;
    LIST_HEAD(, kept) kept;
    size_t count;
    bool draining;
    bool restoring; /* what Redis has lost is being marked: nothing is begun */
    struct metric *broadcasts, *told, *flushed, *failures, *age;
    struct log_limiter limiter;
};

/* A step has come back; frees what is ending and has none left. False: it is gone, or to be left alone. */
bool kept_step_back(struct kept *kept);
void kept_end(struct kept *kept);
void kept_arm(struct event *timer, int64_t delay_ms);
/* Its hearts are complete: tell and flush from now on. */
void kept_begin(struct kept *kept);

/* keeper_flush.c: writes what MySQL does not have, until it has; then settles, when the broadcast is over. */
void kept_flush(struct kept *kept);

/* keeper_seed.c: what MySQL has, put back into a Redis that came back empty. keeper_restore() marks the broadcasts,
 * then arms `look` again; kept_seed() ends in kept_begin(), or in the flush timer for another try. */
void keeper_restore(struct keeper *keeper);
void kept_seed(struct kept *kept);
