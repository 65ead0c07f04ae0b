/* What a batch covers, as text and back. */
#include "services/archive/export_ranges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct export_range parsed[EXPORT_MAX_RANGES];

static void test_there_and_back(void **state)
{
    static const char text[] = "b-1 0-0 1764331200000-7\n* 5-1 5-2\n";
    size_t count;

    assert_int_equal(export_ranges_parse(text, parsed, &count), 0);
    assert_int_equal(count, 2);
    assert_string_equal(parsed[0].broadcast, "b-1");
    assert_int_equal(parsed[0].to.ms, 1764331200000);
    assert_int_equal(parsed[0].to.sequence, 7);
    assert_string_equal(parsed[1].broadcast, EXPORT_ALL);
    char *again = export_ranges_format(parsed, count);
    assert_string_equal(again, text);
    free(again);
    assert_int_equal(export_ranges_parse("", parsed, &count), 0);
    assert_int_equal(count, 0);
}

static void test_what_is_no_range(void **state)
{
    static const char *const texts[] = {"b 0-0 1-0",     "b 0-0\n", "b 0-0 x\n",     "b 0-0 1-0 2-0\n", "b 2-0 1-0\n",
                                        "b/c 0-0 1-0\n", "\n",      "b 0-0 1-0\n\n", "** 0-0 1-0\n"};
    size_t count;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(export_ranges_parse(texts[i], parsed, &count), -1);
}

static void test_only_so_many(void **state)
{
    char *text = malloc((EXPORT_MAX_RANGES + 1) * 10 + 1), *at = text;
    size_t count;

    for (int i = 0; i < EXPORT_MAX_RANGES; i++)
        at = stpcpy(at, "b 1-0 2-0\n");
    assert_int_equal(export_ranges_parse(text, parsed, &count), 0);
    assert_int_equal(count, EXPORT_MAX_RANGES);
    strcpy(at, "b 1-0 2-0\n");
    assert_int_equal(export_ranges_parse(text, parsed, &count), -1);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_what_is_no_range),
        cmocka_unit_test(test_only_so_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
