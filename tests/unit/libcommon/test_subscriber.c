/* The subscriber against a real Redis: half-dead, stopped, killed; nothing missed in silence. */
#include "libcommon/subscriber.h"
#include "real_server.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct event_base *loop;
    struct real_server *redis;
    struct proxy *proxy;
    struct subscriber *subscriber;
    int firsts, again, messages;
    char channel[64], message[64];
    size_t len;
    const char *add_on_resubscribed;
};

static void on_resubscribed(bool first, void *context)
{
    struct fixture *f = context;

    if (first)
        f->firsts++;
    else
        f->again++;
    if (f->add_on_resubscribed)
        subscriber_add(f->subscriber, f->add_on_resubscribed);
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    struct fixture *f = context;

    f->messages++;
    f->len = len_bytes;
    snprintf(f->channel, sizeof(f->channel), "%s", channel);
    snprintf(f->message, sizeof(f->message), "%s", message);
    assert_int_equal(message[len_bytes], '\0');
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->loop = event_base_new();
    f->redis = real_redis_start(NULL);
    f->proxy = proxy_start(real_server_port(f->redis));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    subscriber_destroy(f->subscriber);
    proxy_destroy(f->proxy);
    real_server_destroy(f->redis);
    event_base_free(f->loop);
    free(f);
    return 0;
}

static void subscribe_to(struct fixture *f, int port, int64_t quiet_ms, int64_t pong_ms)
{
    char url[64];

    snprintf(url, sizeof(url), "redis://127.0.0.1:%d", port);
    f->subscriber = subscriber_create(f->loop, url,
                                      &(struct subscriber_options){.ping_channel = "ping:test",
                                                                   .quiet_ms = quiet_ms,
                                                                   .pong_ms = pong_ms,
                                                                   .connect_timeout_ms = 300,
                                                                   .backoff_max_ms = 200,
                                                                   .on_resubscribed = on_resubscribed,
                                                                   .on_message = on_message,
                                                                   .context = f});
    assert_non_null(f->subscriber);
    subscriber_add(f->subscriber, "news");
    subscriber_add(f->subscriber, "news");
    subscriber_add(f->subscriber, "ping:test");
    assert_false(subscriber_ready(f->subscriber, (char[100]){0}, 100));
    WAIT_UNTIL(f->loop, 3000, f->firsts == 1);
    assert_true(subscriber_ready(f->subscriber, NULL, 0));
}

static long long publish(const struct fixture *f, const char *channel, const char *message)
{
    return real_redis_command(real_server_port(f->redis), "PUBLISH %s %s", channel, message);
}

static void expect_message(struct fixture *f, const char *channel, const char *message)
{
    int before = f->messages;

    assert_int_equal(publish(f, channel, message), 1);
    WAIT_UNTIL(f->loop, 1000, f->messages == before + 1);
    assert_string_equal(f->channel, channel);
    assert_string_equal(f->message, message);
}

static void test_channels_come_and_go(void **state)
{
    struct fixture *f = *state;

    f->add_on_resubscribed = "added-in-callback";
    subscribe_to(f, real_server_port(f->redis), 5000, 1000);
    expect_message(f, "news", "one");
    subscriber_add(f->subscriber, "more");
    WAIT_UNTIL(f->loop, 1000, real_redis_command(real_server_port(f->redis), "PUBLISH more x") == 1);
    WAIT_UNTIL(f->loop, 1000, strcmp(f->channel, "more") == 0);
    expect_message(f, "added-in-callback", "two");
    subscriber_remove(f->subscriber, "more");
    subscriber_remove(f->subscriber, "more");
    subscriber_remove(f->subscriber, "never there");
    WAIT_UNTIL(f->loop, 1000, publish(f, "more", "unheard") == 0);
    subscriber_remove(f->subscriber, "news");
    subscriber_remove(f->subscriber, "added-in-callback");
    WAIT_UNTIL(f->loop, 1000, publish(f, "news", "unheard") == 0);
    assert_string_not_equal(f->message, "unheard");
    subscriber_add(f->subscriber, "news");
    WAIT_UNTIL(f->loop, 1000, publish(f, "news", "heard") == 1);
    assert_int_equal(subscriber_get_state(f->subscriber), SUBSCRIBER_LIVE);
    assert_int_equal(f->again, 0);
}

