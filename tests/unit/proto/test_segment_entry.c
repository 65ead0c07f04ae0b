/* A segment's entry survives the way through JSON, and what is not one is refused. */
#include "proto/segment_entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct segment_entry sample_entry(void)
{
    struct segment_entry entry = {
        .session = 1763716182000,
        .number = 41,
        .discontinuity = true,
        .program_date_time_ms = 1763716182123,
        .media_time_us = 82000000,
        .duration_us = 2000001,
        .arrived_ms = 1763716184300,
        .thumbnail_key = KEY_MEDIA_PART "b1:thumb-41",
        .renditions_count = 2,
        .renditions = {{.name = "720p",
                        .width = 1280,
                        .height = 720,
                        .frame_rate = 29.97,
                        .codecs = "avc1.64001f,mp4a.40.2",
                        .parts_count = 2,
                        .parts = {{KEY_MEDIA_PART "b1:41-720p-0", 1000}, {KEY_MEDIA_PART "b1:41-720p-1", 0}}},
                       {.name = "audio",
                        .codecs = "mp4a.40.2",
                        .parts_count = 1,
                        .parts = {{KEY_MEDIA_PART "b1:41-audio", 4000}}}},
    };
    return entry;
}

static void test_round_trip(void **state)
{
    struct segment_entry entry = sample_entry(), parsed;
    char *json = segment_entry_encode(&entry);

    assert_non_null(json);
    assert_int_equal(segment_entry_parse(json, strlen(json), &parsed), 0);
    free(json);
    assert_false(parsed.final);
    assert_int_equal(parsed.session, entry.session);
    assert_int_equal(parsed.number, 41);
    assert_true(parsed.discontinuity);
    assert_int_equal(parsed.program_date_time_ms, entry.program_date_time_ms);
    assert_int_equal(parsed.media_time_us, entry.media_time_us);
    assert_int_equal(parsed.duration_us, entry.duration_us);
    assert_int_equal(parsed.arrived_ms, entry.arrived_ms);
    assert_string_equal(parsed.thumbnail_key, entry.thumbnail_key);
    assert_int_equal(parsed.renditions_count, 2);
    assert_string_equal(parsed.renditions[0].name, "720p");
    assert_int_equal(parsed.renditions[0].width, 1280);
    assert_int_equal(parsed.renditions[0].height, 720);
    assert_true(parsed.renditions[0].frame_rate == 29.97);
    assert_string_equal(parsed.renditions[0].codecs, "avc1.64001f,mp4a.40.2");
    assert_int_equal(parsed.renditions[0].parts_count, 2);
    assert_string_equal(parsed.renditions[0].parts[1].key, KEY_MEDIA_PART "b1:41-720p-1");
    assert_int_equal(parsed.renditions[1].parts[0].bytes, 4000);
    assert_int_equal(parsed.renditions[1].width, 0);
}

static void test_final(void **state)
{
    struct segment_entry entry = {.final = true}, parsed;
    char *json = segment_entry_encode(&entry);

    assert_string_equal(json, "{\"final\":true}");
    assert_int_equal(segment_entry_parse(json, strlen(json), &parsed), 0);
    assert_true(parsed.final);
    free(json);
}

static int parse_text(const char *text)
{
    struct segment_entry parsed;

    return segment_entry_parse(text, strlen(text), &parsed);
}

/* The sample with the first `from` replaced by `to` parses as `expected`. */
static void expect_replaced(const char *from, const char *to, int expected)
{
    struct segment_entry entry = sample_entry();
    char *json = segment_entry_encode(&entry), *at = strstr(json, from), *changed;

    assert_non_null(at);
    assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - json), json, to, at + strlen(from)) > 0);
    if (parse_text(changed) != expected)
        fail_msg("%s -> %s: expected %d", from, to, expected);
    free(changed);
    free(json);
}

static void test_broken_entries_are_refused(void **state)
{
    static const char *const broken[] = {
        "", "null", "[]", "{}", "{\"final\":1}", "{\"final\":false}", "{\"final\":true", "nonsense",
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        assert_int_equal(parse_text(broken[i]), -1);
    expect_replaced("\"duration_us\":2000001", "\"duration_us\":2000001.0", 0);
    expect_replaced("\"duration_us\":2000001", "\"duration_us\":0.5", -1);
    expect_replaced("\"duration_us\":2000001", "\"duration_us\":0", -1);
    expect_replaced("\"duration_us\":2000001", "\"duration_us\":-1", -1);
    expect_replaced("\"duration_us\":2000001", "\"duration_us\":1e300", -1);
    expect_replaced("\"duration_us\":2000001", "\"duration_us\":\"2\"", -1);
    expect_replaced("\"number\":41", "\"other\":41", -1);
    expect_replaced("\"name\":\"720p\"", "\"name\":\"../x\"", -1);
    expect_replaced("\"name\":\"720p\"", "\"name\":\"\"", -1);
    expect_replaced("\"name\":\"720p\"", "\"name\":\"audio\"", -1);
    expect_replaced("\"name\":\"720p\"", "\"name\":\"0123456789abcdef\"", -1);
    expect_replaced("\"name\":\"720p\"", "\"name\":\"72\\u00000p\"", -1);
    expect_replaced("avc1.64001f,mp4a", "avc1\\\",mp4a", -1);
    expect_replaced("avc1.64001f,mp4a", "avc1\\nmp4a", -1);
    expect_replaced("\"width\":1280", "\"width\":-2", -1);
    expect_replaced("\"bytes\":1000", "\"bytes\":1e12", -1);
    expect_replaced(KEY_MEDIA_PART "b1:41-720p-0", "hanabi:stream_key:x", -1);
    expect_replaced(KEY_MEDIA_PART "b1:thumb-41", "hanabi:stream_key:x", -1);
}

static void test_limits_of_counts(void **state)
{
    struct segment_entry entry = sample_entry(), parsed;
    char *json, *more;

    entry.renditions_count = SEGMENT_MAX_RENDITIONS;
    for (int i = 1; i < SEGMENT_MAX_RENDITIONS; i++) {
        entry.renditions[i] = entry.renditions[0];
        snprintf(entry.renditions[i].name, sizeof(entry.renditions[i].name), "r%d", i);
    }
    json = segment_entry_encode(&entry);
    assert_int_equal(segment_entry_parse(json, strlen(json), &parsed), 0);
    assert_int_equal(parsed.renditions_count, SEGMENT_MAX_RENDITIONS);
    /* One more of the same kind. */
    assert_true(
        asprintf(&more,
                 "%.*s,{\"name\":\"more\",\"width\":1,\"height\":1,\"frame_rate\":1,\"codecs\":\"a\",\"parts\":[]}]}",
                 (int)(strrchr(json, ']') - json), json) > 0);
    assert_int_equal(parse_text(more), -1);
    free(more);
    free(json);

    entry = sample_entry();
    entry.renditions_count = 0;
    json = segment_entry_encode(&entry);
    assert_int_equal(parse_text(json), -1);
    free(json);
    entry = sample_entry();
    entry.renditions[1].parts_count = 0;
    json = segment_entry_encode(&entry);
    assert_int_equal(parse_text(json), -1);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_final),
        cmocka_unit_test(test_broken_entries_are_refused),
        cmocka_unit_test(test_limits_of_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
