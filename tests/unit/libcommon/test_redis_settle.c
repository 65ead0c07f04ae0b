/* Which answers are held for a replica, for how long, and in which order they go out. */
#include "libcommon/redis_settle.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct redis_settle settle;
    struct redis_held_list out;
};

/* An owner is a number. */
static void hold(struct fixture *f, int number, bool must_settle)
{
    redis_settle_hold(&f->settle, (void *)(intptr_t)number, 0, NULL, must_settle);
}

/* The numbers that came out since the last call, as digits. */
static int take_out(struct fixture *f)
{
    struct redis_held *held;
    int digits = 0;

    while ((held = STAILQ_FIRST(&f->out))) {
        STAILQ_REMOVE_HEAD(&f->out, entry);
        digits = digits * 10 + (int)(intptr_t)held->owner;
        free(held);
    }
    return digits;
}

/* The master stands at `master_offset` and has one replica, at `replica_offset` (negative: none). */
static bool hear_role(struct redis_settle *settle, long long master_offset, long long replica_offset)
{
    char offset_text[24];
    struct redisReply host = {.type = REDIS_REPLY_STRING};
    struct redisReply port = {.type = REDIS_REPLY_STRING};
    struct redisReply offset = {.type = REDIS_REPLY_STRING, .str = offset_text};
    struct redisReply *about_replica[] = {&host, &port, &offset};
    struct redisReply replica = {.type = REDIS_REPLY_ARRAY, .elements = 3, .element = about_replica};
    struct redisReply *all_replicas[] = {&replica};
    struct redisReply name = {.type = REDIS_REPLY_STRING};
    struct redisReply own = {.type = REDIS_REPLY_INTEGER, .integer = master_offset};
    struct redisReply replicas = {.type = REDIS_REPLY_ARRAY, .elements = replica_offset >= 0, .element = all_replicas};
    struct redisReply *parts[] = {&name, &own, &replicas};
    struct redisReply role = {.type = REDIS_REPLY_ARRAY, .elements = 3, .element = parts};

    snprintf(offset_text, sizeof(offset_text), "%lld", replica_offset);
    return redis_settle_hear_role(settle, &role);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    redis_settle_init(&f->settle, true);
    STAILQ_INIT(&f->out);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    redis_settle_lose(&f->settle, &f->out);
    take_out(f);
    free(f);
    return 0;
}

static void test_nothing_is_held_without_a_replica(void **state)
{
    struct fixture *f = *state;
    struct redis_settle unwanted;

    assert_false(hear_role(&f->settle, 100, -1));
    assert_false(redis_settle_holds(&f->settle, true));
    redis_settle_init(&unwanted, false);
    assert_false(hear_role(&unwanted, 100, 100));
    assert_false(redis_settle_holds(&unwanted, true));
}

static void test_a_replica_that_stands_still_is_none(void **state)
{
    struct fixture *f = *state;
    struct redisReply odd = {.type = REDIS_REPLY_NIL};

    assert_false(hear_role(&f->settle, 100, -1));
    assert_false(hear_role(&f->settle, 200, 90)); /* in the list, but cut off before the last question */
    assert_false(redis_settle_holds(&f->settle, true));
    assert_false(redis_settle_hear_role(&f->settle, &odd));
    assert_true(hear_role(&f->settle, 300, 200));
    assert_true(redis_settle_holds(&f->settle, true));
}

static void test_one_question_answers_for_all_that_came_before_it(void **state)
{
    struct fixture *f = *state;

    assert_true(hear_role(&f->settle, 100, 100));
    assert_false(hear_role(&f->settle, 200, 200)); /* no news */
    assert_true(redis_settle_holds(&f->settle, true));
    hold(f, 1, true);
    hold(f, 2, true);
    assert_true(redis_settle_must_ask(&f->settle));
    hold(f, 3, true);
    assert_false(redis_settle_must_ask(&f->settle));
    assert_false(redis_settle_answered(&f->settle, 1, 10000, &f->out));
    assert_int_equal(take_out(f), 12);
    assert_true(redis_settle_must_ask(&f->settle));
    redis_settle_answered(&f->settle, 1, 10001, &f->out);
    assert_int_equal(take_out(f), 3);
    assert_false(redis_settle_must_ask(&f->settle));
}

static void test_answers_keep_their_order(void **state)
{
    struct fixture *f = *state;

    hear_role(&f->settle, 100, 100);
    assert_false(redis_settle_holds(&f->settle, false));
    hold(f, 1, true);
    assert_true(redis_settle_holds(&f->settle, false));
    assert_true(redis_settle_must_ask(&f->settle));
    hold(f, 2, false);
    hold(f, 3, true);
    hold(f, 4, false);
    redis_settle_answered(&f->settle, 1, 10000, &f->out);
    assert_int_equal(take_out(f), 12); /* 4 may not overtake 3 */
    redis_settle_must_ask(&f->settle);
    redis_settle_answered(&f->settle, 1, 10000, &f->out);
    assert_int_equal(take_out(f), 34);
}

static void test_a_silent_replica_is_given_up(void **state)
{
    struct fixture *f = *state;
    int64_t now_ms = 50000;

    hear_role(&f->settle, 100, 100);
    hold(f, 1, true);
    for (int i = 1; i < REDIS_SETTLE_GRACE_MS / REDIS_SETTLE_ASK_MS; i++) {
        assert_true(redis_settle_must_ask(&f->settle));
        now_ms += REDIS_SETTLE_ASK_MS;
        assert_false(redis_settle_answered(&f->settle, 0, now_ms, &f->out));
        assert_int_equal(take_out(f), 0);
    }
    hold(f, 2, true);
    assert_true(redis_settle_must_ask(&f->settle));
    assert_true(redis_settle_answered(&f->settle, 0, now_ms + REDIS_SETTLE_ASK_MS, &f->out));
    assert_int_equal(take_out(f), 12);
    assert_false(redis_settle_holds(&f->settle, true));
    assert_true(hear_role(&f->settle, 100, 100));
    assert_true(redis_settle_holds(&f->settle, true));
}

static void test_a_replica_that_comes_back_in_time(void **state)
{
    struct fixture *f = *state;

    hear_role(&f->settle, 100, 100);
    hold(f, 1, true);
    redis_settle_must_ask(&f->settle);
    redis_settle_answered(&f->settle, 0, 50000, &f->out);
    redis_settle_must_ask(&f->settle);
    redis_settle_answered(&f->settle, 1, 50500, &f->out);
    assert_int_equal(take_out(f), 1);
    /* The next silence is measured from its own beginning. */
    hold(f, 2, true);
    redis_settle_must_ask(&f->settle);
    assert_false(redis_settle_answered(&f->settle, 0, 90000, &f->out));
    assert_int_equal(take_out(f), 0);
}

static void test_a_lost_connection_gives_everything_back(void **state)
{
    struct fixture *f = *state;

    hear_role(&f->settle, 100, 100);
    hold(f, 1, true);
    hold(f, 2, false);
    redis_settle_must_ask(&f->settle);
    redis_settle_lose(&f->settle, &f->out);
    assert_int_equal(take_out(f), 12);
    assert_false(redis_settle_holds(&f->settle, true));
    assert_false(redis_settle_must_ask(&f->settle));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_held_without_a_replica),
        TEST(test_a_replica_that_stands_still_is_none),
        TEST(test_one_question_answers_for_all_that_came_before_it),
        TEST(test_answers_keep_their_order),
        TEST(test_a_silent_replica_is_given_up),
        TEST(test_a_replica_that_comes_back_in_time),
        TEST(test_a_lost_connection_gives_everything_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
