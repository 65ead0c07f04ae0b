#include "libcommon/token_bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_a_burst_then_the_rate(void **state)
{
    struct token_bucket bucket;
    int64_t retry_after_ms, taken = 0;

    token_bucket_init(&bucket, 5, 1000);
    for (int i = 0; i < 5; i++)
        assert_true(token_bucket_take(&bucket, 5, 10, 1000, &retry_after_ms));
    assert_false(token_bucket_take(&bucket, 5, 10, 1000, &retry_after_ms));
    assert_in_range(retry_after_ms, 1000, 1001);
    assert_true(token_bucket_take(&bucket, 5, 10, 1000 + retry_after_ms, &retry_after_ms));
    /* Asked every millisecond for a minute: one a second, no more for asking often. */
    for (int64_t now_ms = 3000; now_ms < 63000; now_ms++)
        taken += token_bucket_take(&bucket, 5, 10, now_ms, &retry_after_ms);
    assert_in_range(taken, 59, 61);
}

static void test_it_never_holds_more_than_the_burst(void **state)
{
    struct token_bucket bucket;
    int64_t retry_after_ms, taken = 0;

    token_bucket_init(&bucket, 3, 0);
    for (int i = 0; i < 100; i++)
        taken += token_bucket_take(&bucket, 3, 10, INT64_C(1) << 40, &retry_after_ms);
    assert_int_equal(taken, 3);
}

static void test_a_clock_that_goes_back_gives_nothing(void **state)
{
    struct token_bucket bucket;
    int64_t retry_after_ms;

    token_bucket_init(&bucket, 1, 5000);
    assert_true(token_bucket_take(&bucket, 1, 10, 5000, &retry_after_ms));
    assert_false(token_bucket_take(&bucket, 1, 10, 4000, &retry_after_ms));
    assert_true(token_bucket_take(&bucket, 1, 10, 6001, &retry_after_ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_then_the_rate),
        cmocka_unit_test(test_it_never_holds_more_than_the_burst),
        cmocka_unit_test(test_a_clock_that_goes_back_gives_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
