/* Exponential back-off with jitter, also at the maximum, so that many who failed together do not come back together. */
#pragma once

#include <stdint.h>

struct backoff {
    int64_t min_ms, max_ms;
    unsigned failures;
};

void backoff_init(struct backoff *backoff, int64_t min_ms, int64_t max_ms);
/* How long to wait now: uniform in [d/2, d] with d = min · 2^failures, capped at max. Counts one failure. */
int64_t backoff_next_ms(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);
/* Uniform in [0, bound). */
uint32_t random_below(uint32_t bound);
