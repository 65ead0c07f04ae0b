/* When a player is to ask again, and how long it waits before it comes back: the numbers that keep a million players
 * from coming in step. Every answer is drawn anew, uniform over a stretch of time; under load the stretch grows, so
 * that the polls a second that all players together cause stay near what the service is built for.
 *
 * Pure; loop thread only. Times are monotonic milliseconds. */
#pragma once

#include "proto/broadcast.h"

#include <stdint.h>

struct retry_policy_options {
    int64_t min_ms, max_ms;     /* suspended: ask again after a time between these; scheduled: half of it */
    int64_t return_ms;          /* live again: load the playlist after 0 to this long */
    int64_t requests_per_s_max; /* above this many the stretches grow in proportion, up to RETRY_MAX_FACTOR times */
};

#define RETRY_MAX_FACTOR 10
#define RETRY_MAX_MS     600000

struct retry_policy {
    struct retry_policy_options options;
    uint64_t random_state;
    double factor;
    int64_t counted_since_ms;
    uint64_t counted_requests;
};

void retry_policy_init(struct retry_policy *policy, const struct retry_policy_options *options, uint64_t seed,
                       int64_t now_ms);
/* How many requests came; looks about once a second whether the stretches have to change. */
void retry_policy_count(struct retry_policy *policy, uint64_t requests, int64_t now_ms);
/* For a broadcast that has been in `state` for `age_ms`. Never above RETRY_MAX_MS. */
uint32_t retry_policy_draw(struct retry_policy *policy, enum broadcast_state state, int64_t age_ms);
