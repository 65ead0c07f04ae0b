/* The usual body is read in place; whatever differs from it is left to jansson. */
#include "services/love-counter/love_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct love_body body;

static bool reads(const char *text)
{
    return love_body_read(text, strlen(text), &body);
}

static void what_pages_send_is_read(void **state)
{
    assert_true(reads("{\"batch_id\":\"0f-A_z\",\"count\":17}"));
    assert_string_equal(body.batch_id, "0f-A_z");
    assert_int_equal(body.count, 17);
    assert_true(reads(" {\n\t\"count\" : 1000 , \"batch_id\" :\"b\"\r\n} "));
    assert_string_equal(body.batch_id, "b");
    assert_int_equal(body.count, 1000);
}

static void an_id_may_be_as_long_as_the_limit(void **state)
{
    char text[120];

    snprintf(text, sizeof(text), "{\"batch_id\":\"%064d\",\"count\":1}", 7);
    assert_true(reads(text));
    assert_int_equal(strlen(body.batch_id), LOVE_BATCH_ID_MAX);
    snprintf(text, sizeof(text), "{\"batch_id\":\"%065d\",\"count\":1}", 7);
    assert_false(reads(text));
}

static void whatever_differs_is_not(void **state)
{
    static const char *const others[] = {
        "",
        "{}",
        "[1]",
        "{\"batch_id\":\"a\"}",
        "{\"count\":1}",
        "{\"batch_id\":\"\",\"count\":1}",
        "{\"batch_id\":\"a b\",\"count\":1}",
        "{\"batch_id\":\"\\u0061\",\"count\":1}",
        "{\"batch_id\":3,\"count\":1}",
        "{\"batch_id\":\"a\",\"count\":0}",
        "{\"batch_id\":\"a\",\"count\":01}",
        "{\"batch_id\":\"a\",\"count\":-1}",
        "{\"batch_id\":\"a\",\"count\":1.5}",
        "{\"batch_id\":\"a\",\"count\":1e1}",
        "{\"batch_id\":\"a\",\"count\":1001}",
        "{\"batch_id\":\"a\",\"count\":99999999999999999999}",
        "{\"batch_id\":\"a\",\"count\":\"1\"}",
        "{\"batch_id\":\"a\",\"count\":1,}",
        "{\"batch_id\":\"a\",\"count\":1,\"count\":1}",
        "{\"batch_id\":\"a\",\"batch_id\":\"a\",\"count\":1}",
        "{\"batch_id\":\"a\",\"count\":1,\"token\":\"t\"}",
        "{\"batch_id\":\"a\",\"count\":1} x",
        "{\"batch_id\":\"a\" \"count\":1}",
        "{\"batch_id\" \"a\",\"count\":1}",
    };

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (reads(others[i]))
            fail_msg("read: %s", others[i]);
}

/* Cut anywhere, and in memory of just that size, so that a byte read too many is found. */
static void a_part_is_not(void **state)
{
    const char *text = "{\"batch_id\":\"abc\",\"count\":12}";

    for (size_t len = 1; len < strlen(text); len++) {
        char *part = memcpy(test_malloc(len), text, len);

        assert_false(love_body_read(part, len, &body));
        test_free(part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_pages_send_is_read),
        cmocka_unit_test(an_id_may_be_as_long_as_the_limit),
        cmocka_unit_test(whatever_differs_is_not),
        cmocka_unit_test(a_part_is_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
