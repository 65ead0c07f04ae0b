#include "services/chat/thinning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void test_a_quiet_room_loses_nothing(void **state)
{
    static struct thinning thinning;

    thinning_init(&thinning, 20);
    for (int i = 0; i < 1000; i++)
        assert_true(thinning_admit(&thinning, (uint32_t)(1 + i % 3), 1000 + i * 80));
}

static void test_no_budget_means_all(void **state)
{
    static struct thinning thinning;

    thinning_init(&thinning, 0);
    for (int i = 0; i < 10000; i++)
        assert_true(thinning_admit(&thinning, 1, 1000));
}

static void test_a_flood_is_cut_to_the_budget(void **state)
{
    static struct thinning thinning;
    int shown = 0;

    thinning_init(&thinning, 20);
    /* 10,000 a second from 5,000 people for ten seconds. */
    for (int i = 0; i < 100000; i++)
        shown += thinning_admit(&thinning, (uint32_t)(1 + i * 7919 % 5000), 1000 + i / 10);
    assert_in_range(shown, 180, 225);
}

static void test_one_who_shouts_does_not_crowd_out_the_others(void **state)
{
    static struct thinning thinning;
    int loud = 0, quiet = 0, quiet_said = 0;

    thinning_init(&thinning, 10);
    for (int ms = 0; ms < 30000; ms++) {
        loud += thinning_admit(&thinning, 1, 1000 + ms);
        /* Four more, each once a second. */
        if (ms % 250 == 125) {
            quiet_said++;
            quiet += thinning_admit(&thinning, (uint32_t)(2 + ms / 250 % 4), 1000 + ms);
        }
    }
    assert_true(quiet * 10 >= quiet_said * 9);
    assert_in_range(loud, 30 * 2, 30 * 6);
}

static void test_two_processes_decide_alike(void **state)
{
    static struct thinning early, late;
    int differ = 0;

    thinning_init(&early, 30);
    thinning_init(&late, 30);
    for (int i = 0; i < 60000; i++) {
        uint32_t sender = (uint32_t)(1 + i * 31 % 997 % (i % 7 + 1) * 97);
        bool shown = thinning_admit(&early, sender, 1000 + i);

        /* The second one came to the room ten seconds later. */
        if (i >= 10000 && thinning_admit(&late, sender, 1000 + i) != shown && i >= 12000)
            differ++;
    }
    assert_int_equal(differ, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_quiet_room_loses_nothing),
        cmocka_unit_test(test_no_budget_means_all),
        cmocka_unit_test(test_a_flood_is_cut_to_the_budget),
        cmocka_unit_test(test_one_who_shouts_does_not_crowd_out_the_others),
        cmocka_unit_test(test_two_processes_decide_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
