/* redis_link against a real Redis: replies, deadlines, losses, limits, scripts, URLs. */
#include "libcommon/redis_link.h"
#include "real_server.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct answer {
    int calls, code, type;
    long long integer;
    char text[256];
    size_t len;
};

struct fixture {
    struct event_base *loop;
    struct real_server *redis;
    struct proxy *proxy;
    struct redis_link *link;
    int ups, downs;
};

static void on_answer(int code, const struct redisReply *reply, void *context)
{
    struct answer *answer = context;

    answer->calls++;
    answer->code = code;
    answer->type = reply ? reply->type : 0;
    answer->integer = reply ? reply->integer : 0;
    if (reply && reply->str && reply->len < sizeof(answer->text)) {
        memcpy(answer->text, reply->str, reply->len);
        answer->len = reply->len;
    }
}

static void on_up(void *context)
{
    ((struct fixture *)context)->ups++;
}

static void on_down(void *context)
{
    ((struct fixture *)context)->downs++;
}

static void link_to(struct fixture *f, const char *url, size_t max_pending_bytes)
{
    f->link = redis_link_create(f->loop, url,
                                &(struct redis_link_options){.name = "a test",
                                                             .connect_timeout_ms = 300,
                                                             .command_timeout_ms = 300,
                                                             .backoff_max_ms = 200,
                                                             .max_pending_bytes = max_pending_bytes,
                                                             .on_up = on_up,
                                                             .on_down = on_down,
                                                             .context = f});
    assert_non_null(f->link);
}

