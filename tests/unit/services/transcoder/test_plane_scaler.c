/* Beside libyuv's own filter, at sizes that a ladder has and at odd ones; and never outside of the planes (ASan). */
#include "services/transcoder/plane_scaler.h"

#include <libyuv/scale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t *picture(int width, int height)
{
    uint8_t *plane = malloc((size_t)width * (size_t)height);

    assert_non_null(plane);
    for (int i = 0; i < width * height; i++)
        plane[i] = (uint8_t)(i % width * 3 + i / width * 2 + i % 7 * 9);
    return plane;
}

static void compare(int width, int height, int to_width, int to_height)
{
    struct plane_scaler *scaler = plane_scaler_create(width, to_width);
    uint8_t *from = picture(width, height), *ours = picture(to_width, to_height),
            *libyuv = picture(to_width, to_height);
    long sum = 0;

    if (!scaler) /* a CPU without the instructions */
        skip();
    plane_scaler_run(scaler, from, width, height, ours, to_width, to_height);
    ScalePlane(from, width, width, height, libyuv, to_width, to_width, to_height, kFilterBilinear);
    for (int i = 0; i < to_width * to_height; i++)
        sum += abs(ours[i] - libyuv[i]);
    /* libyuv's weights have 7 bits, so single pixels differ by a few steps; a wrong place would differ by tens. */
    assert_true(sum <= 2L * to_width * to_height);
    plane_scaler_destroy(scaler);
    free(from);
    free(ours);
    free(libyuv);
}

static void test_like_libyuv_at_the_ladders_sizes(void **state)
{
    compare(1280, 720, 854, 480);
    compare(640, 360, 427, 240);
    compare(640, 360, 426, 240);
    compare(1920, 1080, 1280, 720);
    compare(720, 1280, 480, 854);
}

static void test_like_libyuv_at_odd_sizes(void **state)
{
    compare(17, 3, 9, 2);
    compare(16, 9, 15, 9);
    compare(641, 361, 500, 299);
    compare(33, 5, 17, 3);
}

static void test_an_even_plane_stays_even(void **state)
{
    struct plane_scaler *scaler = plane_scaler_create(100, 60);
    uint8_t from[100 * 10], to[60 * 6];

    if (!scaler)
        skip();
    for (int value = 0; value < 256; value += 51) {
        memset(from, value, sizeof(from));
        plane_scaler_run(scaler, from, 100, 10, to, 60, 6);
        for (size_t i = 0; i < sizeof(to); i++)
            assert_int_equal(to[i], value);
    }
    plane_scaler_destroy(scaler);
}

static void test_refuses_what_it_cannot_do(void **state)
{
    assert_null(plane_scaler_create(100, 50));
    assert_null(plane_scaler_create(100, 100));
    assert_null(plane_scaler_create(100, 120));
    assert_null(plane_scaler_create(14, 10));
    assert_false(plane_scaler_fits(NULL, 100, 60));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_libyuv_at_the_ladders_sizes),
        cmocka_unit_test(test_like_libyuv_at_odd_sizes),
        cmocka_unit_test(test_an_even_plane_stays_even),
        cmocka_unit_test(test_refuses_what_it_cannot_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
