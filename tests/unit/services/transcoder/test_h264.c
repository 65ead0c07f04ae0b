/* Real encoders' parameter sets are read, framing is converted both ways, lengths that lie lead nowhere. */
#include "services/transcoder/h264.h"

#include "libcommon/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* Sequence headers as x264 writes them. */
static const uint8_t baseline_1280x718_30[] = {0x01, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x42,
                                               0xc0, 0x1f, 0xda, 0x01, 0x40, 0x16, 0xfe, 0xb0, 0x11, 0x00,
                                               0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x3c, 0x8f,
                                               0x18, 0x32, 0xa0, 0x01, 0x00, 0x04, 0x68, 0xce, 0x0f, 0xc8};
static const uint8_t high_322x242_ntsc_hrd[] = {
    0x01, 0x64, 0x00, 0x0d, 0xff, 0xe1, 0x00, 0x23, 0x67, 0x64, 0x00, 0x0d, 0xac, 0xd9, 0x41, 0x50, 0x87, 0x88,
    0x88, 0xc0, 0x44, 0x00, 0x00, 0x0f, 0xa4, 0x00, 0x03, 0xa9, 0x81, 0x80, 0x80, 0x07, 0xa1, 0x00, 0x01, 0xe8,
    0x4a, 0x4a, 0x30, 0x07, 0x8a, 0x14, 0xcb, 0x01, 0x00, 0x04, 0x68, 0xef, 0x8f, 0xcb, 0xfd, 0xf8, 0xf8, 0x00};
static const uint8_t baseline_8192x4320_sps[] = {0x67, 0x42, 0xc0, 0x3e, 0xa6, 0x11, 0x00, 0x20, 0x00, 0x08, 0x76,
                                                 0xc0, 0x5a, 0x80, 0x80, 0x80, 0xa0, 0x00, 0x00, 0x03, 0x00, 0x20,
                                                 0x00, 0x00, 0x03, 0x01, 0x51, 0xe1, 0x00, 0x84, 0x23};

static void test_config_of_a_plain_encoder(void **state)
{
    struct h264_config config;
    char codec[H264_CODEC_STRING_SIZE];

    assert_int_equal(h264_config_parse(baseline_1280x718_30, sizeof baseline_1280x718_30, &config), 0);
    assert_int_equal(config.nal_length_size, 4);
    assert_int_equal(config.sps_count, 1);
    assert_int_equal(config.pps_count, 1);
    assert_int_equal(config.sps.width, 1280);
    assert_int_equal(config.sps.height, 718);
    assert_int_equal(config.sps.rate_num / config.sps.rate_den, 30);
    assert_int_equal(config.sps.num_reorder_frames, 0);
    assert_false(config.sps.interlaced);
    h264_codec_string(&config.sps, codec);
    assert_string_equal(codec, "avc1.42c01f");
    assert_int_equal(config.parameter_sets_len, 4 + 0x19 + 4 + 4);
    assert_memory_equal(config.parameter_sets, "\0\0\0\1\x67\x42", 6);
    assert_memory_equal(config.parameter_sets + 4 + 0x19, "\0\0\0\1\x68\xce\x0f\xc8", 8);
}

static void test_config_with_reordering_and_hrd(void **state)
{
    struct h264_config config;
    char codec[H264_CODEC_STRING_SIZE];

    assert_int_equal(h264_config_parse(high_322x242_ntsc_hrd, sizeof high_322x242_ntsc_hrd, &config), 0);
    assert_int_equal(config.sps.width, 322);
    assert_int_equal(config.sps.height, 242);
    assert_true((int64_t)config.sps.rate_num * 1001 == (int64_t)config.sps.rate_den * 30000);
    assert_int_equal(config.sps.num_reorder_frames, 2);
    h264_codec_string(&config.sps, codec);
    assert_string_equal(codec, "avc1.64000d");
}

/* Every prefix of a record: refused, never read past its end (each lies at the end of its own allocation). */
static void test_truncated_records(void **state)
{
    struct h264_config config;
    struct h264_sps sps;

    for (size_t len = 0; len < sizeof high_322x242_ntsc_hrd; len++) {
        uint8_t *copy = test_malloc(len ? len : 1);
        memcpy(copy, high_322x242_ntsc_hrd, len);
        /* Behind the PPS lie four bytes of the high profiles' extension, which are not needed. */
        assert_int_equal(h264_config_parse(copy, len, &config), len < sizeof high_322x242_ntsc_hrd - 4 ? -1 : 0);
        if (len > 8)
            (void)!h264_sps_parse(copy + 8, len - 8, &sps);
        test_free(copy);
    }
}