static void link_to_port(struct fixture *f, int port)
{
    char url[64];

    snprintf(url, sizeof(url), "redis://localhost:%d/1", port);
    link_to(f, url, 0);
    WAIT_UNTIL(f->loop, 3000, redis_link_is_up(f->link));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->loop = event_base_new();
    f->redis = real_redis_start(NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    redis_link_destroy(f->link);
    proxy_destroy(f->proxy);
    real_server_destroy(f->redis);
    event_base_free(f->loop);
    free(f);
    return 0;
}

static void test_answers_in_order_and_binary_safe(void **state)
{
    struct fixture *f = *state;
    struct answer set = {0}, get = {0}, length = {0}, refused = {0};

    link_to_port(f, real_server_port(f->redis));
    redis_link_command(f->link, on_answer, &set, 3, (const char *[]){"SET", "k", "a\0b\r\n"}, (size_t[]){3, 1, 5});
    redis_link_command(f->link, on_answer, &get, 2, (const char *[]){"GET", "k"}, NULL);
    redis_link_commandf(f->link, on_answer, &length, "APPEND %s %b", "k", "\0\0", (size_t)2);
    redis_link_command(f->link, on_answer, &refused, 2, (const char *[]){"LPUSH", "k"}, NULL);
    assert_true(redis_link_pending_bytes(f->link) > 0);
    assert_int_equal(set.calls, 0);
    WAIT_UNTIL(f->loop, 1000, refused.calls);
    assert_int_equal(set.code, 0);
    assert_int_equal(get.len, 5);
    assert_memory_equal(get.text, "a\0b\r\n", 5);
    assert_int_equal(length.integer, 7);
    assert_int_equal(refused.code, REDIS_LINK_REFUSED);
    assert_int_equal(refused.type, REDIS_REPLY_ERROR);
    assert_int_equal(redis_link_pending_bytes(f->link), 0);
}

/* A value whose whole reply, "$<length>\r\n…\r\n", is of so many bytes. */
static void set_value_with_reply_of(const struct fixture *f, size_t reply_bytes)
{
    char digits[24], *value;
    size_t len = reply_bytes;

    while (len + (size_t)snprintf(digits, sizeof(digits), "$%zu\r\n", len) + 2 > reply_bytes)
        len--;
    value = malloc(len + 1);
    memset(value, 'v', len);
    value[len] = '\0';
    assert_int_equal(len + strlen(digits) + 2, reply_bytes);
    assert_int_equal(real_redis_command(real_server_port(f->redis), "SET boundary %s", value), 0);
    free(value);
}

/* Replies that end exactly where a read ends, and one byte before and behind: what libevent reads in a turn of the
 * loop (4 KiB), what is read past it at once (32 KiB), and the most of that (256 KiB). */
static void test_replies_that_end_where_a_read_ends(void **state)
{
    const size_t ends[] = {4096, 4096 + 32768, 4096 + 2 * 32768, 4096 + 262144};
    struct fixture *f = *state;

    link_to_port(f, real_server_port(f->redis));
    redis_link_command(f->link, NULL, NULL, 2, (const char *[]){"SELECT", "0"}, NULL);
    for (size_t i = 0; i < 3 * sizeof(ends) / sizeof(ends[0]); i++) {
        struct answer value = {0}, next = {0};

        set_value_with_reply_of(f, ends[i / 3] + i % 3 - 1);
        redis_link_command(f->link, on_answer, &value, 2, (const char *[]){"GET", "boundary"}, NULL);
        run_loop_for(f->loop, 1);
        usleep(20000); /* all of it lies there when the loop looks again */
        WAIT_UNTIL(f->loop, 1000, value.calls);
        assert_int_equal(value.type, REDIS_REPLY_STRING);
        redis_link_command(f->link, on_answer, &next, 1, (const char *[]){"PING"}, NULL);
        WAIT_UNTIL(f->loop, 1000, next.calls);
        assert_string_equal(next.text, "PONG");
    }
    assert_int_equal(f->downs, 0);
}

/* So does the line itself, behind the last reply: both replies arrive, then the end is found. */
static void test_a_line_that_ends_where_a_read_ends(void **state)
{
    const size_t ends[] = {4096, 4096 + 32768};
    struct fixture *f = *state;

    link_to_port(f, real_server_port(f->redis));
    for (int i = 0; i < 2; i++) {
        struct answer value = {0}, quit = {0};

        WAIT_UNTIL(f->loop, 3000, redis_link_is_up(f->link) && f->downs == i);
        set_value_with_reply_of(f, ends[i] - strlen("+OK\r\n"));
        redis_link_command(f->link, NULL, NULL, 2, (const char *[]){"SELECT", "0"}, NULL);
        run_loop_for(f->loop, 50);
        redis_link_command(f->link, on_answer, &value, 2, (const char *[]){"GET", "boundary"}, NULL);
        redis_link_command(f->link, on_answer, &quit, 1, (const char *[]){"QUIT"}, NULL);
        run_loop_for(f->loop, 1);
        usleep(20000);
        WAIT_UNTIL(f->loop, 1000, value.calls && quit.calls);
        assert_int_equal(value.type, REDIS_REPLY_STRING);
        assert_string_equal(quit.text, "OK");
        WAIT_UNTIL(f->loop, 1000, f->downs == i + 1);
    }
    WAIT_UNTIL(f->loop, 3000, redis_link_is_up(f->link));
}

static void test_down_is_answered_at_once(void **state)
{
    struct fixture *f = *state;
    struct answer answer = {0};
    char why[100] = "";

    real_server_kill(f->redis);
    link_to(f, "redis://127.0.0.1:1", 0);
    redis_link_command(f->link, on_answer, &answer, 1, (const char *[]){"PING"}, NULL);
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.code, REDIS_LINK_DOWN);
    run_loop_for(f->loop, 50);
    assert_false(redis_link_ready(f->link, why, sizeof(why)));
    assert_string_equal(why, "Connection refused");
}

static void test_stopped_redis_passes_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct answer first = {0}, second = {0}, later = {0};
    int64_t began_ms;

    link_to_port(f, real_server_port(f->redis));
    real_server_pause(f->redis);
    began_ms = now_ms();
    redis_link_command(f->link, on_answer, &first, 1, (const char *[]){"PING"}, NULL);
    redis_link_command(f->link, on_answer, &second, 1, (const char *[]){"PING"}, NULL);
    WAIT_UNTIL(f->loop, 2000, second.calls);
    assert_in_range(now_ms() - began_ms, 290, 600);
    assert_int_equal(first.code, REDIS_LINK_LOST);
    assert_int_equal(second.code, REDIS_LINK_LOST);
    assert_int_equal(f->downs, 1);
    /* The kernel still accepts, but nobody answers the hand-shake. */
    run_loop_for(f->loop, 500);
    assert_false(redis_link_is_up(f->link));
    real_server_resume(f->redis);
    WAIT_UNTIL(f->loop, 2000, redis_link_is_up(f->link));
    redis_link_command(f->link, on_answer, &later, 1, (const char *[]){"PING"}, NULL);
    WAIT_UNTIL(f->loop, 1000, later.calls);
    assert_int_equal(later.code, 0);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    assert_int_equal(f->ups, 2);
}

