/* Clocks, and how late things came. One thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define SECOND_NS 1000000000

/* Delays in steps of 10 us below 100 ms and of 1 ms above. */
struct delays {
    uint64_t fine[10000], coarse[20000];
    uint64_t count;
};

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

static inline int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static inline void delays_observe(struct delays *delays, int64_t delay_ns)
{
    int64_t us = delay_ns > 0 ? delay_ns / 1000 : 0;

    delays->count++;
    if (us < 100000)
        delays->fine[us / 10]++;
    else
        delays->coarse[us / 1000 < 19999 ? us / 1000 : 19999]++;
}

/* The upper edge of the step in which the delay lies that `share` of all stay below; 0 when there are none. */
static inline double delays_percentile_ms(const struct delays *delays, double share)
{
    uint64_t wanted = (uint64_t)((double)delays->count * share), seen = 0;

    for (size_t i = 0; i < 10000; i++)
        if ((seen += delays->fine[i]) > wanted)
            return (double)(i + 1) / 100;
    for (size_t i = 0; i < 20000; i++)
        if ((seen += delays->coarse[i]) > wanted)
            return (double)(i + 1);
    return 0;
}
