#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/h264_sps.h"
#include "services/ingest/media_guard.h"

#include <string.h>

static const struct media_guard_limits limits = {
    .max_bitrate_kbps = 1000, .max_picture_samples = H264_MAX_PICTURE_SAMPLES, .keyframe_ms = 30000};
static struct media_guard guard;

static int setup(void **state)
{
    media_guard_init(&guard, &limits);
    return 0;
}

static enum close_reason check(enum flv_tag_type type, const void *body, size_t len, int64_t now_ms)
{
    struct flv_tag tag;

    flv_body_parse(type, 0, body, len, &tag);
    return media_guard_check(&guard, &tag, now_ms);
}
#define CHECK(type, bytes, now_ms) check(type, bytes, sizeof(bytes) - 1, now_ms)

#define AVC_CONFIG "\x17\x00\x00\x00\x00\x01\x64\x00\x1f\xff\xe1\x00\x04\x67\x64\x00\x1f\x01\x00\x02\x68\xee"
#define KEY_FRAME  "\x17\x01\x00\x00\x00\x00\x00\x00\x02\x65\x88"
#define FRAME      "\x27\x01\x00\x00\x00\x00\x00\x00\x02\x41\x88"

static void test_sound_media_passes(void **state)
{
    assert_int_equal(CHECK(FLV_TAG_VIDEO, AVC_CONFIG, 1000), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, KEY_FRAME, 1000), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, FRAME, 1040), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_AUDIO, "\xaf\x00\x11\x90", 1040), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_AUDIO, "\xaf\x01\x21\x22", 1040), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_SCRIPT, "\x02\x00\x0aonMetaData", 1040), CLOSE_NONE);
}

static void test_other_codecs(void **state)
{
    assert_int_equal(CHECK(FLV_TAG_VIDEO, "\x12\x00\x00", 0), CLOSE_VIDEO_CODEC);         /* Sorenson */
    assert_int_equal(CHECK(FLV_TAG_VIDEO, "\x1c\x00\x00\x00\x00", 0), CLOSE_VIDEO_CODEC); /* HEVC, the old way */
    assert_int_equal(CHECK(FLV_TAG_VIDEO, "\x90hvc1\x01", 0), CLOSE_VIDEO_CODEC);         /* HEVC, Enhanced RTMP */
    assert_int_equal(CHECK(FLV_TAG_AUDIO, "\x2f\xff\xfb", 0), CLOSE_AUDIO_CODEC);         /* MP3 */
    assert_int_equal(CHECK(FLV_TAG_AUDIO, "\xb2\x00", 0), CLOSE_AUDIO_CODEC);             /* Speex */
}

static void test_lying_sizes(void **state)
{
    assert_int_equal(CHECK(FLV_TAG_VIDEO, AVC_CONFIG, 0), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, "\x17\x01\x00\x00\x00\x00\x00\x00\x03\x65\x88", 0), CLOSE_BAD_MEDIA);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, "\x17\x01\x00\x00\x00\xff\xff\xff\xff\x65\x88", 0), CLOSE_BAD_MEDIA);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, "\x17\x00\x00\x00\x00\x01\x64\x00\x1f\xff\xe1\xff\xff\x67", 0),
                     CLOSE_BAD_MEDIA);
}

/* Sequence parameter sets of x264: 8192x4320 in 31 bytes, 1280x718 (coded 1280x720) in 25. */
#define SPS_8192x4320                                                                                                  \
    "\x67\x42\xc0\x3e\xa6\x11\x00\x20\x00\x08\x76\xc0\x5a\x80\x80\x80\xa0\x00\x00\x03\x00\x20\x00\x00\x03\x01\x51"     \
    "\xe1\x00\x84\x23"
#define SPS_1280x718                                                                                                   \
    "\x67\x42\xc0\x1f\xda\x01\x40\x16\xfe\xb0\x11\x00\x00\x03\x00\x01\x00\x00\x03\x00\x3c\x8f\x18\x32\xa0"
