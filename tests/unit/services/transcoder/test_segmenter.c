/* When a segment is handed over, and with which frames. */
#include "services/transcoder/segmenter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FRAME_US 500000 /* four frames to a segment */

static const struct output_plan plan = {
    .has_video = true, .rate_num = 2, .rate_den = 1, .count = 1, .renditions = {{"360p", 640, 360, 700, false}}};
static const uint8_t unit[] = {0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x41, 0x9a, 1, 2, 3, 4};

struct seen {
    int segments;
    size_t len_bytes[8];
};

static void on_segment(struct finished_segment *segment, void *context)
{
    struct seen *seen = context;

    assert_int_equal(segment->number, seen->segments);
    seen->len_bytes[seen->segments++] = segment->ts[0].len;
}

static int give(struct segmenter *segmenter, int frame)
{
    return segmenter_add_video(segmenter, 0, frame * FRAME_US, frame * FRAME_US, unit, sizeof(unit));
}

/* Announces three segments of four frames, the last one open. */
static struct segmenter *announced(struct seen *seen)
{
    struct segmenter *segmenter = segmenter_create(&plan, on_segment, seen);

    for (int frame = 0; frame < 12; frame++) {
        if (frame % 4 == 0)
            segmenter_begin(segmenter, frame * FRAME_US);
        segmenter_count_frame(segmenter);
    }
    return segmenter;
}

static void handed_over_with_its_last_frame(void **state)
{
    struct seen seen = {0};
    struct segmenter *segmenter = announced(&seen);

    for (int frame = 0; frame < 3; frame++)
        assert_int_equal(give(segmenter, frame), 0);
    assert_int_equal(seen.segments, 0);
    assert_int_equal(give(segmenter, 3), 0);
    assert_int_equal(seen.segments, 1);
    segmenter_destroy(segmenter);
}

/* The encoder for the second segment is faster than the one it replaced. */
static void a_replaced_encoders_frames_are_waited_for(void **state)
{
    struct seen seen = {0}, in_order = {0};
    struct segmenter *segmenter = announced(&seen);

    assert_int_equal(give(segmenter, 0), 0);
    for (int frame = 4; frame < 9; frame++)
        assert_int_equal(give(segmenter, frame), 0);
    assert_int_equal(seen.segments, 0);
    for (int frame = 1; frame < 4; frame++)
        assert_int_equal(give(segmenter, frame), 0);
    assert_int_equal(seen.segments, 2);
    segmenter_destroy(segmenter);

    segmenter = announced(&in_order);
    for (int frame = 0; frame < 9; frame++)
        assert_int_equal(give(segmenter, frame), 0);
    assert_int_equal(seen.len_bytes[0], in_order.len_bytes[0]);
    assert_int_equal(seen.len_bytes[1], in_order.len_bytes[1]);
    segmenter_destroy(segmenter);
}

static void a_swallowed_frame_is_not_waited_for(void **state)
{
    struct seen seen = {0};
    struct segmenter *segmenter = announced(&seen);

    for (int frame = 0; frame < 3; frame++)
        assert_int_equal(give(segmenter, frame), 0);
    segmenter_passed(segmenter, 0, 3 * FRAME_US);
    assert_int_equal(seen.segments, 0);
    segmenter_passed(segmenter, 0, 4 * FRAME_US);
    assert_int_equal(seen.segments, 1);
    assert_int_equal(give(segmenter, 3), -1); /* too late */
    segmenter_destroy(segmenter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handed_over_with_its_last_frame),
        cmocka_unit_test(a_replaced_encoders_frames_are_waited_for),
        cmocka_unit_test(a_swallowed_frame_is_not_waited_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