static void test_killed_redis_comes_back(void **state)
{
    struct fixture *f = *state;
    struct answer answer = {0}, again = {0};

    link_to_port(f, real_server_port(f->redis));
    real_server_pause(f->redis);
    redis_link_command(f->link, on_answer, &answer, 1, (const char *[]){"PING"}, NULL);
    run_loop_for(f->loop, 20);
    real_server_kill(f->redis);
    WAIT_UNTIL(f->loop, 1000, f->downs == 1);
    assert_int_equal(answer.code, REDIS_LINK_LOST);
    real_server_restart(f->redis);
    WAIT_UNTIL(f->loop, 3000, f->ups == 2);
    redis_link_command(f->link, on_answer, &again, 1, (const char *[]){"PING"}, NULL);
    WAIT_UNTIL(f->loop, 1000, again.calls);
    assert_int_equal(again.code, 0);
    assert_int_equal(answer.calls, 1);
}

static void test_idle_black_hole_is_noticed(void **state)
{
    struct fixture *f = *state;

    f->proxy = proxy_start(real_server_port(f->redis));
    link_to_port(f, proxy_port(f->proxy));
    proxy_freeze_all(f->proxy);
    WAIT_UNTIL(f->loop, 1800, !redis_link_is_up(f->link));
    run_loop_for(f->loop, 500);
    assert_false(redis_link_is_up(f->link));
    proxy_thaw(f->proxy);
    WAIT_UNTIL(f->loop, 2000, redis_link_is_up(f->link));
    /* Idle, but alive: its own pings keep it. */
    run_loop_for(f->loop, 1800);
    assert_true(redis_link_is_up(f->link));
    assert_int_equal(f->downs, 1);
}

static void test_limit_of_what_is_unanswered(void **state)
{
    struct fixture *f = *state;
    struct answer fits = {0}, full = {0}, later = {0};
    static const char value[600];
    const char *const args[] = {"SET", "k", value};
    const size_t lens[] = {3, 1, sizeof(value)};
    char url[64];

    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", real_server_port(f->redis));
    link_to(f, url, 1000);
    WAIT_UNTIL(f->loop, 3000, redis_link_is_up(f->link));
    redis_link_command(f->link, on_answer, &fits, 3, args, lens);
    redis_link_command(f->link, on_answer, &full, 3, args, lens);
    assert_int_equal(full.calls, 1);
    assert_int_equal(full.code, REDIS_LINK_FULL);
    WAIT_UNTIL(f->loop, 1000, fits.calls);
    assert_int_equal(fits.code, 0);
    redis_link_command(f->link, on_answer, &later, 3, args, lens);
    WAIT_UNTIL(f->loop, 1000, later.calls);
    assert_int_equal(later.code, 0);
}

static void test_script_survives_flush(void **state)
{
    static const struct redis_script script = {"concat", "return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[2]}", 1};
    struct fixture *f = *state;
    struct answer answers[4] = {0};
    struct answer wrong = {0};
    static const struct redis_script broken = {"broken", "return nonsense(", 0};
    const char *const args[] = {"n", "2", "x\0y"};
    const size_t lens[] = {1, 1, 3};

    link_to_port(f, real_server_port(f->redis));
    redis_link_script(f->link, &script, on_answer, &answers[0], 3, args, lens);
    redis_link_script(f->link, &script, on_answer, &answers[1], 3, args, lens);
    WAIT_UNTIL(f->loop, 1000, answers[1].calls);
    real_redis_command(real_server_port(f->redis), "SCRIPT FLUSH");
    redis_link_script(f->link, &script, on_answer, &answers[2], 3, args, lens);
    redis_link_script(f->link, &script, on_answer, &answers[3], 3, args, lens);
    redis_link_script(f->link, &broken, on_answer, &wrong, 0, NULL, NULL);
    WAIT_UNTIL(f->loop, 1000, answers[3].calls && wrong.calls);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].code, 0);
        assert_int_equal(answers[i].type, REDIS_REPLY_ARRAY);
    }
    assert_int_equal(wrong.code, REDIS_LINK_REFUSED);
    /* Database 1 holds what four runs have added. */
    struct answer sum = {0};
    redis_link_command(f->link, on_answer, &sum, 2, (const char *[]){"GET", "n"}, NULL);
    WAIT_UNTIL(f->loop, 1000, sum.calls);
    assert_string_equal(sum.text, "8");
}

