#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/buffer.h"
#include "proto/flv.h"

#include <stdlib.h>
#include <string.h>

static void test_what_is_appended_can_be_parsed(void **state)
{
    static const char video[] = "\x17\x01\xff\xff\xfe\x00\x00\x00\x01\x65";
    struct buffer buffer;
    struct flv_tag tag;

    buffer_init(&buffer, 200);
    assert_int_equal(flv_tag_append(&buffer, FLV_TAG_VIDEO, 0xfedcba98, video, 10), 0);
    assert_int_equal(flv_tag_append(&buffer, FLV_TAG_AUDIO, 7, "\xaf\x00\x11\x90", 4), 0);
    assert_int_equal(flv_tag_append(&buffer, FLV_TAG_SCRIPT, 0, "", 0), 0);
    int taken = flv_tag_parse(buffer.data, buffer.len, &tag);
    assert_int_equal(taken, 10 + FLV_TAG_OVERHEAD);
    assert_int_equal(tag.type, FLV_TAG_VIDEO);
    assert_int_equal(tag.timestamp_ms, 0xfedcba98);
    assert_int_equal(tag.codec, FLV_VIDEO_AVC);
    assert_true(tag.is_keyframe && tag.is_media && !tag.is_sequence_header);
    assert_int_equal(tag.composition_offset_ms, -2);
    assert_int_equal(tag.payload_len, 5);
    assert_true(flv_avc_payload_is_sound(tag.payload, tag.payload_len, 4));
    int second = flv_tag_parse(buffer.data + taken, buffer.len - (size_t)taken, &tag);
    assert_int_equal(second, 4 + FLV_TAG_OVERHEAD);
    assert_true(tag.is_sequence_header && !tag.is_media);
    struct flv_aac_config config;
    assert_int_equal(flv_aac_config_parse(tag.payload, tag.payload_len, &config), 0);
    assert_int_equal(config.object_type, 2);
    assert_int_equal(config.sample_rate, 48000);
    assert_int_equal(config.channels, 2);
    taken += second;
    assert_int_equal(flv_tag_parse(buffer.data + taken, buffer.len - (size_t)taken, &tag), FLV_TAG_OVERHEAD);
    assert_false(tag.is_media);
    buffer_clear(&buffer);
}

static void test_every_cut_waits_for_more(void **state)
{
    struct buffer buffer;
    struct flv_tag tag;

    buffer_init(&buffer, 100);
    assert_int_equal(flv_tag_append(&buffer, FLV_TAG_AUDIO, 1, "\xaf\x01xy", 4), 0);
    for (size_t len = 0; len < buffer.len; len++) {
        uint8_t *cut = malloc(len ? len : 1); /* so that a read beyond it is found */
        memcpy(cut, buffer.data, len);
        assert_int_equal(flv_tag_parse(cut, len, &tag), 0);
        free(cut);
    }
    buffer.data[buffer.len - 1]++; /* PreviousTagSize lies */
    assert_int_equal(flv_tag_parse(buffer.data, buffer.len, &tag), -1);
    buffer.data[0] = 7;
    assert_int_equal(flv_tag_parse(buffer.data, buffer.len, &tag), -1);
    buffer_clear(&buffer);
}

static void test_append_respects_the_maximum(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 20);
    assert_int_equal(flv_tag_append(&buffer, FLV_TAG_AUDIO, 1, "123456", 6), -1);
    assert_int_equal(buffer.len, 0);
    assert_int_equal(flv_tag_append(&buffer, FLV_TAG_AUDIO, 1, "12345", 5), 0);
    buffer_clear(&buffer);
}

