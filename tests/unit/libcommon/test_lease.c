/* Leases in a real Redis: exclusive, taken over from the dead and the hung, tokens that only rise. */
#include "libcommon/lease.h"
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

/* A process that may hold the lease: its link, and the subscription that shows that it lives. */
struct holder {
    const char *name;
    struct proxy *proxy; /* its line to Redis */
    struct redis_link *link;
    redisContext *alive;
    struct lease *lease;
    int answers, code, lost;
    bool release_when_lost;
};

struct fixture {
    struct event_base *loop;
    struct real_server *redis;
    struct holder a, b;
};

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct holder *holder = context;

    holder->answers++;
    holder->code = code;
    if (lease)
        holder->lease = lease;
}

static void on_lost(struct lease *lease, void *context)
{
    struct holder *holder = context;

    holder->lost++;
    assert_false(lease_is_safe(lease));
    if (holder->release_when_lost) {
        lease_release(lease);
        holder->lease = NULL;
    }
}

static void holder_start(struct fixture *f, struct holder *holder, const char *name)
{
    char url[64];

    holder->name = name;
    holder->proxy = proxy_start(real_server_port(f->redis));
    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", proxy_port(holder->proxy));
    holder->link = redis_link_create(
        f->loop, url, &(struct redis_link_options){.name = name, .command_timeout_ms = 300, .backoff_max_ms = 200});
    holder->alive = redisConnect("127.0.0.1", real_server_port(f->redis));
    freeReplyObject(redisCommand(holder->alive, "SUBSCRIBE alive:%s", name));
    WAIT_UNTIL(f->loop, 2000, redis_link_is_up(holder->link));
}

static void holder_stop(struct holder *holder)
{
    lease_release(holder->lease);
    redis_link_destroy(holder->link);
    proxy_destroy(holder->proxy);
    if (holder->alive)
        redisFree(holder->alive);
}

static bool try_acquire(struct fixture *f, struct holder *holder, int64_t ttl_ms)
{
    char alive[64];
    int before = holder->answers;

    snprintf(alive, sizeof(alive), "alive:%s", holder->name);
    lease_try_acquire(f->loop, holder->link,
                      &(struct lease_options){.key = "lease",
                                              .fence_key = "fence",
                                              .holder = holder->name,
                                              .alive_channel = alive,
                                              .ttl_ms = ttl_ms,
                                              .on_lost = on_lost,
                                              .context = holder},
                      on_acquired, holder);
    WAIT_UNTIL(f->loop, 2000, holder->answers == before + 1);
    return holder->lease != NULL;
}

/* How long until `holder` gets it, trying as a service would; -1: not within the time. */
static int64_t time_to_acquire(struct fixture *f, struct holder *holder, int64_t ttl_ms, int64_t timeout_ms)
{
    int64_t began_ms = now_ms();

    while (now_ms() - began_ms < timeout_ms) {
        if (try_acquire(f, holder, ttl_ms))
            return now_ms() - began_ms;
        run_loop_for(f->loop, 320);
    }
    return -1;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->loop = event_base_new();
    f->redis = real_redis_start(NULL);
    holder_start(f, &f->a, "a");
    holder_start(f, &f->b, "b");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    holder_stop(&f->a);
    holder_stop(&f->b);
    real_server_destroy(f->redis);
    event_base_free(f->loop);
    free(f);
    return 0;
}

static void test_exclusive_and_given_back(void **state)
{
    struct fixture *f = *state;
    char first[32];

    assert_true(try_acquire(f, &f->a, 600));
    assert_true(lease_is_safe(f->a.lease));
    snprintf(first, sizeof(first), "%s", lease_token(f->a.lease));
    /* Renewed far beyond its time to live, it stays where it is. */
    assert_int_equal(time_to_acquire(f, &f->b, 600, 1500), -1);
    assert_int_equal(f->b.code, 0);
    assert_true(lease_is_safe(f->a.lease));
    assert_int_equal(f->a.lost, 0);
    lease_release(f->a.lease);
    f->a.lease = NULL;
    run_loop_for(f->loop, 50);
    assert_true(try_acquire(f, &f->b, 600));
    assert_true(atoll(lease_token(f->b.lease)) > atoll(first));
    assert_true(atoll(lease_token(f->b.lease)) > 1500000000000);
}

static void test_killed_holder_is_replaced_at_once(void **state)
{
    struct fixture *f = *state;

    assert_true(try_acquire(f, &f->a, 60000));
    /* The kernel closes a killed process' sockets. */
    proxy_freeze_all(f->a.proxy);
    redisFree(f->a.alive);
    f->a.alive = NULL;
    int64_t took_ms = time_to_acquire(f, &f->b, 60000, 5000);
    printf("taken after %lld ms\n", (long long)took_ms);
    assert_in_range(took_ms, 300, 1500);
    assert_true(atoll(lease_token(f->b.lease)) > atoll(lease_token(f->a.lease)));
}

