/* See retry_policy.h. */
#include "services/burst-status/retry_policy.h"

/* A player that plays polls by a rhythm of its own; one that obeys this number still sees a suspension soon. */
#define LIVE_MIN_MS 3000
#define LIVE_MAX_MS 6000
/* What is over may become an archive, some time. */
#define OVER_MIN_MS 30000
#define OVER_MAX_MS 60000
/* A page adds up to a tenth to what it is told, and its answer takes time to arrive. */
#define RETURN_SLACK_MS 3000

void retry_policy_init(struct retry_policy *policy, const struct retry_policy_options *options, uint64_t seed,
                       int64_t now_ms)
{
    *policy = (struct retry_policy){
        .options = *options, .random_state = seed, .factor = 1, .counted_since_ms = now_ms, .counted_requests = 0};
}

void retry_policy_count(struct retry_policy *policy, uint64_t requests, int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - policy->counted_since_ms;

    policy->counted_requests += requests;
    if (elapsed_ms < 1000)
        return;
    double per_s = (double)policy->counted_requests * 1000.0 / (double)elapsed_ms;
    double wanted = per_s / (double)policy->options.requests_per_s_max;
    /* Up at once, down slowly: a factor that swings would itself bring players into step. */
    policy->factor = wanted > policy->factor ? wanted : 0.8 * policy->factor + 0.2 * wanted;
    if (policy->factor < 1)
        policy->factor = 1;
    if (policy->factor > RETRY_MAX_FACTOR)
        policy->factor = RETRY_MAX_FACTOR;
    policy->counted_requests = 0;
    policy->counted_since_ms = now_ms;
}

/* SplitMix64: good enough to spread players, and four instructions long. */
static uint64_t next_random(struct retry_policy *policy)
{
    uint64_t z = (policy->random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [from, to]. */
static uint32_t draw(struct retry_policy *policy, double from, double to)
{
    double unit = (double)(next_random(policy) >> 11) * 0x1.0p-53;
    double value = from + unit * (to - from);
    return value > RETRY_MAX_MS ? RETRY_MAX_MS : (uint32_t)value;
}

uint32_t retry_policy_draw(struct retry_policy *policy, enum broadcast_state state, int64_t age_ms)
{
    const struct retry_policy_options *options = &policy->options;
    double max_ms = (double)options->max_ms * policy->factor;

    switch (state) {
    case BROADCAST_SCHEDULED:
        /* Fewer wait for a start than are thrown off by a drop, and a start should be seen soon. */
        return draw(policy, (double)options->min_ms / 2, max_ms / 2);
    case BROADCAST_SUSPENDED:
        /* Only the far end moves: whoever drew early under load is not late when the load has gone. */
        return draw(policy, (double)options->min_ms, max_ms);
    case BROADCAST_LIVE:
        /* As long as somebody may still learn of the return by the time told while it was suspended. */
        if ((double)age_ms <= 1.1 * max_ms + RETURN_SLACK_MS)
            return draw(policy, 0, (double)options->return_ms * policy->factor);
        return draw(policy, LIVE_MIN_MS, LIVE_MAX_MS * policy->factor);
    default:
        return draw(policy, OVER_MIN_MS, OVER_MAX_MS);
    }
}