static void test_many_channels(void **state)
{
    struct fixture *f = *state;
    char name[32];

    subscribe_to(f, real_server_port(f->redis), 5000, 1000);
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "room:%d", i);
        subscriber_add(f->subscriber, name);
    }
    WAIT_UNTIL(f->loop, 3000, publish(f, "room:2999", "x") == 1);
    real_redis_command(real_server_port(f->redis), "CLIENT KILL TYPE pubsub");
    WAIT_UNTIL(f->loop, 3000, f->again == 1);
    /* From the call on, nothing is missed on any of them. */
    for (int i = 0; i < 3000; i += 100) {
        snprintf(name, sizeof(name), "room:%d", i);
        assert_int_equal(publish(f, name, "y"), 1);
    }
}

static void test_quiet_is_not_dead(void **state)
{
    struct fixture *f = *state;
    bool suspected = false;

    subscribe_to(f, real_server_port(f->redis), 100, 300);
    for (int i = 0; i < 200; i++) {
        run_loop_for(f->loop, 5);
        suspected |= subscriber_get_state(f->subscriber) == SUBSCRIBER_SUSPECT;
    }
    assert_true(suspected);
    assert_int_equal(f->again, 0);
    assert_int_equal(f->messages, 0); /* pings are not the owner's */
    assert_true(subscriber_ready(f->subscriber, NULL, 0));
}

/* With the defaults of quiet_ms and pong_ms: what the service promises. */
static void test_black_hole_heals_within_eight_seconds(void **state)
{
    struct fixture *f = *state;

    subscribe_to(f, proxy_port(f->proxy), 0, 0);
    expect_message(f, "news", "before");
    proxy_freeze_present(f->proxy);
    int64_t began_ms = now_ms();
    assert_int_equal(publish(f, "news", "lost in the hole"), 1);
    WAIT_UNTIL(f->loop, 8000, f->again == 1);
    printf("healed after %lld ms\n", (long long)(now_ms() - began_ms));
    /* Redis still counts the old connection, whose end it cannot know. */
    publish(f, "news", "after");
    WAIT_UNTIL(f->loop, 1000, strcmp(f->message, "after") == 0);
    assert_int_equal(f->messages, 2);
    assert_int_equal(f->again, 1);
}

static void test_total_black_hole(void **state)
{
    struct fixture *f = *state;

    subscribe_to(f, proxy_port(f->proxy), 200, 200);
    proxy_freeze_all(f->proxy);
    WAIT_UNTIL(f->loop, 1500, subscriber_get_state(f->subscriber) == SUBSCRIBER_BACKING_OFF);
    run_loop_for(f->loop, 800);
    assert_int_equal(f->again, 0);
    assert_false(subscriber_ready(f->subscriber, (char[100]){0}, 100));
    proxy_thaw(f->proxy);
    WAIT_UNTIL(f->loop, 2000, f->again == 1);
    publish(f, "news", "after");
    WAIT_UNTIL(f->loop, 1000, strcmp(f->message, "after") == 0);
}

static void test_stopped_redis(void **state)
{
    struct fixture *f = *state;

    subscribe_to(f, real_server_port(f->redis), 200, 200);
    real_server_pause(f->redis);
    WAIT_UNTIL(f->loop, 1500, subscriber_get_state(f->subscriber) == SUBSCRIBER_BACKING_OFF);
    real_server_resume(f->redis);
    WAIT_UNTIL(f->loop, 2000, f->again == 1);
    publish(f, "news", "after");
    WAIT_UNTIL(f->loop, 1000, strcmp(f->message, "after") == 0);
}

static void test_killed_redis(void **state)
{
    struct fixture *f = *state;

    subscribe_to(f, real_server_port(f->redis), 5000, 1000);
    real_server_kill(f->redis);
    WAIT_UNTIL(f->loop, 500, !subscriber_ready(f->subscriber, (char[100]){0}, 100));
    real_server_restart(f->redis);
    WAIT_UNTIL(f->loop, 2000, f->again == 1);
    expect_message(f, "news", "after");
    assert_int_equal(f->firsts, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_channels_come_and_go), TEST(test_many_channels),
        TEST(test_quiet_is_not_dead),    TEST(test_black_hole_heals_within_eight_seconds),
        TEST(test_total_black_hole),     TEST(test_stopped_redis),
        TEST(test_killed_redis),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
