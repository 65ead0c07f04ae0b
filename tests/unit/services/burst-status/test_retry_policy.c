#include "services/burst-status/retry_policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct retry_policy_options options = {
    .min_ms = 2000, .max_ms = 6000, .return_ms = 2000, .requests_per_s_max = 1000};

static struct retry_policy make(void)
{
    struct retry_policy policy;

    retry_policy_init(&policy, &options, 7, 0);
    return policy;
}

/* Draws many times: all within [from, to], every tenth of the stretch about equally often. */
static void assert_spread(struct retry_policy *policy, enum broadcast_state state, int64_t age_ms, uint32_t from,
                          uint32_t to)
{
    unsigned tenths[10] = {0};

    for (int i = 0; i < 20000; i++) {
        uint32_t ms = retry_policy_draw(policy, state, age_ms);

        assert_in_range(ms, from, to);
        tenths[(ms - from) * 10 / (to - from + 1)]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenths[i], 1700, 2300);
}

static void test_quiet(void **state)
{
    struct retry_policy policy = make();

    assert_spread(&policy, BROADCAST_SUSPENDED, 0, 2000, 6000);
    assert_spread(&policy, BROADCAST_SCHEDULED, 100000, 1000, 3000);
    assert_spread(&policy, BROADCAST_LIVE, 0, 0, 2000);
    assert_spread(&policy, BROADCAST_LIVE, 6600, 0, 2000); /* whoever was told 6 s comes about then */
    assert_spread(&policy, BROADCAST_LIVE, 60000, 3000, 6000);
    assert_spread(&policy, BROADCAST_ENDED, 0, 30000, 60000);
}

static void test_grows_with_load_and_shrinks_again(void **state)
{
    struct retry_policy policy = make();

    retry_policy_count(&policy, 3000, 1000);
    assert_spread(&policy, BROADCAST_SUSPENDED, 0, 2000, 18000);
    assert_spread(&policy, BROADCAST_LIVE, 10000, 0, 6000);
    retry_policy_count(&policy, 1000000, 2000);
    assert_spread(&policy, BROADCAST_SUSPENDED, 0, 2000, 60000);
    for (int64_t now_ms = 3000; now_ms < 40000; now_ms += 1000)
        retry_policy_count(&policy, 10, now_ms);
    assert_spread(&policy, BROADCAST_SUSPENDED, 0, 2000, 6000);
}

static void test_counts_over_at_least_a_second(void **state)
{
    struct retry_policy policy = make();

    for (int64_t now_ms = 10; now_ms < 1000; now_ms += 10)
        retry_policy_count(&policy, 100, now_ms);
    assert_true(policy.factor == 1);
    retry_policy_count(&policy, 100, 1000);
    assert_true(policy.factor > 9.9 && policy.factor <= RETRY_MAX_FACTOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_grows_with_load_and_shrinks_again),
        cmocka_unit_test(test_counts_over_at_least_a_second),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
