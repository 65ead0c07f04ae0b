/* Sentinel: a killed master, a hung one, and a deposed one that still answers; answers that wait for a replica. */
#include "libcommon/redis_link.h"
#include "libcommon/subscriber.h"
#include "real_server.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SENTINELS 3

struct fixture {
    struct event_base *loop;
    struct real_server *master, *replica, *sentinels[SENTINELS];
    struct redis_link *link;
    struct subscriber *subscriber;
    int firsts, again;
    char message[64];
};

static void on_resubscribed(bool first, void *context)
{
    struct fixture *f = context;

    if (first)
        f->firsts++;
    else
        f->again++;
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct fixture *f = context;

    snprintf(f->message, sizeof(f->message), "%s", message);
}

static void connect_all(struct fixture *f)
{
    char url[128];

    snprintf(url, sizeof(url), "redis-sentinel://127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d/main",
             real_server_port(f->sentinels[0]), real_server_port(f->sentinels[1]), real_server_port(f->sentinels[2]));
    f->link = redis_link_create(f->loop, url, &(struct redis_link_options){.name = "test"});
    f->subscriber = subscriber_create(
        f->loop, url,
        &(struct subscriber_options){
            .ping_channel = "ping:test", .on_resubscribed = on_resubscribed, .on_message = on_message, .context = f});
    subscriber_add(f->subscriber, "news");
    WAIT_UNTIL(f->loop, 3000, f->firsts == 1 && redis_link_is_up(f->link));
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->loop = event_base_new();
    f->master = real_redis_start(NULL);
    f->replica = real_redis_replica_start(f->master);
    for (int i = 0; i < SENTINELS; i++)
        f->sentinels[i] = real_sentinel_start("main", f->master, 2);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    redis_link_destroy(f->link);
    subscriber_destroy(f->subscriber);
    for (int i = 0; i < SENTINELS; i++)
        real_server_destroy(f->sentinels[i]);
    real_server_destroy(f->replica);
    real_server_destroy(f->master);
    event_base_free(f->loop);
    free(f);
    return 0;
}

/* Until a first sentinel names the replica; then the time until both connections have moved. */
static void expect_failover(struct fixture *f)
{
    int replica_port = real_server_port(f->replica);
    char address[32];

    snprintf(address, sizeof(address), "127.0.0.1:%d", replica_port);
    WAIT_UNTIL(f->loop, 15000,
               real_sentinel_master_port(f->sentinels[0], "main") == replica_port ||
                   real_sentinel_master_port(f->sentinels[1], "main") == replica_port ||
                   real_sentinel_master_port(f->sentinels[2], "main") == replica_port);
    int64_t elected_ms = now_ms();
    WAIT_UNTIL(f->loop, 3000, f->again >= 1 && strcmp(redis_link_address(f->link), address) == 0);
    printf("healed %lld ms after the election\n", (long long)(now_ms() - elected_ms));
    assert_int_equal(real_redis_command(replica_port, "PUBLISH news after"), 1);
    WAIT_UNTIL(f->loop, 1000, strcmp(f->message, "after") == 0);
}

/* The sentinels must know the replica and one another before anything is broken. */
static void wait_for_quorum(struct fixture *f)
{
    for (int i = 0; i < SENTINELS; i++) {
        int port = real_server_port(f->sentinels[i]);

        WAIT_UNTIL(f->loop, 15000,
                   real_sentinel_field(port, "main", "num-other-sentinels") == SENTINELS - 1 &&
                       real_sentinel_field(port, "main", "num-slaves") == 1);
    }
}

static void test_killed_master(void **state)
{
    struct fixture *f = *state;

    wait_for_quorum(f);
    connect_all(f);
    real_server_kill(f->master);
    expect_failover(f);
    assert_int_equal(f->firsts, 1);
}

/* Its connections stay open and silent. */
static void test_hung_master(void **state)
{
    struct fixture *f = *state;

    wait_for_quorum(f);
    connect_all(f);
    real_server_pause(f->master);
    expect_failover(f);
}