static void test_lying_records(void **state)
{
    struct h264_config config;
    uint8_t record[sizeof baseline_1280x718_30];

    memcpy(record, baseline_1280x718_30, sizeof record);
    record[7] = 0xff;
    assert_int_equal(h264_config_parse(record, sizeof record, &config), -1);
    memcpy(record, baseline_1280x718_30, sizeof record);
    record[0] = 0;
    assert_int_equal(h264_config_parse(record, sizeof record, &config), -1);
    memcpy(record, baseline_1280x718_30, sizeof record);
    record[4] = 0xfe; /* three length bytes: reserved */
    assert_int_equal(h264_config_parse(record, sizeof record, &config), -1);
    memcpy(record, baseline_1280x718_30, sizeof record);
    record[5] = 0xe0; /* no SPS */
    assert_int_equal(h264_config_parse(record, sizeof record, &config), -1);
}

static void test_config_equality(void **state)
{
    struct h264_config one, two;

    assert_int_equal(h264_config_parse(baseline_1280x718_30, sizeof baseline_1280x718_30, &one), 0);
    assert_int_equal(h264_config_from_annexb(one.parameter_sets, one.parameter_sets_len, &two), 0);
    assert_true(h264_config_equal(&one, &two));
    assert_int_equal(h264_config_parse(high_322x242_ntsc_hrd, sizeof high_322x242_ntsc_hrd, &two), 0);
    assert_false(h264_config_equal(&one, &two));
    assert_int_equal(h264_config_from_annexb(one.parameter_sets, 4 + 0x19, &two), -1);
}

static void test_lengths_to_start_codes(void **state)
{
    static const uint8_t payload[] = {0, 0, 0, 2, 0x09, 0xf0, 0, 0, 0, 0, 0, 0, 0, 3, 0x65, 0x88, 0x84};
    static const uint8_t plain[] = {0, 0, 0, 1, 0x09, 0xf0, 0, 0, 0, 1, 0x65, 0x88, 0x84};
    struct h264_config config;
    struct h264_access_unit unit;
    struct buffer out;

    buffer_init(&out, 4096);
    assert_int_equal(h264_avcc_to_annexb(payload, sizeof payload, 4, NULL, &out), 0);
    assert_int_equal(out.len, sizeof plain);
    assert_memory_equal(out.data, plain, sizeof plain);

    /* With a configuration: delimiter, parameter sets, picture. */
    buffer_reset(&out);
    assert_int_equal(h264_config_parse(baseline_1280x718_30, sizeof baseline_1280x718_30, &config), 0);
    assert_int_equal(h264_avcc_to_annexb(payload, sizeof payload, 4, &config, &out), 0);
    assert_int_equal(out.len, sizeof plain + config.parameter_sets_len);
    assert_memory_equal(out.data, plain, 6);
    assert_memory_equal(out.data + 6, config.parameter_sets, config.parameter_sets_len);
    assert_memory_equal(out.data + 6 + config.parameter_sets_len, plain + 6, 7);
    h264_access_unit_inspect(out.data, out.len, &unit);
    assert_true(unit.is_idr && unit.has_sps && unit.has_pps && unit.has_aud);
    assert_int_equal(unit.nal_count, 4);

    /* The same for what has start codes already; and what has its sets is left alone. */
    struct buffer again;
    buffer_init(&again, 4096);
    assert_int_equal(h264_access_unit_complete(plain, sizeof plain, &config, &again), 0);
    assert_int_equal(again.len, out.len);
    assert_memory_equal(again.data, out.data, out.len);
    buffer_reset(&again);
    assert_int_equal(h264_access_unit_complete(out.data, out.len, &config, &again), 0);
    assert_int_equal(again.len, out.len);
    buffer_clear(&again);
    buffer_clear(&out);
}

static void test_no_sets_in_front_of_other_pictures(void **state)
{
    static const uint8_t payload[] = {0, 2, 0x41, 0x9a};
    struct h264_config config;
    struct buffer out;

    buffer_init(&out, 64);
    assert_int_equal(h264_config_parse(baseline_1280x718_30, sizeof baseline_1280x718_30, &config), 0);
    assert_int_equal(h264_avcc_to_annexb(payload, sizeof payload, 2, &config, &out), 0);
    assert_int_equal(out.len, 6);
    buffer_clear(&out);
}

static void test_broken_lengths(void **state)
{
    static const uint8_t beyond[] = {0, 0, 0, 2, 0x41, 0x9a, 0, 0, 0, 9, 0x41};
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0x41};
    static const uint8_t scrap[] = {0, 0, 0, 1, 0x41, 0, 0};
    struct buffer out;

    buffer_init(&out, 16);
    assert_int_equal(buffer_append(&out, "x", 1), 0);
    assert_int_equal(h264_avcc_to_annexb(beyond, sizeof beyond, 4, NULL, &out), -1);
    assert_int_equal(h264_avcc_to_annexb(huge, sizeof huge, 4, NULL, &out), -1);
    assert_int_equal(h264_avcc_to_annexb(scrap, sizeof scrap, 4, NULL, &out), -1);
    assert_int_equal(h264_avcc_to_annexb(scrap, 0, 4, NULL, &out), -1);
    assert_int_equal(out.len, 1);
    /* A full buffer keeps what it had. */
    static const uint8_t large[] = {7, 1, 2, 3, 4, 5, 6, 7, 7, 1, 2, 3, 4, 5, 6, 7};
    assert_int_equal(h264_avcc_to_annexb(large, sizeof large, 1, NULL, &out), -1);
    assert_int_equal(out.len, 1);
    buffer_clear(&out);
}

