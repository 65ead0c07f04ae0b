#include "services/burst-status/status_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DAY_MS ((int64_t)86400000)

static const struct status_entry *find(const struct status_table *table, const char *id)
{
    return status_table_find(table, id, strlen(id));
}

static void test_versions_only_rise(void **state)
{
    struct status_table *table = status_table_create(10, 1);

    assert_int_equal(status_table_update(table, "a", BROADCAST_LIVE, 5, 100), STATUS_UPDATED);
    assert_int_equal(status_table_update(table, "a", BROADCAST_SCHEDULED, 4, 200), STATUS_STALE);
    assert_int_equal(status_table_update(table, "a", BROADCAST_SUSPENDED, 5, 200), STATUS_STALE);
    assert_int_equal(find(table, "a")->state, BROADCAST_LIVE);
    assert_int_equal(status_table_update(table, "a", BROADCAST_SUSPENDED, 6, 200), STATUS_UPDATED);
    assert_string_equal(find(table, "a")->body,
                        "{\"id\":\"a\",\"state\":\"suspended\",\"version\":6,\"retry_after_ms\":     0}");
    assert_int_equal(find(table, "a")->since_ms, 200);
    assert_int_equal(status_table_count(table), 1);
    status_table_destroy(table);
}

static void test_the_same_state_again_keeps_its_age(void **state)
{
    struct status_table *table = status_table_create(10, 1);

    status_table_update(table, "a", BROADCAST_LIVE, 5, 100);
    status_table_update(table, "a", BROADCAST_LIVE, 6, 900);
    assert_int_equal(find(table, "a")->since_ms, 100);
    status_table_destroy(table);
}

static void test_the_longest_body_fits(void **state)
{
    struct status_table *table = status_table_create(10, 1);
    char id[ID_SIZE];

    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    status_table_update(table, id, BROADCAST_SUSPENDED, INT64_MAX, 0);
    assert_non_null(find(table, id));
    assert_int_equal(find(table, id)->body[find(table, id)->body_len - 1], '}');
    assert_null(status_table_find(table, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 70));
    status_table_destroy(table);
}

static void test_what_is_over_goes_after_a_day(void **state)
{
    struct status_table *table = status_table_create(10, 1);

    status_table_update(table, "over", BROADCAST_ENDED, 1, 0);
    status_table_update(table, "archived", BROADCAST_ARCHIVED, 1, 10);
    status_table_update(table, "waits", BROADCAST_SCHEDULED, 1, 0);
    status_table_update(table, "live", BROADCAST_LIVE, 1, 0);
    status_table_expire(table, DAY_MS - 1);
    assert_int_equal(status_table_count(table), 4);
    status_table_expire(table, DAY_MS);
    assert_null(find(table, "over"));
    assert_non_null(find(table, "archived"));
    assert_int_equal(status_table_count_state(table, BROADCAST_ENDED), 0);
    assert_int_equal(status_table_count_state(table, BROADCAST_ARCHIVED), 1);
    status_table_expire(table, 9 * DAY_MS);
    assert_null(find(table, "waits"));
    assert_non_null(find(table, "live"));
    status_table_update(table, "live", BROADCAST_SUSPENDED, 2, 0);
    assert_int_equal(status_table_count_state(table, BROADCAST_LIVE), 0);
    assert_int_equal(status_table_count_state(table, BROADCAST_SUSPENDED), 1);
    assert_int_equal(status_table_count_state(table, BROADCAST_SCHEDULED), 0);
    status_table_destroy(table);
}

static void test_full_forgets_the_longest_over_first(void **state)
{
    struct status_table *table = status_table_create(3, 1);

    /* Out of order: a snapshot's page may come behind an event. */
    status_table_update(table, "younger", BROADCAST_ENDED, 1, 50);
    status_table_update(table, "older", BROADCAST_ENDED, 1, 10);
    status_table_update(table, "live", BROADCAST_LIVE, 1, 0);
    assert_int_equal(status_table_update(table, "new", BROADCAST_SCHEDULED, 1, 60), STATUS_UPDATED);
    assert_null(find(table, "older"));
    assert_int_equal(status_table_update(table, "newer", BROADCAST_SCHEDULED, 1, 61), STATUS_UPDATED);
    assert_null(find(table, "younger"));
    assert_int_equal(status_table_update(table, "newest", BROADCAST_SCHEDULED, 1, 62), STATUS_FULL);
    assert_int_equal(status_table_update(table, "live", BROADCAST_ENDED, 2, 70), STATUS_UPDATED);
    assert_int_equal(status_table_update(table, "newest", BROADCAST_SCHEDULED, 1, 71), STATUS_UPDATED);
    assert_int_equal(status_table_count(table), 3);
    status_table_destroy(table);
}

static void test_thousands(void **state)
{
    struct status_table *table = status_table_create(5000, 42);
    char id[ID_SIZE];

    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "broadcast-%d", i);
        assert_int_equal(status_table_update(table, id, (enum broadcast_state)(1 + i % 5), i + 1, i), STATUS_UPDATED);
    }
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof(id), "broadcast-%d", i);
        assert_int_equal(find(table, id)->version, i + 1);
    }
    status_table_destroy(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_only_rise),
        cmocka_unit_test(test_the_same_state_again_keeps_its_age),
        cmocka_unit_test(test_the_longest_body_fits),
        cmocka_unit_test(test_what_is_over_goes_after_a_day),
        cmocka_unit_test(test_full_forgets_the_longest_over_first),
        cmocka_unit_test(test_thousands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
