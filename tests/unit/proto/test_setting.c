#include "proto/setting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static bool is_valid(const char *kind, const char *json)
{
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    char why[200] = "";
    bool result = setting_kind_from_name(kind)->validate(value, why, sizeof(why));

    assert_non_null(value);
    assert_int_equal(result, why[0] == '\0');
    json_decref(value);
    return result;
}

static void test_values(void **state)
{
    assert_true(is_valid("decoration", "{\"background\":\"#12abEF\",\"frame\":\"gold\"}"));
    assert_false(is_valid("decoration", "{\"background\":\"#12abE\",\"frame\":\"gold\"}"));
    assert_false(is_valid("decoration", "{\"background\":\"#12abEF\",\"frame\":\"url(x)\"}"));
    assert_false(is_valid("decoration", "{\"background\":\"#12abEF\",\"frame\":\"gold\",\"more\":1}"));
    assert_true(is_valid("block", "{}"));
    assert_false(is_valid("block", "[]"));
    assert_true(is_valid("mute", "{\"until_ms\":0}"));
    assert_false(is_valid("mute", "{\"until_ms\":\"0\"}"));
    assert_false(is_valid("mute", "{\"until_ms\":0,\"more\":1}"));
    assert_true(is_valid("slow_mode", "{\"seconds\":600}"));
    assert_false(is_valid("slow_mode", "{\"seconds\":600,\"more\":1}"));
    assert_false(is_valid("slow_mode", "{\"seconds\":0}"));
    assert_true(is_valid("words", "{\"words\":[\"a\",\"花\"]}"));
    assert_false(is_valid("words", "{\"words\":[\"\"]}"));
    assert_false(is_valid("words", "{\"words\":[\"a\"],\"more\":1}"));
    assert_true(is_valid("notice", "{\"text\":\"hello\",\"by\":\"u\"}"));
    assert_false(is_valid("notice", "{\"text\":\"\"}"));
    assert_null(setting_kind_from_name("nothing"));
}

static void test_an_event_survives_the_wire(void **state)
{
    struct setting_event event = {
        .version = 7, .kind = setting_kind_of(SETTING_DECORATION), .subject = "user1", .at_ms = 123};
    struct setting_event back;

    event.value = json_pack("{s:s,s:s}", "background", "#000000", "frame", "none");
    char *text = setting_event_encode(&event);
    assert_int_equal(setting_event_parse(text, strlen(text), &back), 0);
    assert_int_equal(back.version, 7);
    assert_ptr_equal(back.kind, event.kind);
    assert_string_equal(back.subject, "user1");
    assert_string_equal(back.object, "");
    assert_true(json_equal(back.value, event.value));
    setting_event_clear(&back);
    setting_event_clear(&event);
    free(text);

    text = setting_event_encode(&event); /* deleted */
    assert_int_equal(setting_event_parse(text, strlen(text), &back), 0);
    assert_null(back.value);
    free(text);
}

static void test_what_is_no_event(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"type\":\"setting\"}",
        "{\"type\":\"setting\",\"version\":0,\"kind\":\"block\",\"subject\":\"a\",\"object\":\"b\",\"value\":{}}",
        "{\"type\":\"setting\",\"version\":1,\"kind\":\"block\",\"subject\":\"a/b\",\"object\":\"b\",\"value\":{}}",
        "{\"type\":\"setting\",\"version\":1,\"kind\":\"block\",\"subject\":\"a\",\"object\":\"b\",\"value\":3}",
    };
    struct setting_event event;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(setting_event_parse(bad[i], strlen(bad[i]), &event), -1);
    /* A kind of a newer service is no error: its version still counts. */
    const char *newer =
        "{\"type\":\"setting\",\"version\":9,\"kind\":\"glitter\",\"subject\":\"\",\"object\":\"\",\"value\":{}}";
    assert_int_equal(setting_event_parse(newer, strlen(newer), &event), 0);
    assert_null(event.kind);
    assert_int_equal(event.version, 9);
    setting_event_clear(&event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_an_event_survives_the_wire),
        cmocka_unit_test(test_what_is_no_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
