/* Which frames are kept, repeated and begin segments. */
#include "services/transcoder/frame_pacer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_every_boundary_is_the_first_frame_at_or_after_two_seconds(void **state)
{
    struct frame_pacer pacer;
    int64_t at_us, last_boundary_us = -1;
    bool is_boundary;
    int boundaries = 0;

    frame_pacer_init(&pacer, 30, 1);
    frame_pacer_start(&pacer, -1);
    for (int64_t i = 0; i < 301; i++) {
        const int64_t pts_us = 500000 + i * 1000 / 30 * 1000;

        assert_int_equal(frame_pacer_next(&pacer, pts_us, false, &at_us, &is_boundary), FRAME_KEEP);
        assert_int_equal(at_us, pts_us);
        if (!is_boundary)
            continue;
        if (last_boundary_us >= 0)
            assert_in_range(pts_us - last_boundary_us, 1966000, 2034000);
        last_boundary_us = pts_us;
        boundaries++;
    }
    assert_int_equal(boundaries, 6);
}

static void test_a_gap_is_filled_and_no_segment_gets_long(void **state)
{
    struct frame_pacer pacer;
    int64_t at_us, before_us = 0, boundary_us = 0;
    bool is_boundary;
    enum frame_pace pace;
    int repeats = 0;

    frame_pacer_init(&pacer, 30, 1);
    frame_pacer_start(&pacer, -1);
    assert_int_equal(frame_pacer_next(&pacer, 0, true, &at_us, &is_boundary), FRAME_KEEP);
    do {
        pace = frame_pacer_next(&pacer, 7300000, false, &at_us, &is_boundary);
        repeats += pace == FRAME_REPEAT;
        assert_in_range(at_us - before_us, 1, FRAME_PACER_GAP_US);
        before_us = at_us;
        if (is_boundary) {
            assert_true(at_us - boundary_us < 2500000);
            boundary_us = at_us;
        }
    } while (pace == FRAME_REPEAT);
    assert_int_equal(pace, FRAME_KEEP);
    assert_true(repeats > 20);
    assert_int_equal(boundary_us, 6000000);
}

static void test_a_faster_source_is_thinned_out_evenly(void **state)
{
    struct frame_pacer pacer;
    int64_t at_us;
    bool is_boundary;
    int kept = 0;

    frame_pacer_init(&pacer, 30, 1);
    frame_pacer_start(&pacer, -1);
    for (int64_t i = 0; i < 600; i++)
        kept += frame_pacer_next(&pacer, i * 1000000 / 60, false, &at_us, &is_boundary) == FRAME_KEEP;
    assert_in_range(kept, 298, 302);
    pacer.divisor = 2;
    kept = 0;
    for (int64_t i = 600; i < 1200; i++)
        kept += frame_pacer_next(&pacer, i * 1000000 / 60, false, &at_us, &is_boundary) == FRAME_KEEP;
    assert_in_range(kept, 148, 152);
}

static void test_late_frames_are_dropped_and_filling_stops_in_time(void **state)
{
    struct frame_pacer pacer;
    int64_t at_us;
    bool is_boundary;

    frame_pacer_init(&pacer, 30, 1);
    frame_pacer_start(&pacer, -1);
    assert_int_equal(frame_pacer_fill(&pacer, 9000000, &at_us, &is_boundary), FRAME_DROP);
    assert_int_equal(frame_pacer_next(&pacer, 1000000, true, &at_us, &is_boundary), FRAME_KEEP);
    assert_true(is_boundary);
    assert_int_equal(frame_pacer_next(&pacer, 1000000, false, &at_us, &is_boundary), FRAME_DROP);
    assert_int_equal(frame_pacer_fill(&pacer, 1200000, &at_us, &is_boundary), FRAME_DROP);
    assert_int_equal(frame_pacer_fill(&pacer, 1400000, &at_us, &is_boundary), FRAME_REPEAT);
    assert_int_equal(at_us, 1250000);
    assert_int_equal(frame_pacer_fill(&pacer, 1400000, &at_us, &is_boundary), FRAME_DROP);
}

static void test_a_successor_keeps_the_grid(void **state)
{
    struct frame_pacer pacer;
    int64_t at_us;
    bool is_boundary;

    frame_pacer_init(&pacer, 30, 1);
    frame_pacer_start(&pacer, 100000);
    assert_int_equal(frame_pacer_next(&pacer, 4110000, true, &at_us, &is_boundary), FRAME_KEEP);
    assert_true(is_boundary);
    assert_int_equal(pacer.boundary_us, 6100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_boundary_is_the_first_frame_at_or_after_two_seconds),
        cmocka_unit_test(test_a_gap_is_filled_and_no_segment_gets_long),
        cmocka_unit_test(test_a_faster_source_is_thinned_out_evenly),
        cmocka_unit_test(test_late_frames_are_dropped_and_filling_stops_in_time),
        cmocka_unit_test(test_a_successor_keeps_the_grid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
