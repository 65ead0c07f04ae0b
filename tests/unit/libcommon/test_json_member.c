/* What a stranger's JSON may hold in the place of a string or a whole number. */
#include "libcommon/json_member.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

static json_t *parsed(const char *text)
{
    json_t *root = json_loads(text, JSON_ALLOW_NUL, NULL);

    assert_non_null(root);
    return root;
}

static void whole_numbers_in_every_form_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } cases[] = {{"{\"n\":7}", 7},
                 {"{\"n\":-7}", -7},
                 {"{\"n\":2000.0}", 2000},
                 {"{\"n\":2e3}", 2000},
                 {"{\"n\":9007199254740991}", JSON_WHOLE_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = parsed(cases[i].text);
        int64_t out = 0;

        assert_int_equal(json_member_whole(root, "n", -JSON_WHOLE_MAX, JSON_WHOLE_MAX, &out), 0);
        assert_int_equal(out, cases[i].value);
        json_decref(root);
    }
}

static void what_is_no_whole_number_leaves_the_value_alone(void **state)
{
    static const char *const cases[] = {"{}",
                                        "{\"n\":null}",
                                        "{\"n\":\"7\"}",
                                        "{\"n\":1.5}",
                                        "{\"n\":-1}",
                                        "{\"n\":1e300}",
                                        "{\"n\":-1e300}",
                                        "{\"n\":true}",
                                        "{\"n\":9223372036854775807}"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *root = parsed(cases[i]);
        int64_t out = 42;

        assert_int_equal(json_member_whole(root, "n", 0, JSON_WHOLE_MAX, &out), -1);
        assert_int_equal(out, 42);
        json_decref(root);
    }
}

static void strings_fit_or_are_refused(void **state)
{
    static const char *const refused[] = {"{}", "{\"s\":5}", "{\"s\":\"abcd\"}", "{\"s\":\"a\\u0000b\"}"};
    json_t *root = parsed("{\"s\":\"abc\"}");
    char out[4] = "old";

    (void)state;
    assert_int_equal(json_member_string(root, "s", out, sizeof(out)), 0);
    assert_string_equal(out, "abc");
    json_decref(root);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        root = parsed(refused[i]);
        assert_int_equal(json_member_string(root, "s", out, sizeof(out)), -1);
        assert_string_equal(out, "abc");
        json_decref(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_in_every_form_are_read),
        cmocka_unit_test(what_is_no_whole_number_leaves_the_value_alone),
        cmocka_unit_test(strings_fit_or_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
