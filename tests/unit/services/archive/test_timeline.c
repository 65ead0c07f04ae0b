/* Moments of the wall clock on the recording. */
#include "services/archive/timeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void add(struct timeline *timeline, int64_t wall_ms, int64_t duration_us)
{
    assert_int_equal(timeline_add(timeline, wall_ms, duration_us), 0);
}

static void test_a_drop_and_a_suspension_move_nothing(void **state)
{
    struct timeline timeline = {0};

    add(&timeline, 10000, 2000000);
    add(&timeline, 12000, 1999999); /* not a whole millisecond */
    add(&timeline, 73000, 2000000); /* a minute later */
    assert_int_equal(timeline_duration_ms(&timeline), 5999);
    assert_int_equal(timeline_media_ms(&timeline, 0), 0);
    assert_int_equal(timeline_media_ms(&timeline, 10000), 0);
    assert_int_equal(timeline_media_ms(&timeline, 11999), 1999);
    assert_int_equal(timeline_media_ms(&timeline, 12000), 2000);
    assert_int_equal(timeline_media_ms(&timeline, 13500), 3500);
    assert_int_equal(timeline_media_ms(&timeline, 14000), 3999); /* the gap is at the join */
    assert_int_equal(timeline_media_ms(&timeline, 72999), 3999);
    assert_int_equal(timeline_media_ms(&timeline, 73000), 3999);
    assert_int_equal(timeline_media_ms(&timeline, 74000), 4999);
    assert_int_equal(timeline_media_ms(&timeline, 75000), 5999);
    assert_int_equal(timeline_media_ms(&timeline, INT64_MAX), 5999);
    timeline_clear(&timeline);
}

static void test_it_never_falls_although_a_clock_does(void **state)
{
    struct timeline timeline = {0};
    int64_t last = 0;

    add(&timeline, 10000, 2000000);
    add(&timeline, 12000, 2000000);
    add(&timeline, 9000, 2000000); /* another machine, whose clock lies behind */
    add(&timeline, 11000, 2000000);
    for (int64_t at_ms = 9000; at_ms < 16000; at_ms += 10) {
        int64_t media_ms = timeline_media_ms(&timeline, at_ms);

        assert_true(media_ms >= last && media_ms <= 8000);
        last = media_ms;
    }
    timeline_clear(&timeline);
}

static void test_without_segments_everything_is_at_the_beginning(void **state)
{
    struct timeline timeline = {0};

    assert_int_equal(timeline_media_ms(&timeline, 12345), 0);
    assert_int_equal(timeline_duration_ms(&timeline), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_drop_and_a_suspension_move_nothing),
        cmocka_unit_test(test_it_never_falls_although_a_clock_does),
        cmocka_unit_test(test_without_segments_everything_is_at_the_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
