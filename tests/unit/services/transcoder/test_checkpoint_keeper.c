/* What a transcoder can give back to a Redis that has lost it: the newest of each broadcast, while it is worth
 * something. */
#include "services/transcoder/checkpoint_keeper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void collect(const char *broadcast, const char *text, void *context)
{
    char *all = context;

    snprintf(all + strlen(all), 256 - strlen(all), "%s=%s ", broadcast, text);
}

static const char *kept_at(struct checkpoint_keeper *keeper, int64_t now_ms, char all[256])
{
    all[0] = '\0';
    checkpoint_keeper_for_each(keeper, now_ms, collect, all);
    return all;
}

static void test_keeps_the_newest_of_each_until_it_is_over(void **state)
{
    struct checkpoint_keeper *keeper = checkpoint_keeper_create(4);
    char all[256];

    checkpoint_keeper_keep(keeper, "a", "1", 1000);
    checkpoint_keeper_keep(keeper, "a", "2", 3000);
    assert_string_equal(kept_at(keeper, 3000, all), "a=2 ");
    checkpoint_keeper_keep(keeper, "b", "1", 3000);
    checkpoint_keeper_forget(keeper, "a");
    checkpoint_keeper_forget(keeper, "unknown");
    assert_string_equal(kept_at(keeper, 3000, all), "b=1 ");
    checkpoint_keeper_destroy(keeper);
}

static void test_what_is_old_is_not_given_back(void **state)
{
    struct checkpoint_keeper *keeper = checkpoint_keeper_create(4);
    char all[256];

    checkpoint_keeper_keep(keeper, "old", "1", 1000);
    checkpoint_keeper_keep(keeper, "young", "1", 2000);
    assert_string_equal(kept_at(keeper, 1001 + CHECKPOINT_KEEP_MS, all), "young=1 ");
    assert_int_equal(checkpoint_keeper_count(keeper), 1);
    checkpoint_keeper_destroy(keeper);
}

static void test_full_it_drops_the_oldest(void **state)
{
    struct checkpoint_keeper *keeper = checkpoint_keeper_create(2);
    char all[256];

    checkpoint_keeper_keep(keeper, "a", "1", 1);
    checkpoint_keeper_keep(keeper, "b", "1", 2);
    checkpoint_keeper_keep(keeper, "a", "2", 3);
    checkpoint_keeper_keep(keeper, "c", "1", 4);
    assert_int_equal(checkpoint_keeper_count(keeper), 2);
    assert_non_null(strstr(kept_at(keeper, 5, all), "a=2"));
    assert_non_null(strstr(all, "c=1"));
    checkpoint_keeper_destroy(keeper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_newest_of_each_until_it_is_over),
        cmocka_unit_test(test_what_is_old_is_not_given_back),
        cmocka_unit_test(test_full_it_drops_the_oldest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
