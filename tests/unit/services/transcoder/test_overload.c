/* When work is shed, taken up again, and media skipped. */
#include "services/transcoder/overload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_a_child_that_catches_up_sheds_nothing(void **state)
{
    struct overload overload;

    overload_init(&overload, 4000, 10000);
    for (int64_t s = 0; s < 20; s++)
        assert_int_equal(overload_judge(&overload, s * 1000, 9000 - s * 450 > 0 ? 9000 - s * 450 : 0), OVERLOAD_NONE);
    assert_int_equal(overload.effort, EFFORT_FULL);
}

static void test_sheds_step_by_step_then_takes_up_again(void **state)
{
    struct overload overload;
    int less = 0, more = 0;

    overload_init(&overload, 4000, 10000);
    for (int64_t s = 0; s < 30; s++)
        less += overload_judge(&overload, s * 1000, 5000) == OVERLOAD_LESS;
    assert_int_equal(less, EFFORT_LEVELS - 1);
    assert_int_equal(overload.effort, EFFORT_QUARTER_RATE);
    for (int64_t s = 30; s < 300; s++)
        more += overload_judge(&overload, s * 1000, 200) == OVERLOAD_MORE;
    assert_int_equal(more, EFFORT_LEVELS - 1);
    assert_int_equal(overload.effort, EFFORT_FULL);
}

static void test_skips_when_nothing_helps(void **state)
{
    struct overload overload;
    int skips = 0;

    overload_init(&overload, 4000, 10000);
    for (int64_t s = 0; s < 60 && skips == 0; s++)
        skips += overload_judge(&overload, s * 1000, 4100 + s * 500) == OVERLOAD_SKIP;
    assert_int_equal(skips, 1);
    assert_true(overload.effort > EFFORT_FULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_child_that_catches_up_sheds_nothing),
        cmocka_unit_test(test_sheds_step_by_step_then_takes_up_again),
        cmocka_unit_test(test_skips_when_nothing_helps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
