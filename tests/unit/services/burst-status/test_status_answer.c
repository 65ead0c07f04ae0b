#include "services/burst-status/status_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static struct status_answers answers;
static char out[STATUS_ANSWER_MAX + 1];

/* The body, after checking that Content-Length is its length. */
static const char *body_of(size_t len)
{
    assert_true(len <= STATUS_ANSWER_MAX);
    out[len] = '\0';
    const char *length = strstr(out, "Content-Length:"), *body = strstr(out, "\r\n\r\n");
    assert_non_null(length);
    assert_non_null(body);
    body += 4;
    assert_int_equal(strtol(length + strlen("Content-Length:"), NULL, 10), strlen(body));
    return body;
}

static void test_a_state(void **state)
{
    static const uint32_t numbers[] = {0, 7, 4321, RAND_MAX % 600000, 999999};
    struct status_table *table = status_table_create(10, 1);

    status_table_update(table, "abc", BROADCAST_SUSPENDED, 1763719722000, 0);
    const struct status_entry *entry = status_table_find(table, "abc", 3);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        json_t *json = json_loads(body_of(status_answer_state(&answers, out, entry, numbers[i], i % 2, true)), 0, NULL);

        assert_non_null(json);
        assert_int_equal(json_integer_value(json_object_get(json, "retry_after_ms")), numbers[i]);
        assert_string_equal(json_string_value(json_object_get(json, "id")), "abc");
        assert_string_equal(json_string_value(json_object_get(json, "state")), "suspended");
        assert_int_equal(json_integer_value(json_object_get(json, "version")), 1763719722000);
        json_decref(json);
        assert_true(!strstr(out, "Connection: close") == (i % 2 == 1));
    }
    size_t len = status_answer_state(&answers, out, entry, 1, true, false);
    assert_memory_equal(out + len - 4, "\r\n\r\n", 4);
    status_table_destroy(table);
}

static void test_errors(void **state)
{
    static const unsigned statuses[] = {400, 404, 405, 414, 431, 503, 505};

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        json_t *json = json_loads(body_of(status_answer_error(&answers, out, statuses[i], 3, false, true)), 0, NULL);
        const json_t *error = json_object_get(json, "error");

        assert_int_equal(strtol(out + strlen("HTTP/1.1 "), NULL, 10), statuses[i]);
        assert_true(json_is_string(json_object_get(error, "code")) &&
                    json_is_string(json_object_get(error, "message")));
        assert_non_null(strstr(out, "Retry-After: 3\r\n"));
        json_decref(json);
    }
}

static void test_date(void **state)
{
    size_t len = status_answer_options(&answers, out, true);

    out[len] = '\0';
    assert_non_null(strstr(out, "Date: Fri, 21 Nov 2025 10:08:42 GMT\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_state),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_date),
    };

    status_answers_set_time(&answers, 1763719722);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