/* Cut off from the sentinels, but not from us: it goes on answering, and says that it is a master. */
static void test_deposed_master_that_answers(void **state)
{
    struct fixture *f = *state;
    char address[32];

    connect_all(f);
    real_redis_command(real_server_port(f->replica), "REPLICAOF NO ONE");
    for (int i = 0; i < SENTINELS; i++) {
        int port = real_server_port(f->sentinels[i]);

        real_redis_command(port, "SENTINEL REMOVE main");
        real_redis_command(port, "SENTINEL MONITOR main 127.0.0.1 %d 2", real_server_port(f->replica));
    }
    int64_t began_ms = now_ms();
    snprintf(address, sizeof(address), "127.0.0.1:%d", real_server_port(f->replica));
    WAIT_UNTIL(f->loop, 3000, f->again >= 1 && strcmp(redis_link_address(f->link), address) == 0);
    printf("noticed after %lld ms\n", (long long)(now_ms() - began_ms));
    WAIT_UNTIL(f->loop, 1000, real_redis_command(real_server_port(f->replica), "PUBLISH news after") == 1);
    WAIT_UNTIL(f->loop, 1000, strcmp(f->message, "after") == 0);
}

/* One sentinel hangs, one is gone: the third is enough. */
static void test_one_sentinel_left(void **state)
{
    struct fixture *f = *state;

    real_server_pause(f->sentinels[0]);
    real_server_kill(f->sentinels[1]);
    connect_all(f);
    run_loop_for(f->loop, 2500);
    assert_int_equal(f->again, 0);
    assert_true(redis_link_is_up(f->link));
}

static const struct redis_script put = {
    .name = "put", .lua = "return redis.call('SET',KEYS[1],ARGV[1])", .keys = 1, .answers_early = false};

/* The replica follows, and the link has heard of it. */
static void connect_replicated(struct fixture *f)
{
    WAIT_UNTIL(f->loop, 15000, real_redis_command(real_server_port(f->master), "WAIT 1 10") == 1);
    connect_all(f);
    run_loop_for(f->loop, 2500);
}

static void on_put(int code, const struct redisReply *reply, void *context)
{
    *(int *)context = code == 0 ? 1 : code;
}

/* What a script says is answered when the replica has it; a plain command behind it keeps its place. */
static void test_answers_wait_for_a_replica(void **state)
{
    struct fixture *f = *state;
    int answered = 0, behind = 0;

    connect_replicated(f);
    redis_link_script(f->link, &put, on_put, &answered, 2, (const char *[]){"first", "1"}, NULL);
    WAIT_UNTIL(f->loop, 1000, answered == 1);
    assert_int_equal(real_redis_command(real_server_port(f->replica), "EXISTS first"), 1);

    answered = 0;
    real_server_pause(f->replica);
    redis_link_script(f->link, &put, on_put, &answered, 2, (const char *[]){"second", "1"}, NULL);
    redis_link_command(f->link, on_put, &behind, 1, (const char *[]){"PING"}, NULL);
    run_loop_for(f->loop, 1500);
    assert_int_equal(answered, 0);
    assert_int_equal(behind, 0);
    real_server_resume(f->replica);
    WAIT_UNTIL(f->loop, 1500, answered == 1 && behind == 1);
    assert_int_equal(real_redis_command(real_server_port(f->replica), "EXISTS second"), 1);
}

/* A master whose replica is gone goes on alone, after a while; the link never breaks. */
static void test_a_master_goes_on_alone(void **state)
{
    struct fixture *f = *state;
    int answered = 0;

    connect_replicated(f);
    real_server_pause(f->replica);
    redis_link_script(f->link, &put, on_put, &answered, 2, (const char *[]){"alone", "1"}, NULL);
    run_loop_for(f->loop, 2000);
    assert_int_equal(answered, 0);
    WAIT_UNTIL(f->loop, 3000, answered == 1);
    answered = 0;
    redis_link_script(f->link, &put, on_put, &answered, 2, (const char *[]){"alone", "2"}, NULL);
    WAIT_UNTIL(f->loop, 300, answered == 1);
    assert_int_equal(f->again, 0);
    real_server_resume(f->replica);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_killed_master),
        TEST(test_hung_master),
        TEST(test_deposed_master_that_answers),
        TEST(test_one_sentinel_left),
        TEST(test_answers_wait_for_a_replica),
        TEST(test_a_master_goes_on_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
