/* Back-off and the random ids it shares its generator with. */
#include "libcommon/backoff.h"
#include "libcommon/random_id.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

static void test_delays_double_within_their_bounds(void **state)
{
    for (int run = 0; run < 200; run++) {
        struct backoff backoff;
        int64_t expected_ms = 100;

        backoff_init(&backoff, 100, 5000);
        for (int i = 0; i < 200; i++) {
            int64_t delay_ms = backoff_next_ms(&backoff);
            assert_in_range(delay_ms, expected_ms / 2, expected_ms);
            expected_ms = expected_ms * 2 < 5000 ? expected_ms * 2 : 5000;
        }
        backoff_reset(&backoff);
        assert_in_range(backoff_next_ms(&backoff), 50, 100);
    }
}

static void test_the_maximum_is_jittered_too(void **state)
{
    struct backoff backoff;
    int64_t lowest_ms = INT64_MAX, highest_ms = 0;

    backoff_init(&backoff, 1000, 1000);
    for (int i = 0; i < 1000; i++) {
        int64_t delay_ms = backoff_next_ms(&backoff);
        lowest_ms = delay_ms < lowest_ms ? delay_ms : lowest_ms;
        highest_ms = delay_ms > highest_ms ? delay_ms : highest_ms;
    }
    assert_true(lowest_ms < 550 && highest_ms > 950);
}

static void test_extreme_bounds_do_not_overflow(void **state)
{
    struct backoff backoff;

    backoff_init(&backoff, 1, INT64_MAX / 4);
    for (int i = 0; i < 100; i++)
        assert_true(backoff_next_ms(&backoff) >= 0);
    backoff_init(&backoff, 1, 1);
    assert_in_range(backoff_next_ms(&backoff), 0, 1);
}

static void test_random_below(void **state)
{
    int seen[3] = {0};

    for (int i = 0; i < 1000; i++)
        seen[random_below(3)]++;
    assert_true(seen[0] > 200 && seen[1] > 200 && seen[2] > 200);
    assert_int_equal(random_below(1), 0);
}

static void test_ids(void **state)
{
    char first[RANDOM_ID_SIZE], second[RANDOM_ID_SIZE], hex[201];
    int seen[128] = {0};

    random_id(first);
    random_id(second);
    assert_string_not_equal(first, second);
    for (int i = 0; i < 2000; i++) {
        random_id(first);
        assert_int_equal(strlen(first), 20);
        assert_int_equal(strspn(first, "0123456789abcdefghijklmnopqrstuvwxyz"), 20);
        for (const char *c = first; *c; c++)
            seen[(int)*c]++;
    }
    /* 40,000 characters of 36: 1,111 each, with a deviation of 33. */
    assert_in_range(seen['0'], 900, 1330);
    assert_in_range(seen['z'], 900, 1330);
    random_hex(hex, 100);
    assert_int_equal(strlen(hex), 200);
    assert_int_equal(strspn(hex, "0123456789abcdef"), 200);
    random_hex(hex, 0);
    assert_string_equal(hex, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delays_double_within_their_bounds),
        cmocka_unit_test(test_the_maximum_is_jittered_too),
        cmocka_unit_test(test_extreme_bounds_do_not_overflow),
        cmocka_unit_test(test_random_below),
        cmocka_unit_test(test_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
