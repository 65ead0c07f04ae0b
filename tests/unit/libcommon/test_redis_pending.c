/* A command is called back once, in order, in its own request scope, whichever way it ends. */
#include "libcommon/redis_pending.h"
#include "libcommon/request_scope.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct redis_pending pending;
    char said[200]; /* what the callbacks were told since the last look, in order */
};

struct asker {
    struct fixture *fixture;
    char name;
};

static void on_answer(int code, const struct redisReply *reply, void *context)
{
    struct asker *asker = context;
    char *said = asker->fixture->said;

    snprintf(said + strlen(said), sizeof(asker->fixture->said) - strlen(said), "%c%d%s ", asker->name, code,
             reply ? "r" : "");
}

static void assert_said(struct fixture *f, const char *expected)
{
    assert_string_equal(f->said, expected);
    f->said[0] = '\0';
}

static struct redisReply *new_reply(void)
{
    struct redisReply *reply = calloc(1, sizeof(*reply));

    reply->type = REDIS_REPLY_INTEGER;
    return reply;
}

/* What redis_link.c does with a reply. */
static void on_reply(struct fixture *f, int code)
{
    struct redis_command *command = redis_pending_take_oldest(&f->pending);
    struct redisReply *reply = new_reply();

    if (redis_pending_must_hold(&f->pending, command, code)) {
        redis_pending_hold(&f->pending, command, code, reply);
        return;
    }
    redis_pending_answer(&f->pending, command, code, reply);
    freeReplyObject(reply);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    redis_pending_init(&f->pending, 1000, true);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    redis_pending_lose_all(&f->pending);
    free(f);
    return 0;
}

static void test_room_is_for_what_is_unanswered(void **state)
{
    struct fixture *f = *state;

    assert_true(redis_pending_has_room(&f->pending, 1000));
    assert_false(redis_pending_has_room(&f->pending, 1001));
    assert_false(redis_pending_has_room(&f->pending, SIZE_MAX));
    redis_pending_push(&f->pending, 5, 600, NULL, NULL);
    assert_int_equal(f->pending.bytes, 600);
    assert_true(redis_pending_has_room(&f->pending, 400));
    assert_false(redis_pending_has_room(&f->pending, 401));
    on_reply(f, 0);
    assert_true(redis_pending_has_room(&f->pending, 1000));
    assert_null(redis_pending_oldest(&f->pending));
    assert_null(redis_pending_take_oldest(&f->pending));
}

static void test_what_is_sent_again_goes_to_the_end(void **state)
{
    struct fixture *f = *state;
    struct asker a = {f, 'a'}, b = {f, 'b'};

    redis_pending_push(&f->pending, 5, 600, on_answer, &a);
    redis_pending_push(&f->pending, 6, 400, on_answer, &b);
    assert_int_equal(redis_pending_oldest(&f->pending)->deadline_ms, 5);
    redis_pending_push_again(&f->pending, redis_pending_take_oldest(&f->pending), 7);
    assert_int_equal(f->pending.bytes, 1000);
    assert_int_equal(redis_pending_oldest(&f->pending)->deadline_ms, 6);
    on_reply(f, 0);
    assert_int_equal(redis_pending_oldest(&f->pending)->deadline_ms, 7);
    on_reply(f, REDIS_LINK_REFUSED);
    assert_said(f, "b0r a-3r ");
}