static void test_short_bodies(void **state)
{
    struct flv_tag tag;

    for (size_t len = 0; len <= 5; len++) {
        uint8_t *body = calloc(1, len ? len : 1);
        if (len > 0)
            body[0] = 0x17;
        if (len > 1)
            body[1] = 1;
        flv_body_parse(FLV_TAG_VIDEO, 0, body, len, &tag);
        assert_false(tag.is_media || tag.is_keyframe);
        assert_int_equal(tag.payload_len, 0);
        if (len > 0)
            body[0] = 0xaf;
        flv_body_parse(FLV_TAG_AUDIO, 0, body, len, &tag);
        assert_int_equal(tag.is_media, len > 2);
        free(body);
    }
}

static void test_enhanced_codecs_are_named(void **state)
{
    struct flv_tag tag;

    flv_body_parse(FLV_TAG_VIDEO, 0, (const uint8_t *)"\x91hvc1\x00\x00\x00x", 9, &tag);
    assert_int_equal(tag.codec, FLV_VIDEO_ENHANCED);
    assert_string_equal(tag.fourcc, "hvc1");
    assert_true(tag.is_keyframe);
    flv_body_parse(FLV_TAG_AUDIO, 0, (const uint8_t *)"\x90Opus", 5, &tag);
    assert_int_equal(tag.codec, FLV_AUDIO_ENHANCED);
    assert_string_equal(tag.fourcc, "Opus");
}

static void test_avc_config(void **state)
{
    static const uint8_t record[] = {1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 2, 0x68, 0xee};
    struct flv_avc_config config;

    assert_int_equal(flv_avc_config_parse(record, sizeof(record), &config), 0);
    assert_int_equal(config.profile, 0x64);
    assert_int_equal(config.level, 0x1f);
    assert_int_equal(config.nal_length_size, 4);
    assert_int_equal(config.sps_count, 1);
    assert_int_equal(config.pps_count, 1);
    for (size_t len = 0; len < sizeof(record); len++) {
        uint8_t *cut = malloc(len ? len : 1);
        memcpy(cut, record, len);
        assert_int_equal(flv_avc_config_parse(cut, len, &config), -1);
        free(cut);
    }
}

static void test_avc_payload_that_lies(void **state)
{
    assert_true(flv_avc_payload_is_sound((const uint8_t *)"\x00\x01x\x00\x02yz", 7, 2));
    assert_false(flv_avc_payload_is_sound((const uint8_t *)"\x00\x01x\x00\x03yz", 7, 2));
    assert_false(flv_avc_payload_is_sound((const uint8_t *)"\x00\x01x\x00", 4, 2));
    assert_false(flv_avc_payload_is_sound((const uint8_t *)"\xff\xff\xff\xffx", 5, 4));
    static const uint8_t empty_units[FLV_MAX_AVC_NAL_UNITS + 1];
    assert_false(flv_avc_payload_is_sound(empty_units, sizeof(empty_units), 1));
}

static void test_aac_config(void **state)
{
    struct flv_aac_config config;

    /* Explicit frequency; HE-AAC with its core's rate; too short; a reserved rate. */
    assert_int_equal(flv_aac_config_parse((const uint8_t *)"\x17\x80\x5d\xc0\x10", 5, &config), 0);
    assert_int_equal(config.sample_rate, 48000);
    assert_int_equal(flv_aac_config_parse((const uint8_t *)"\x2b\x92\x08\x00", 4, &config), 0);
    assert_int_equal(config.object_type, 5);
    assert_int_equal(flv_aac_config_parse((const uint8_t *)"\x11", 1, &config), -1);
    assert_int_equal(flv_aac_config_parse((const uint8_t *)"", 0, &config), -1);
    assert_int_equal(flv_aac_config_parse((const uint8_t *)"\x16\x90", 2, &config), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_appended_can_be_parsed), cmocka_unit_test(test_every_cut_waits_for_more),
        cmocka_unit_test(test_append_respects_the_maximum),    cmocka_unit_test(test_short_bodies),
        cmocka_unit_test(test_enhanced_codecs_are_named),      cmocka_unit_test(test_avc_config),
        cmocka_unit_test(test_avc_payload_that_lies),          cmocka_unit_test(test_aac_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
