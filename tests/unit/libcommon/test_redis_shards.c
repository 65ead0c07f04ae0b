/* Which Redis an id belongs to, and lists of URLs. */
#include "libcommon/redis_shards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define IDS 20000

static const char *id_of(int number)
{
    static char id[24];

    snprintf(id, sizeof(id), "broadcast-%d", number);
    return id;
}

static void test_ids_are_spread_evenly(void **state)
{
    int counts[5] = {0};

    for (int i = 0; i < IDS; i++)
        counts[redis_shard_of(id_of(i), 5)]++;
    for (int i = 0; i < 5; i++)
        assert_in_range(counts[i], IDS / 5 * 9 / 10, IDS / 5 * 11 / 10);
    assert_int_equal(redis_shard_of("anything", 1), 0);
}

static void test_one_more_moves_only_its_own_share(void **state)
{
    int moved = 0;

    for (int i = 0; i < IDS; i++) {
        size_t before = redis_shard_of(id_of(i), 4), after = redis_shard_of(id_of(i), 5);

        if (before != after) {
            assert_int_equal(after, 4);
            moved++;
        }
    }
    assert_in_range(moved, IDS / 5 * 9 / 10, IDS / 5 * 11 / 10);
}

/* All processes, of all versions, must agree. */
static void test_the_place_of_an_id_never_changes(void **state)
{
    size_t places = 0;

    for (int i = 0; i < 16; i++)
        places = places * 3 + redis_shard_of(id_of(i), 3);
    assert_int_equal(places, 18861392u);
}

static void test_lists_of_urls(void **state)
{
    const char *list = "  redis://a:1   redis-sentinel://b:2,c:3/main ";
    char url[REDIS_SHARD_URL_SIZE], error[200] = "";

    assert_int_equal(redis_shards_check(list, error, sizeof(error)), 0);
    assert_string_equal(redis_shards_next_url(&list, url), "redis://a:1");
    assert_string_equal(redis_shards_next_url(&list, url), "redis-sentinel://b:2,c:3/main");
    assert_null(redis_shards_next_url(&list, url));
    assert_int_equal(redis_shards_check(" ", error, sizeof(error)), -1);
    assert_int_equal(redis_shards_check("redis://a:1 http://b", error, sizeof(error)), -1);
    assert_non_null(strstr(error, "redis://"));
    char many[REDIS_SHARDS_MAX * 12 + 13] = "";
    for (int i = 0; i <= REDIS_SHARDS_MAX; i++)
        strcat(many, "redis://a:1 ");
    assert_int_equal(redis_shards_check(many, error, sizeof(error)), -1);
    assert_non_null(strstr(error, "more than 16"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_spread_evenly),
        cmocka_unit_test(test_one_more_moves_only_its_own_share),
        cmocka_unit_test(test_the_place_of_an_id_never_changes),
        cmocka_unit_test(test_lists_of_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