static void test_nobody_overtakes_a_held_answer_but_the_prompt(void **state)
{
    struct fixture *f = *state;
    struct asker read = {f, 'r'}, prompt = {f, 'p'}, script = {f, 's'}, refused = {f, 'x'};
    struct redis_held_list free_to_go = STAILQ_HEAD_INITIALIZER(free_to_go);

    f->pending.settle.has_replica = true;
    redis_pending_push(&f->pending, 5, 1, on_answer, &refused)->must_settle = true;
    redis_pending_push(&f->pending, 5, 1, on_answer, &script)->must_settle = true;
    redis_pending_push(&f->pending, 5, 1, on_answer, &read);
    redis_pending_push(&f->pending, 5, 1, on_answer, &prompt)->is_prompt = true;
    on_reply(f, REDIS_LINK_REFUSED); /* an error changed nothing that could get lost */
    on_reply(f, 0);
    on_reply(f, 0);
    on_reply(f, 0);
    assert_said(f, "x-3r p0r ");
    assert_int_equal(f->pending.bytes, 0);
    assert_true(redis_settle_must_ask(&f->pending.settle));
    redis_settle_answered(&f->pending.settle, 1, 1000, &free_to_go);
    redis_pending_answer_held(&f->pending, &free_to_go);
    assert_said(f, "s0r r0r ");
}

static void test_a_loss_ends_what_is_held_before_what_is_unanswered(void **state)
{
    struct fixture *f = *state;
    struct asker a = {f, 'a'}, b = {f, 'b'}, c = {f, 'c'};

    f->pending.settle.has_replica = true;
    redis_pending_push(&f->pending, 5, 1, on_answer, &a)->must_settle = true;
    redis_pending_push(&f->pending, 5, 1, on_answer, &b);
    redis_pending_push(&f->pending, 5, 1, NULL, NULL);
    redis_pending_push(&f->pending, 5, 1, on_answer, &c);
    on_reply(f, 0);
    redis_pending_lose_all(&f->pending);
    assert_said(f, "a-2 b-2 c-2 ");
    assert_int_equal(f->pending.bytes, 0);
    redis_pending_lose_all(&f->pending);
    assert_said(f, "");
}

static void on_lost_ask_again(int code, const struct redisReply *reply, void *context)
{
    struct asker *asker = context;

    assert_int_equal(asker->fixture->pending.depth, 1);
    on_answer(code, reply, context);
    redis_pending_push(&asker->fixture->pending, 9, 1, on_answer, context);
}

static void test_what_a_callback_sends_is_not_lost_with_the_rest(void **state)
{
    struct fixture *f = *state;
    struct asker a = {f, 'a'}, b = {f, 'b'};

    redis_pending_push(&f->pending, 5, 1, on_lost_ask_again, &a);
    redis_pending_push(&f->pending, 5, 1, on_answer, &b);
    redis_pending_lose_all(&f->pending);
    assert_said(f, "a-2 b-2 ");
    assert_int_equal(f->pending.bytes, 1);
    assert_int_equal(f->pending.depth, 0);
    on_reply(f, 0);
    assert_said(f, "a0r ");
}

static void on_answer_look_at_scope(int code, const struct redisReply *reply, void *context)
{
    snprintf(context, REQUEST_ID_SIZE, "%s", request_scope_id());
}

static void test_the_callback_runs_in_the_scope_of_its_command(void **state)
{
    struct fixture *f = *state;
    char seen[REQUEST_ID_SIZE] = "", seen_outside[REQUEST_ID_SIZE] = "nothing yet";
    const char *outer = request_scope_enter("request-1");

    redis_pending_push(&f->pending, 5, 1, on_answer_look_at_scope, seen);
    request_scope_leave(outer);
    redis_pending_push(&f->pending, 5, 1, on_answer_look_at_scope, seen_outside);
    outer = request_scope_enter("request-2");
    redis_pending_push_again(&f->pending, redis_pending_take_oldest(&f->pending), 6);
    on_reply(f, 0);
    on_reply(f, 0);
    assert_string_equal(request_scope_id(), "request-2");
    request_scope_leave(outer);
    assert_string_equal(seen, "request-1");
    assert_string_equal(seen_outside, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_room_is_for_what_is_unanswered),
        TEST(test_what_is_sent_again_goes_to_the_end),
        TEST(test_nobody_overtakes_a_held_answer_but_the_prompt),
        TEST(test_a_loss_ends_what_is_held_before_what_is_unanswered),
        TEST(test_what_a_callback_sends_is_not_lost_with_the_rest),
        TEST(test_the_callback_runs_in_the_scope_of_its_command),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
