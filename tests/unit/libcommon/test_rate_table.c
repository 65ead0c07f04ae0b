#include "libcommon/rate_table.h"

#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool take(struct rate_table *table, const char *key, int64_t now_ms)
{
    int64_t retry_after_ms = -1;
    bool taken = rate_table_take(table, key, now_ms, &retry_after_ms);

    assert_true(taken ? retry_after_ms == 0 : retry_after_ms > 0);
    return taken;
}

static void test_each_key_has_its_own(void **state)
{
    struct rate_table *table = rate_table_create(64, 3, 10);
    int64_t retry_after_ms;

    for (int i = 0; i < 3; i++)
        assert_true(take(table, "ann", 1000));
    assert_false(rate_table_take(table, "ann", 1000, &retry_after_ms));
    assert_in_range(retry_after_ms, 1000, 1001);
    assert_true(take(table, "bob", 1000));
    assert_false(take(table, "ann", 1999));
    assert_true(take(table, "ann", 2001));
    assert_int_equal(rate_table_forgotten(table), 0);
    rate_table_destroy(table);
}

static void test_who_is_held_back_is_not_forgotten_for_those_who_are_not(void **state)
{
    struct rate_table *table = rate_table_create(4, 2, 10);
    char key[RATE_TABLE_KEY_SIZE];

    while (take(table, "flood", 1000))
        ;
    /* Each of them uses one of its two and has it back a second later. */
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "user%d", i);
        assert_true(take(table, key, 1000 + i * 8));
        assert_false(take(table, "flood", 1000 + i * 8));
    }
    rate_table_destroy(table);
}

static void test_a_full_table_counts_what_it_forgets(void **state)
{
    struct rate_table *table = rate_table_create(4, 2, 10);
    char key[RATE_TABLE_KEY_SIZE];

    for (int i = 0; i < 5; i++) {
        snprintf(key, sizeof(key), "user%d", i);
        while (take(table, key, 1000))
            ;
    }
    assert_int_equal(rate_table_forgotten(table), 1);
    /* Buckets that are full again are no loss. */
    for (int i = 5; i < 9; i++) {
        snprintf(key, sizeof(key), "user%d", i);
        assert_true(take(table, key, 60000));
    }
    assert_int_equal(rate_table_forgotten(table), 1);
    rate_table_destroy(table);
}

static void test_the_longest_key(void **state)
{
    struct rate_table *table = rate_table_create(1, 1, 10);
    char key[RATE_TABLE_KEY_SIZE];

    memset(key, 'x', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    assert_true(take(table, key, 0));
    assert_false(take(table, key, 0));
    rate_table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_has_its_own),
        cmocka_unit_test(test_who_is_held_back_is_not_forgotten_for_those_who_are_not),
        cmocka_unit_test(test_a_full_table_counts_what_it_forgets),
        cmocka_unit_test(test_the_longest_key),
    };

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