static void test_blocking_command_has_its_own_deadline(void **state)
{
    struct fixture *f = *state;
    struct answer answer = {0}, after = {0};

    link_to_port(f, real_server_port(f->redis));
    /* Longer than the link's own 300 ms, and than the second after which an idle link pings. */
    redis_link_command_within(f->link, 3000, on_answer, &answer, 6,
                              (const char *[]){"XREAD", "BLOCK", "1300", "STREAMS", "s", "$"}, NULL);
    WAIT_UNTIL(f->loop, 2500, answer.calls);
    assert_int_equal(answer.code, 0);
    assert_int_equal(answer.type, REDIS_REPLY_NIL);
    redis_link_command(f->link, on_answer, &after, 1, (const char *[]){"PING"}, NULL);
    WAIT_UNTIL(f->loop, 1000, after.calls);
    assert_int_equal(f->downs, 0);
}

struct resender {
    struct redis_link *link;
    struct answer again;
    int lost;
};

static void on_lost_send_again(int code, const struct redisReply *reply, void *context)
{
    struct resender *resender = context;

    assert_int_equal(code, REDIS_LINK_LOST);
    resender->lost++;
    assert_false(redis_link_is_up(resender->link));
    redis_link_command(resender->link, on_answer, &resender->again, 1, (const char *[]){"PING"}, NULL);
}

static void test_commands_from_callbacks(void **state)
{
    struct fixture *f = *state;
    struct resender resender = {0};
    struct answer never = {0};

    link_to_port(f, real_server_port(f->redis));
    resender.link = f->link;
    redis_link_command(f->link, on_lost_send_again, &resender, 3, (const char *[]){"BLPOP", "nothing", "0"}, NULL);
    redis_link_command(f->link, on_answer, &never, 1, (const char *[]){"PING"}, NULL);
    WAIT_UNTIL(f->loop, 1500, f->downs == 1);
    assert_int_equal(resender.lost, 1);
    assert_int_equal(resender.again.calls, 1);
    assert_int_equal(resender.again.code, REDIS_LINK_DOWN);
    assert_int_equal(never.code, REDIS_LINK_LOST);
}

static void test_destroy_answers_what_is_pending(void **state)
{
    struct fixture *f = *state;
    struct answer answer = {0};

    link_to_port(f, real_server_port(f->redis));
    redis_link_command(f->link, on_answer, &answer, 1, (const char *[]){"PING"}, NULL);
    redis_link_destroy(f->link);
    f->link = NULL;
    assert_int_equal(answer.calls, 1);
    assert_int_equal(answer.code, REDIS_LINK_LOST);
}

static void test_password(void **state)
{
    struct fixture *f = *state;
    char url[96], why[100] = "";

    real_server_destroy(f->redis);
    f->redis = real_redis_start("p@ss/w:rd");
    snprintf(url, sizeof(url), "redis://:wrong@127.0.0.1:%d", real_server_port(f->redis));
    link_to(f, url, 0);
    run_loop_for(f->loop, 200);
    assert_false(redis_link_ready(f->link, why, sizeof(why)));
    assert_non_null(strstr(why, "AUTH: WRONGPASS"));
    redis_link_destroy(f->link);
    snprintf(url, sizeof(url), "redis://:p%%40ss%%2Fw%%3Ard@127.0.0.1:%d/3", real_server_port(f->redis));
    link_to(f, url, 0);
    WAIT_UNTIL(f->loop, 1000, redis_link_is_up(f->link));
}

