/* Jitter comes from libsodium's generator: instances forked at the same moment must not draw the same delays. */
#include "libcommon/backoff.h"

#include <assert.h>
#include <sodium.h>

void backoff_init(struct backoff *backoff, int64_t min_ms, int64_t max_ms)
{
    assert(min_ms > 0 && min_ms <= max_ms);
    *backoff = (struct backoff){.min_ms = min_ms, .max_ms = max_ms};
}

/* Uniform in [0, bound), for delays that do not fit 32 bits too (a maximum of 50 days and more). */
static int64_t random_below_ms(int64_t bound)
{
    if (bound <= UINT32_MAX)
        return randombytes_uniform((uint32_t)bound);
    uint64_t bits;
    randombytes_buf(&bits, sizeof bits);
    return (int64_t)(bits % (uint64_t)bound);
}

int64_t backoff_next_ms(struct backoff *backoff)
{
    int64_t delay_ms = backoff->min_ms;
    for (unsigned i = 0; i < backoff->failures && delay_ms < backoff->max_ms; i++)
        delay_ms = delay_ms > backoff->max_ms / 2 ? backoff->max_ms : delay_ms * 2;
    /* Counting stops where it could only wrap around; the delay has long reached its maximum there. */
    if (backoff->failures < 64)
        backoff->failures++;
    int64_t low_ms = delay_ms / 2;
    return low_ms + random_below_ms(delay_ms - low_ms + 1);
}

void backoff_reset(struct backoff *backoff)
{
    backoff->failures = 0;
}

uint32_t random_below(uint32_t bound)
{
    return randombytes_uniform(bound);
}
