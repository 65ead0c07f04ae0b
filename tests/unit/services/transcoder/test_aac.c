/* The ways in which publishers describe AAC, and the header that a transport stream wants. */
#include "services/transcoder/aac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct aac_config parsed(const void *bytes, size_t len_bytes)
{
    struct aac_config config;

    assert_int_equal(aac_config_parse(bytes, len_bytes, &config), 0);
    return config;
}

static void test_low_complexity(void **state)
{
    struct aac_config config = parsed("\x12\x10", 2);
    char codec[AAC_CODEC_STRING_SIZE];

    assert_int_equal(config.object_type, AAC_LC);
    assert_int_equal(config.core_sample_rate, 44100);
    assert_int_equal(config.output_sample_rate, 44100);
    assert_int_equal(config.channels, 2);
    assert_int_equal(config.frame_samples, 1024);
    assert_false(config.sbr);
    aac_codec_string(&config, codec);
    assert_string_equal(codec, "mp4a.40.2");
}

/* As ffmpeg writes 44.1 kHz mono: a sync extension that says "no SBR". */
static void test_mono_with_sync_extension_off(void **state)
{
    struct aac_config config = parsed("\x12\x08\x56\xe5\x00", 5);

    assert_int_equal(config.channels, 1);
    assert_int_equal(config.core_sample_rate, 44100);
    assert_false(config.sbr);
}

static void test_high_efficiency(void **state)
{
    char codec[AAC_CODEC_STRING_SIZE];
    /* Hierarchical: SBR, 24 kHz, stereo, 48 kHz, LC. */
    struct aac_config config = parsed("\x2b\x11\x88\x00", 4);
    assert_true(config.sbr);
    assert_int_equal(config.object_type, AAC_LC);
    assert_int_equal(config.core_sample_rate, 24000);
    assert_int_equal(config.output_sample_rate, 48000);
    assert_int_equal(config.channels, 2);
    aac_codec_string(&config, codec);
    assert_string_equal(codec, "mp4a.40.5");

    /* Backward compatible: LC 22.05 kHz stereo, sync extension with 44.1 kHz. */
    config = parsed("\x13\x90\x56\xe5\xa0", 5);
    assert_true(config.sbr);
    assert_false(config.ps);
    assert_int_equal(config.core_sample_rate, 22050);
    assert_int_equal(config.output_sample_rate, 44100);

    /* The same with parametric stereo over mono. */
    config = parsed("\x13\x88\x56\xe5\xa5\x48\x80", 7);
    assert_true(config.sbr && config.ps);
    assert_int_equal(config.channel_configuration, 1);
    assert_int_equal(config.channels, 2);
    aac_codec_string(&config, codec);
    assert_string_equal(codec, "mp4a.40.29");
}

static void test_explicit_rate(void **state)
{
    /* LC, index 15, 0x00ac44 = 44100, stereo. */
    struct aac_config config = parsed("\x17\x80\x56\x22\x10", 5);
    uint8_t header[AAC_ADTS_HEADER_SIZE];

    assert_int_equal(config.core_sample_rate, 44100);
    assert_int_equal(config.channels, 2);
    assert_int_equal(aac_adts_write(&config, 100, header), 0);
    config.core_sample_rate = 44000;
    assert_int_equal(aac_adts_write(&config, 100, header), -1);
}

static void test_program_config_element(void **state)
{
    /* LC 48 kHz, configuration 0: element with one front pair, no comment. */
    static const uint8_t bytes[] = {0x11, 0x80, 0x04, 0xc4, 0x00, 0x00, 0x20, 0x00, 0x00};
    struct aac_config config = parsed(bytes, sizeof bytes);

    assert_int_equal(config.channel_configuration, 0);
    assert_int_equal(config.channels, 2);
}

