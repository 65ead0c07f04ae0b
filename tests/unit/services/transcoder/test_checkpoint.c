/* What a successor reads is what its predecessor wrote, and nothing else is believed. */
#include "services/transcoder/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct checkpoint example(void)
{
    struct checkpoint c = {.position = "1795259957341-3",
                           .in_session = true,
                           .session = 1795259957000,
                           .number = 12,
                           .start_us = 24023000,
                           .origin_us = 23000,
                           .audio_frame = 1127,
                           .discontinuity = true,
                           .anchor_us = 23000,
                           .anchor_wall_ms = 1795259957100,
                           .thumbnail_us = 30000000};

    timeline_init(&c.timeline, NULL);
    c.plan = (struct output_plan){.has_video = true, .has_audio = true, .rate_num = 30, .rate_den = 1, .count = 2};
    c.plan.renditions[0] = (struct output_rendition){"720p", 1280, 720, 2500, false};
    c.plan.renditions[1] = (struct output_rendition){"240p", 426, 240, 350, false};
    c.continuity[0] = 0xfedcba98;
    c.continuity[1] = 7;
    return c;
}

static void test_comes_back_as_it_was(void **state)
{
    const struct checkpoint before = example();
    struct checkpoint after;
    char *text = checkpoint_encode(&before);

    assert_non_null(text);
    assert_int_equal(checkpoint_parse(text, strlen(text), &after), 0);
    assert_string_equal(after.position, before.position);
    assert_true(after.in_session && after.discontinuity);
    assert_int_equal(after.session, before.session);
    assert_int_equal(after.number, 12);
    assert_int_equal(after.start_us, before.start_us);
    assert_int_equal(after.origin_us, before.origin_us);
    assert_int_equal(after.audio_frame, before.audio_frame);
    assert_int_equal(after.anchor_wall_ms, before.anchor_wall_ms);
    assert_int_equal(after.thumbnail_us, before.thumbnail_us);
    assert_int_equal(after.plan.count, 2);
    assert_string_equal(after.plan.renditions[1].name, "240p");
    assert_int_equal(after.plan.renditions[0].bitrate_kbps, 2500);
    assert_int_equal(after.continuity[0], 0xfedcba98);
    assert_memory_equal(&after.timeline, &before.timeline, sizeof(after.timeline));
    free(text);
}

static void test_refuses_what_is_no_checkpoint(void **state)
{
    struct checkpoint before = example(), after;
    static const char *const texts[] = {"", "{}", "[]", "null", "{\"version\":2}", "{\"version\":1,\"position\":5}"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(checkpoint_parse(texts[i], strlen(texts[i]), &after), -1);
    char *text = checkpoint_encode(&before);
    for (size_t cut = 1; cut < strlen(text); cut += 7)
        assert_int_equal(checkpoint_parse(text, cut, &after), -1);
    free(text);
    before.plan.count = 0;
    text = checkpoint_encode(&before);
    assert_int_equal(checkpoint_parse(text, strlen(text), &after), -1);
    free(text);
    before = example();
    before.start_us = -5;
    text = checkpoint_encode(&before);
    assert_int_equal(checkpoint_parse(text, strlen(text), &after), -1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comes_back_as_it_was),
        cmocka_unit_test(test_refuses_what_is_no_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