/* It accepts, answers CLIENT SETNAME and says that it is a master, but knows nothing yet. */
static void test_loading_redis_is_not_up(void **state)
{
    static const char *const slowly[] = {"--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"};
    struct fixture *f = *state;
    struct answer answer = {0};
    char url[64], why[100] = "";
    bool was_loading = false;

    real_redis_command(real_server_port(f->redis), "EVAL %s 0",
                       "for i=1,3000 do redis.call('SET','key:'..i,i) end return 1");
    real_redis_command(real_server_port(f->redis), "SAVE");
    for (int i = 0; i < 4; i++)
        real_server_add_arg(f->redis, slowly[i]);
    real_server_restart(f->redis);
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", real_server_port(f->redis));
    link_to(f, url, 0);
    for (int i = 0; i < 1000 && !redis_link_is_up(f->link); i++) {
        run_loop_for(f->loop, 10);
        was_loading |= !redis_link_ready(f->link, why, sizeof(why)) && strstr(why, "PING: LOADING");
    }
    assert_true(was_loading);
    redis_link_command(f->link, on_answer, &answer, 2, (const char *[]){"GET", "key:3000"}, NULL);
    WAIT_UNTIL(f->loop, 1000, answer.calls);
    assert_string_equal(answer.text, "3000");
}

static void test_unknown_host_does_not_stop_the_loop(void **state)
{
    struct fixture *f = *state;
    char why[100] = "";

    link_to(f, "redis://no-such-host.invalid:6379", 0);
    int64_t began_ms = now_ms();
    run_loop_for(f->loop, 100);
    assert_in_range(now_ms() - began_ms, 95, 400);
    assert_false(redis_link_ready(f->link, why, sizeof(why)));
}

static void test_urls(void **state)
{
    static const char *const good[] = {"redis://h",
                                       "redis://h:1/15",
                                       "redis://:pw@[::1]:6379",
                                       "redis-sentinel://a:1,b:2,[::1]:3/main",
                                       "redis-sentinel://:pw@a/main/2",
                                       "rediss://h:1/15",
                                       "rediss-sentinel://:pw@a,b/main/2",
                                       "redis-unix:///run/redis.sock"};
    static const char *const bad[] = {"",
                                      "h:1",
                                      "http://h",
                                      "redis://",
                                      "redis://h:0",
                                      "redis://h:65536",
                                      "redis://h:1x",
                                      "redis://h/x",
                                      "redis://h/-1",
                                      "redis://a,b",
                                      "redis://pw@h",
                                      "redis://:%4@h",
                                      "redis://:%00@h",
                                      "redis://[::1:1",
                                      "redis-sentinel://a:1",
                                      "redis-sentinel://a:1/",
                                      "redis-sentinel://a,,b/m",
                                      "redis-sentinel://a,b,c,d,e,f,g,h,i/m",
                                      "redis-unix://relative",
                                      "rediss://",
                                      "rediss://h?",
                                      "rediss://h/x?ca=/ca",
                                      "rediss://h?ca=relative",
                                      "rediss://h?ca=/%zz",
                                      "rediss://h?ca=/no/such/ca.pem",
                                      "rediss://h?key=/k",
                                      "rediss-sentinel://a?ca=/ca",
                                      "redis://h?ca=/ca"};
    char error[200];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (redis_link_check_url(good[i], error, sizeof(error)) != 0)
            fail_msg("%s: %s", good[i], error);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error[0] = '\0';
        if (redis_link_check_url(bad[i], error, sizeof(error)) == 0 || !error[0])
            fail_msg("taken: %s", bad[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers_in_order_and_binary_safe),
        TEST(test_replies_that_end_where_a_read_ends),
        TEST(test_a_line_that_ends_where_a_read_ends),
        TEST(test_down_is_answered_at_once),
        TEST(test_stopped_redis_passes_the_deadline),
        TEST(test_killed_redis_comes_back),
        TEST(test_idle_black_hole_is_noticed),
        TEST(test_limit_of_what_is_unanswered),
        TEST(test_script_survives_flush),
        TEST(test_blocking_command_has_its_own_deadline),
        TEST(test_commands_from_callbacks),
        TEST(test_destroy_answers_what_is_pending),
        TEST(test_password),
        TEST(test_loading_redis_is_not_up),
        TEST(test_unknown_host_does_not_stop_the_loop),
        cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