static void test_start_codes_of_both_lengths(void **state)
{
    static const uint8_t stream[] = {9, 9, 0, 0, 0, 1, 0x67, 1, 0,    0, 1, 0x68, 2,
                                     0, 0, 0, 0, 1, 0, 0,    1, 0x65, 3, 0, 0};
    const uint8_t *at = stream;
    size_t left = sizeof stream;
    struct h264_nal nal;

    assert_int_equal(h264_annexb_next(&at, &left, &nal), 1);
    assert_int_equal(nal.type, H264_NAL_SPS);
    assert_int_equal(nal.len_bytes, 2);
    assert_int_equal(h264_annexb_next(&at, &left, &nal), 1);
    assert_int_equal(nal.type, H264_NAL_PPS);
    assert_int_equal(nal.len_bytes, 2);
    assert_int_equal(h264_annexb_next(&at, &left, &nal), 1);
    assert_int_equal(nal.type, H264_NAL_IDR);
    assert_int_equal(nal.ref_idc, 3);
    assert_int_equal(nal.len_bytes, 2);
    assert_int_equal(h264_annexb_next(&at, &left, &nal), 0);
    assert_int_equal(left, 0);
}

static void test_recovery_point(void **state)
{
    static const uint8_t with[] = {0, 0, 1, 0x06, 0x05, 0x02, 0xaa, 0xbb, 0x06, 0x01, 0xc4, 0x80, 0, 0, 1, 0x41, 0x9a};
    static const uint8_t without[] = {0,    0,    1,    0x06, 0x05, 0x06, 0x06, 0x01, 0xc4,
                                      0x06, 0x06, 0x06, 0x80, 0,    0,    1,    0x41, 0x9a};
    struct h264_access_unit unit;

    h264_access_unit_inspect(with, sizeof with, &unit);
    assert_true(unit.has_recovery_point);
    assert_false(unit.is_idr);
    h264_access_unit_inspect(without, sizeof without, &unit);
    assert_false(unit.has_recovery_point);
}

/* As the first parameter set, as another one behind it, and as one within the stream. */
static void test_pictures_that_no_decoder_here_has_room_for(void **state)
{
    const size_t sps_len = sizeof baseline_8192x4320_sps, plain_len = sizeof baseline_1280x718_30;
    uint8_t bytes[200], *end = bytes;
    struct h264_config config;
    struct buffer out;

    /* The record of the plain encoder with a second SPS behind its own. */
    end = mempcpy(end, baseline_1280x718_30, 8 + 0x19);
    bytes[5] = 0xe2;
    *end++ = 0;
    *end++ = (uint8_t)sps_len;
    end = mempcpy(end, baseline_8192x4320_sps, sps_len);
    end = mempcpy(end, baseline_1280x718_30 + 8 + 0x19, plain_len - 8 - 0x19);
    assert_int_equal(h264_config_parse(bytes, (size_t)(end - bytes), &config), -1);

    buffer_init(&out, 1000);
    bytes[0] = (uint8_t)sps_len;
    end = mempcpy(bytes + 1, baseline_8192x4320_sps, sps_len);
    end = mempcpy(end, "\2\x65\x88", 3);
    assert_int_equal(h264_avcc_to_annexb(bytes, (size_t)(end - bytes), 1, NULL, &out), -1);
    assert_int_equal(out.len, 0);
    bytes[0] = 0x19;
    end = mempcpy(bytes + 1, baseline_1280x718_30 + 8, 0x19);
    end = mempcpy(end, "\2\x65\x88", 3);
    assert_int_equal(h264_config_parse(baseline_1280x718_30, plain_len, &config), 0);
    assert_int_equal(h264_avcc_to_annexb(bytes, (size_t)(end - bytes), 1, &config, &out), 0);
    buffer_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_of_a_plain_encoder),
        cmocka_unit_test(test_config_with_reordering_and_hrd),
        cmocka_unit_test(test_pictures_that_no_decoder_here_has_room_for),
        cmocka_unit_test(test_truncated_records),
        cmocka_unit_test(test_lying_records),
        cmocka_unit_test(test_config_equality),
        cmocka_unit_test(test_lengths_to_start_codes),
        cmocka_unit_test(test_no_sets_in_front_of_other_pictures),
        cmocka_unit_test(test_broken_lengths),
        cmocka_unit_test(test_start_codes_of_both_lengths),
        cmocka_unit_test(test_recovery_point),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
