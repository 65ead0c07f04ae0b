/* Log entries as rows: what is taken from which event, and what is not an entry of ours. */
#include "services/archive/archive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int parse(const char *id, const char *room, const char *e, struct comment_row *row)
{
    return comment_row_parse(id, room, e, strlen(e), row);
}

static void test_a_comment_gives_its_user_its_text_and_the_event_as_delivered(void **state)
{
    struct comment_row row;

    assert_int_equal(parse("1700000000123-7", "12",
                           "\"type\":\"comment\",\"user\":{\"id\":\"u1\",\"name\":\"花\"},\"text\":\"わあ\"}", &row),
                     0);
    assert_true(row.id.ms == 1700000000123 && row.id.sequence == 7);
    assert_string_equal(row.type, "comment");
    assert_int_equal(row.room, 12);
    assert_string_equal(row.user_id, "u1");
    assert_string_equal(row.user_name, "花");
    assert_string_equal(row.text, "わあ");
    assert_string_equal(row.event, "{\"id\":\"1700000000123-7\",\"at_ms\":1700000000123,\"type\":\"comment\","
                                   "\"user\":{\"id\":\"u1\",\"name\":\"花\"},\"text\":\"わあ\"}");
    assert_false(row.is_deletion);
    comment_row_clear(&row);
}

static void test_an_event_of_all_rooms_without_a_user_has_neither(void **state)
{
    struct comment_row row;

    assert_int_equal(parse("5-0", "", "\"type\":\"gift\",\"amount\":3}", &row), 0);
    assert_int_equal(row.room, -1);
    assert_null(row.user_id);
    assert_null(row.user_name);
    assert_null(row.text);
    comment_row_clear(&row);
}

static void test_a_deletion_names_its_target(void **state)
{
    struct comment_row row;

    assert_int_equal(parse("9-0", "", "\"type\":\"deleted\",\"target\":\"5-2\",\"by\":\"owner\"}", &row), 0);
    assert_true(row.is_deletion);
    assert_true(row.target.ms == 5 && row.target.sequence == 2);
    comment_row_clear(&row);
    assert_int_equal(parse("9-1", "", "\"type\":\"deleted\",\"target\":\"soon\",\"by\":\"owner\"}", &row), 0);
    assert_false(row.is_deletion);
    comment_row_clear(&row);
}

static void test_what_is_no_entry_of_ours_is_refused_and_leaves_nothing(void **state)
{
    static const struct {
        const char *id, *e;
    } odd[] = {
        {"1-0", ""},
        {"1-0", "\"type\":\"comment\""},
        {"1-0", "\"type\":7}"},
        {"1-0", "\"text\":\"no type\"}"},
        {"1-0", "\"type\":\"a type of more than 16 characters\"}"},
        {"1-0", "\"type\":\"comment\",\"text\":\"\xff\"}"},
        {"x-0", "\"type\":\"comment\"}"},
    };

    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct comment_row row;

        assert_int_equal(parse(odd[i].id, "0", odd[i].e, &row), -1);
        assert_null(row.event);
        assert_null(row.json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_comment_gives_its_user_its_text_and_the_event_as_delivered),
        cmocka_unit_test(test_an_event_of_all_rooms_without_a_user_has_neither),
        cmocka_unit_test(test_a_deletion_names_its_target),
        cmocka_unit_test(test_what_is_no_entry_of_ours_is_refused_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