static void test_reconnecting_holder_is_not_robbed(void **state)
{
    struct fixture *f = *state;

    assert_true(try_acquire(f, &f->a, 600));
    redisFree(f->a.alive);
    f->a.alive = NULL;
    /* Two observations, but renewals (every 150 to 200 ms) between them. */
    for (int i = 0; i < 4; i++) {
        assert_false(try_acquire(f, &f->b, 600));
        run_loop_for(f->loop, 320);
    }
    assert_int_equal(f->a.lost, 0);
}

static void test_hung_holder_loses_by_time(void **state)
{
    struct fixture *f = *state;

    assert_true(try_acquire(f, &f->a, 900));
    /* Its subscription lives on, its renewals do not arrive. */
    proxy_freeze_all(f->a.proxy);
    int64_t took_ms = time_to_acquire(f, &f->b, 900, 5000);
    assert_in_range(took_ms, 500, 1500);
    assert_int_equal(f->a.lost, 1);
    assert_false(lease_is_safe(f->a.lease));
    /* Back again, it does not take it from the new one. */
    proxy_thaw(f->a.proxy);
    run_loop_for(f->loop, 1000);
    assert_int_equal(f->a.lost, 1);
    assert_int_equal(f->b.lost, 0);
    assert_true(lease_is_safe(f->b.lease));
}

static void test_lost_before_another_can_hold_it(void **state)
{
    struct fixture *f = *state;

    f->a.release_when_lost = true;
    assert_true(try_acquire(f, &f->a, 600));
    run_loop_for(f->loop, 300);
    proxy_freeze_all(f->a.proxy);
    WAIT_UNTIL(f->loop, 1000, f->a.lost == 1);
    assert_int_equal(real_redis_command(real_server_port(f->redis), "EXISTS lease"), 1);
    assert_null(f->a.lease);
}

static void test_taken_away(void **state)
{
    struct fixture *f = *state;

    assert_true(try_acquire(f, &f->a, 600));
    real_redis_command(real_server_port(f->redis), "HSET lease token 1");
    WAIT_UNTIL(f->loop, 1000, f->a.lost == 1);
    run_loop_for(f->loop, 700);
    assert_int_equal(f->a.lost, 1);
}

static void test_tokens_rise_after_flushall(void **state)
{
    struct fixture *f = *state;
    long long last = 0;

    for (int i = 0; i < 20; i++) {
        struct holder *holder = i % 2 ? &f->a : &f->b;

        if (i % 3 == 2)
            real_redis_command(real_server_port(f->redis), "FLUSHALL");
        assert_true(try_acquire(f, holder, 600));
        assert_true(atoll(lease_token(holder->lease)) > last);
        last = atoll(lease_token(holder->lease));
        lease_release(holder->lease);
        holder->lease = NULL;
        /* The other asks on a connection of its own: Redis may read that one first. */
        WAIT_UNTIL(f->loop, 2000, real_redis_command(real_server_port(f->redis), "EXISTS lease") == 0);
    }
}

static void test_asking_again_fences_the_old_self(void **state)
{
    struct fixture *f = *state;

    assert_true(try_acquire(f, &f->a, 600));
    struct lease *old = f->a.lease;
    assert_true(try_acquire(f, &f->a, 600));
    assert_true(atoll(lease_token(f->a.lease)) > atoll(lease_token(old)));
    WAIT_UNTIL(f->loop, 1000, f->a.lost == 1);
    assert_true(lease_is_safe(f->a.lease));
    lease_release(old);
    run_loop_for(f->loop, 300);
    assert_true(lease_is_safe(f->a.lease));
}

static void test_no_redis(void **state)
{
    struct fixture *f = *state;

    real_server_kill(f->redis);
    WAIT_UNTIL(f->loop, 1000, !redis_link_is_up(f->a.link));
    assert_false(try_acquire(f, &f->a, 600));
    assert_int_equal(f->a.code, REDIS_LINK_DOWN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exclusive_and_given_back),
        TEST(test_killed_holder_is_replaced_at_once),
        TEST(test_reconnecting_holder_is_not_robbed),
        TEST(test_hung_holder_loses_by_time),
        TEST(test_lost_before_another_can_hold_it),
        TEST(test_taken_away),
        TEST(test_tokens_rise_after_flushall),
        TEST(test_asking_again_fences_the_old_self),
        TEST(test_no_redis),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