static void test_refused(void **state)
{
    struct aac_config config;

    assert_int_equal(aac_config_parse((const uint8_t *)"", 0, &config), -1);
    assert_int_equal(aac_config_parse((const uint8_t *)"\x12", 1, &config), -1);
    assert_int_equal(aac_config_parse((const uint8_t *)"\x02\x10", 2, &config), -1); /* object type 0 */
    assert_int_equal(aac_config_parse((const uint8_t *)"\x16\x90", 2, &config), -1); /* rate 13: reserved */
    assert_int_equal(aac_config_parse((const uint8_t *)"\x12\x40", 2, &config), -1); /* 8 channels: reserved */
    assert_int_equal(aac_config_parse((const uint8_t *)"\x17\xff\xff\xff\x90", 5, &config), -1); /* 16.7 MHz */
    assert_int_equal(aac_config_parse((const uint8_t *)"\xf8\xe8\x50\x00", 4, &config), -1);     /* USAC */
}

static void test_written_config_reads_back(void **state)
{
    static const int rates[] = {8000, 44100, 48000, 47999, 96000};
    uint8_t bytes[AAC_MAX_CONFIG_SIZE];

    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        for (int kind = 0; kind < 3; kind++) {
            struct aac_config config = {.object_type = AAC_LC,
                                        .core_sample_rate = rates[i],
                                        .output_sample_rate = kind ? rates[i] * 2 : rates[i],
                                        .channel_configuration = kind == 2 ? 1 : 2,
                                        .channels = 2,
                                        .sbr = kind > 0,
                                        .ps = kind == 2,
                                        .frame_samples = 1024};
            int len = aac_config_write(&config, bytes);
            assert_true(len >= 2 && len <= AAC_MAX_CONFIG_SIZE);
            struct aac_config back = parsed(bytes, (size_t)len);
            assert_memory_equal(&back, &config, sizeof config);
        }
    struct aac_config lc = parsed("\x11\x90", 2);
    assert_int_equal(aac_config_write(&lc, bytes), 2);
    assert_memory_equal(bytes, "\x11\x90", 2);
    lc.channel_configuration = 0;
    assert_int_equal(aac_config_write(&lc, bytes), -1);
}

static void test_adts(void **state)
{
    struct aac_config config = parsed("\x11\x90", 2), back;
    uint8_t header[AAC_ADTS_HEADER_SIZE];
    struct aac_adts adts;

    assert_int_equal(aac_adts_write(&config, 371, header), 0);
    assert_memory_equal(header, "\xff\xf1\x4c\x80\x2f\x5f\xfc", sizeof header);
    assert_int_equal(aac_adts_parse(header, sizeof header, &adts), 0);
    assert_int_equal(adts.frame_len, 378);
    assert_int_equal(adts.header_len, 7);
    assert_int_equal(adts.blocks, 1);
    aac_adts_config(&adts, &back);
    assert_memory_equal(&back, &config, sizeof config);
    assert_int_equal(aac_adts_write(&config, 8184, header), 0);
    assert_int_equal(aac_adts_write(&config, 8185, header), -1);
    assert_int_equal(aac_adts_parse(header, 6, &adts), -1);
    header[0] = 0xfe;
    assert_int_equal(aac_adts_parse(header, 7, &adts), -1);
    memcpy(header, "\xff\xf1\x4c\x80\x00\xdf\xfc", 7); /* shorter than its header */
    assert_int_equal(aac_adts_parse(header, 7, &adts), -1);
}

static void test_durations_do_not_drift(void **state)
{
    struct aac_config config = parsed("\x12\x10", 2);

    assert_int_equal(aac_frames_duration_us(&config, 1), 23220);
    assert_int_equal(aac_frames_duration_us(&config, 441), 10240000);
    assert_int_equal(aac_frames_duration_us(&config, 44100), 1024000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_low_complexity),
        cmocka_unit_test(test_mono_with_sync_extension_off),
        cmocka_unit_test(test_high_efficiency),
        cmocka_unit_test(test_explicit_rate),
        cmocka_unit_test(test_program_config_element),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_written_config_reads_back),
        cmocka_unit_test(test_adts),
        cmocka_unit_test(test_durations_do_not_drift),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
