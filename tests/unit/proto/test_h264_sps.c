/* Real encoders' sequence parameter sets of many shapes are read, and what is cut short or too large is refused. */
#include "proto/h264_sps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* As x264 writes them. */
static const uint8_t high_322x242_ntsc_hrd_sps[] = {
    0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x50, 0x87, 0x88, 0x88, 0xc0, 0x44, 0x00, 0x00, 0x0f, 0xa4, 0x00,
    0x03, 0xa9, 0x81, 0x80, 0x80, 0x07, 0xa1, 0x00, 0x01, 0xe8, 0x4a, 0x4a, 0x30, 0x07, 0x8a, 0x14, 0xcb};
static const uint8_t main_64x64_interlaced_sps[] = {0x67, 0x4d, 0x40, 0x15, 0xf2, 0x08, 0x9b, 0x01,
                                                    0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
                                                    0x03, 0x03, 0x21, 0xf1, 0x42, 0xa4, 0x80};
static const uint8_t high_720x576_anamorphic_sps[] = {0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xb4, 0x24, 0xdf,
                                                      0xf8, 0x02, 0x00, 0x01, 0x68, 0x80, 0x00, 0x00, 0x03, 0x00,
                                                      0x80, 0x00, 0x00, 0x19, 0x0f, 0x8a, 0x14, 0xcb};
static const uint8_t high444_130x98_sps[] = {0x67, 0xf4, 0x00, 0x0b, 0x91, 0x9b, 0x28, 0x49, 0xfc,
                                             0x7c, 0x7e, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20,
                                             0x00, 0x00, 0x06, 0x41, 0xe2, 0x85, 0x32, 0xc0};

static const uint8_t baseline_8192x4320_sps[] = {0x67, 0x42, 0xc0, 0x3e, 0xa6, 0x11, 0x00, 0x20, 0x00, 0x08, 0x76,
                                                 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x03, 0x00, 0x20,
                                                 0x00, 0x00, 0x03, 0x01, 0x51, 0xe1, 0x00, 0x84, 0x23};

static void test_sps_of_other_shapes(void **state)
{
    struct h264_sps sps;
    int width, height;

    assert_int_equal(h264_sps_parse(main_64x64_interlaced_sps, sizeof main_64x64_interlaced_sps, &sps), 0);
    assert_true(sps.interlaced);
    assert_int_equal(sps.width, 64);
    assert_int_equal(sps.height, 64);
    assert_int_equal(h264_sps_parse(high_720x576_anamorphic_sps, sizeof high_720x576_anamorphic_sps, &sps), 0);
    assert_int_equal(sps.sar_width, 64);
    assert_int_equal(sps.sar_height, 45);
    h264_sps_display_size(&sps, &width, &height);
    assert_int_equal(width, 1024);
    assert_int_equal(height, 576);
    assert_int_equal(h264_sps_parse(high444_130x98_sps, sizeof high444_130x98_sps, &sps), 0);
    assert_int_equal(sps.chroma_format_idc, 3);
    assert_int_equal(sps.width, 130);
    assert_int_equal(sps.height, 98);
    assert_int_equal(sps.coded_width, 144);
    assert_int_equal(sps.coded_height, 112);
}

static void test_a_picture_that_no_decoder_here_has_room_for(void **state)
{
    struct h264_sps sps;

    assert_int_equal(h264_sps_parse(baseline_8192x4320_sps, sizeof baseline_8192x4320_sps, &sps), H264_SPS_TOO_LARGE);
    /* Cut short within its size, it is not taken for a large one. */
    assert_int_equal(h264_sps_parse(baseline_8192x4320_sps, 6, &sps), H264_SPS_BROKEN);
}

/* Every prefix: never read past its end (each lies at the end of its own allocation). */
static void test_truncated(void **state)
{
    struct h264_sps sps;

    for (size_t len = 1; len < sizeof high_322x242_ntsc_hrd_sps; len++) {
        uint8_t *copy = test_malloc(len);
        memcpy(copy, high_322x242_ntsc_hrd_sps, len);
        (void)!h264_sps_parse(copy, len, &sps);
        test_free(copy);
    }
}

/* A VUI cut short leaves what came before it. */
static void test_truncated_vui(void **state)
{
    struct h264_sps sps;

    assert_int_equal(h264_sps_parse(high_322x242_ntsc_hrd_sps, 14, &sps), 0);
    assert_int_equal(sps.width, 322);
    assert_int_equal(sps.rate_num, 0);
    assert_int_equal(sps.num_reorder_frames, -1);
    assert_int_equal(h264_sps_parse(high_322x242_ntsc_hrd_sps, 8, &sps), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sps_of_other_shapes),
        cmocka_unit_test(test_a_picture_that_no_decoder_here_has_room_for),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_truncated_vui),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
