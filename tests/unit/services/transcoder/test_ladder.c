/* Which renditions a source gets, whatever its shape. */
#include "services/transcoder/ladder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct ladder standard(void)
{
    struct ladder ladder;

    assert_int_equal(ladder_parse("720p:2500,480p:1200,360p:700,240p:350", &ladder), 0);
    return ladder;
}

/* "name width x height@kbit/s …" in one line, to be compared at a glance. */
static const char *planned(int width, int height)
{
    static char text[512];
    struct ladder ladder = standard();
    struct ladder_plan plan;
    int len = 0;

    assert_int_equal(ladder_plan(&ladder, width, height, (struct ladder_rate){30, 1}, 0, &plan), 0);
    text[0] = '\0';
    for (int i = 0; i < plan.count; i++) {
        const struct ladder_rendition *rendition = &plan.renditions[i];
        assert_int_equal(rendition->width % 2, 0);
        assert_int_equal(rendition->height % 2, 0);
        assert_true(rendition->width <= width && rendition->height <= height);
        len += snprintf(text + len, sizeof text - (size_t)len, "%s%s %dx%d@%d", i ? ", " : "", rendition->name,
                        rendition->width, rendition->height, rendition->bitrate_kbps);
    }
    return text;
}

static void test_parse(void **state)
{
    struct ladder ladder;

    assert_int_equal(ladder_parse(" 240p:350 , 1080p : 5000 ", &ladder), 0);
    assert_int_equal(ladder.count, 2);
    assert_string_equal(ladder.rungs[0].name, "1080p");
    assert_int_equal(ladder.rungs[0].bitrate_kbps, 5000);
    assert_int_equal(ladder.rungs[1].short_side, 240);
    assert_int_equal(ladder_parse("2p:1,4p:1", &ladder), -1);
    static const char *const wrong[] = {"",
                                        "720p",
                                        "720:2500",
                                        "720p:",
                                        "720p:2500,",
                                        ",720p:2500",
                                        "720p:2500;",
                                        "720p:2500x",
                                        "721p:2500",
                                        "720p:0",
                                        "720p:99999999",
                                        "8p:100",
                                        "9000p:100",
                                        "720p:1,720p:2",
                                        "720p:100,720p:200",
                                        "-720p:2500",
                                        "99999999999999999999p:1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ladder_parse(wrong[i], &ladder), -1);
    assert_int_equal(ladder_parse("100p:50,102p:50,104p:50,106p:50,108p:50,110p:50,112p:50,114p:50", &ladder), 0);
    assert_int_equal(ladder_parse("100p:50,102p:50,104p:50,106p:50,108p:50,110p:50,112p:50,114p:50,116p:50", &ladder),
                     -1);
}

static void test_plan_by_the_short_side(void **state)
{
    assert_string_equal(planned(1280, 720),
                        "720p 1280x720@2500, 480p 854x480@1200, 360p 640x360@700, 240p 426x240@350");
    assert_string_equal(planned(1920, 1080),
                        "720p 1280x720@2500, 480p 854x480@1200, 360p 640x360@700, 240p 426x240@350");
    assert_string_equal(planned(720, 1280),
                        "720p 720x1280@2500, 480p 480x854@1200, 360p 360x640@700, 240p 240x426@350");
    assert_string_equal(planned(600, 600), "480p 480x480@1200, 360p 360x360@700, 240p 240x240@350");
    assert_string_equal(planned(640, 360), "360p 640x360@700, 240p 426x240@350");
}

static void test_plan_of_odd_sources(void **state)
{
    assert_string_equal(planned(1279, 719),
                        "720p 1278x718@2500, 480p 854x480@1200, 360p 640x360@700, 240p 426x240@350");
    assert_string_equal(planned(1366, 768),
                        "720p 1280x720@2500, 480p 854x480@1200, 360p 640x360@700, 240p 426x240@350");
    assert_string_equal(planned(641, 241), "240p 638x240@350");
}

static void test_plan_of_tiny_sources(void **state)
{
    assert_string_equal(planned(321, 181), "180p 320x180@196");
    assert_string_equal(planned(90, 160), "90p 90x160@50");
    assert_string_equal(planned(2, 3), "2p 2x2@50");
}

static void test_plan_refused(void **state)
{
    struct ladder ladder = standard();
    struct ladder_plan plan;
    struct ladder_rate rate = {30, 1};

    assert_int_equal(ladder_plan(&ladder, 0, 720, rate, 0, &plan), -1);
    assert_int_equal(ladder_plan(&ladder, 1, 720, rate, 0, &plan), -1);
    assert_int_equal(ladder_plan(&ladder, 100000, 720, rate, 0, &plan), -1);
}

static void assert_rate(int num, int den, int max_rate, int expected_num, int expected_den)
{
    struct ladder ladder = standard();
    struct ladder_plan plan;

    assert_int_equal(ladder_plan(&ladder, 640, 360, (struct ladder_rate){num, den}, max_rate, &plan), 0);
    assert_int_equal((int64_t)plan.rate.num * expected_den, (int64_t)plan.rate.den * expected_num);
}

static void test_rates(void **state)
{
    assert_rate(30, 1, 30, 30, 1);
    assert_rate(60, 1, 30, 30, 1);
    assert_rate(60000, 1001, 30, 30000, 1001);
    assert_rate(60000, 1001, 0, 60000, 1001);
    assert_rate(50, 1, 30, 25, 1);
    assert_rate(144, 1, 60, 48, 1);
    assert_rate(0, 1, 30, 30, 1);
    assert_rate(25, 0, 60, 30, 1);
}

static void assert_rectangle(int source_width, int source_height, int width, int height, int x, int y, int inner_width,
                             int inner_height)
{
    struct ladder_rectangle got = ladder_letterbox(source_width, source_height, width, height);

    assert_int_equal(got.x, x);
    assert_int_equal(got.y, y);
    assert_int_equal(got.width, inner_width);
    assert_int_equal(got.height, inner_height);
}

static void test_letterbox(void **state)
{
    assert_rectangle(1280, 720, 640, 360, 0, 0, 640, 360);
    assert_rectangle(640, 480, 1280, 720, 160, 0, 960, 720);
    assert_rectangle(720, 1280, 640, 360, 218, 0, 202, 360);
    assert_rectangle(1920, 800, 1280, 720, 0, 92, 1280, 534);
    assert_rectangle(2, 8192, 640, 360, 318, 0, 2, 360);
    /* For any shape: inside, even, touching two opposite sides. */
    for (int width = 2; width < 300; width += 7)
        for (int height = 2; height < 300; height += 5) {
            struct ladder_rectangle got = ladder_letterbox(width, height, 426, 240);
            assert_true(got.x >= 0 && got.y >= 0 && got.width >= 2 && got.height >= 2);
            assert_true(got.x + got.width <= 426 && got.y + got.height <= 240);
            assert_true(got.width == 426 || got.height == 240);
            assert_true((got.x | got.y | got.width | got.height) % 2 == 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_plan_by_the_short_side),
        cmocka_unit_test(test_plan_of_odd_sources),
        cmocka_unit_test(test_plan_of_tiny_sources),
        cmocka_unit_test(test_plan_refused),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_letterbox),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