#define CONFIG_OF(count, sets) "\x17\x00\x00\x00\x00\x01\x42\xc0\x3e\xff" count sets "\x01\x00\x04\x68\xce\x0f\xc8"

static void test_pictures_that_no_transcoder_takes(void **state)
{
    assert_int_equal(CHECK(FLV_TAG_VIDEO, CONFIG_OF("\xe1", "\x00\x1f" SPS_8192x4320), 0), CLOSE_PICTURE_SIZE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, CONFIG_OF("\xe2", "\x00\x19" SPS_1280x718 "\x00\x1f" SPS_8192x4320), 0),
                     CLOSE_PICTURE_SIZE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, CONFIG_OF("\xe1", "\x00\x19" SPS_1280x718), 0), CLOSE_NONE);
    /* Within the stream, in front of a picture. */
    assert_int_equal(
        CHECK(FLV_TAG_VIDEO, "\x17\x01\x00\x00\x00\x00\x00\x00\x19" SPS_1280x718 "\x00\x00\x00\x02\x65\x88", 0),
        CLOSE_NONE);
    assert_int_equal(
        CHECK(FLV_TAG_VIDEO, "\x17\x01\x00\x00\x00\x00\x00\x00\x1f" SPS_8192x4320 "\x00\x00\x00\x02\x65\x88", 0),
        CLOSE_PICTURE_SIZE);
    /* Configured lower: whole macroblocks count. */
    guard.limits.max_picture_samples = 1280 * 720;
    assert_int_equal(CHECK(FLV_TAG_VIDEO, CONFIG_OF("\xe1", "\x00\x19" SPS_1280x718), 0), CLOSE_NONE);
    guard.limits.max_picture_samples = 1280 * 720 - 1;
    assert_int_equal(CHECK(FLV_TAG_VIDEO, CONFIG_OF("\xe1", "\x00\x19" SPS_1280x718), 0), CLOSE_PICTURE_SIZE);
}

static void test_key_frames_must_come(void **state)
{
    assert_int_equal(CHECK(FLV_TAG_VIDEO, AVC_CONFIG, 0), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, FRAME, 1000), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, FRAME, 30999), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, KEY_FRAME, 30999), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, FRAME, 60000), CLOSE_NONE);
    assert_int_equal(CHECK(FLV_TAG_VIDEO, FRAME, 60999), CLOSE_NO_KEYFRAME);
}

static uint8_t audio[12500] = {0xaf, 1}; /* 100 kbit */

static void test_bitrate_is_averaged(void **state)
{
    /* 900 kbit/s for a minute: just below the limit. */
    for (int64_t now_ms = 10000; now_ms < 70000; now_ms += 111)
        assert_int_equal(check(FLV_TAG_AUDIO, audio, sizeof(audio), now_ms), CLOSE_NONE);
    /* Half as much again: found within the window. */
    int64_t now_ms = 70000;
    while (check(FLV_TAG_AUDIO, audio, sizeof(audio), now_ms) == CLOSE_NONE && now_ms < 80000)
        now_ms += 66;
    assert_in_range(now_ms, 70000, 76000);
}

static void test_burst_is_forgiven(void **state)
{
    for (int i = 0; i < 40; i++) /* 4 Mbit at once after a stall, in a window of 5 */
        assert_int_equal(check(FLV_TAG_AUDIO, audio, sizeof(audio), 20000), CLOSE_NONE);
    assert_int_equal(check(FLV_TAG_AUDIO, audio, sizeof(audio), 90000), CLOSE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sound_media_passes, setup),
        cmocka_unit_test_setup(test_other_codecs, setup),
        cmocka_unit_test_setup(test_lying_sizes, setup),
        cmocka_unit_test_setup(test_pictures_that_no_transcoder_takes, setup),
        cmocka_unit_test_setup(test_key_frames_must_come, setup),
        cmocka_unit_test_setup(test_bitrate_is_averaged, setup),
        cmocka_unit_test_setup(test_burst_is_forgiven, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
