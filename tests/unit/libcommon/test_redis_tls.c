/* Redis and Sentinel in TLS: commands large and small, messages, who is refused, and a certificate that is replaced
 * under connections that stay. */
#include "certificates.h"
#include "libcommon/redis_link.h"
#include "libcommon/subscriber.h"
#include "real_server.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LARGE_BYTES (3 << 20)

static struct fixture {
    struct event_base *loop;
    struct real_server *redis, *sentinel;
    char dir[64];
} fixture;

static void add_option(struct real_server *server, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add_option(struct real_server *server, const char *name, const char *format, ...)
{
    char value[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(value, sizeof(value), format, arguments);
    va_end(arguments);
    real_server_add_arg(server, name);
    real_server_add_arg(server, value);
}

/* The same port in TLS from the next start on, and no other. */
static void only_tls(struct real_server *server)
{
    add_option(server, "--port", "0");
    add_option(server, "--tls-port", "%d", real_server_port(server));
    add_option(server, "--tls-cert-file", "%s/cert.pem", fixture.dir);
    add_option(server, "--tls-key-file", "%s/key.pem", fixture.dir);
    add_option(server, "--tls-ca-cert-file", "%s/first-ca.pem", fixture.dir);
    add_option(server, "--tls-auth-clients", "no");
    real_server_restart(server);
}

static struct redis_link *link_to(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct redis_link *link_to(const char *format, ...)
{
    char url[300];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(url, sizeof(url), format, arguments);
    va_end(arguments);
    struct redis_link *link = redis_link_create(
        fixture.loop, url,
        /* 30 MB of answers under a sanitizer take their time beside other tests, and no deadline is what is tested
           here. */
        &(struct redis_link_options){
            .name = "tls", .connect_timeout_ms = 1000, .command_timeout_ms = 10000, .backoff_max_ms = 100});
    assert_non_null(link);
    return link;
}

/* What keeps it from being up. */
static void assert_refused(struct redis_link *link, const char *expected)
{
    char why[400] = "";

    for (int i = 0; i < 100 && !strstr(why, expected); i++) {
        run_loop_for(fixture.loop, 20);
        assert_false(redis_link_ready(link, why, sizeof(why)));
    }
    if (!strstr(why, expected))
        fail_msg("\"%s\" does not say \"%s\"", why, expected);
    redis_link_destroy(link);
}

struct answer {
    int calls, code;
    size_t len;
    char text[32];
};

static void on_answer(int code, const struct redisReply *reply, void *context)
{
    struct answer *answer = context;

    answer->calls++;
    answer->code = code;
    answer->len = reply ? reply->len : 0;
    if (reply && reply->str)
        snprintf(answer->text, sizeof(answer->text), "%s", reply->str);
}

static void assert_works(struct redis_link *link)
{
    struct answer answer = {0};

    WAIT_UNTIL(fixture.loop, 3000, redis_link_is_up(link));
    redis_link_command(link, on_answer, &answer, 2, (const char *[]){"ECHO", "here"}, NULL);
    WAIT_UNTIL(fixture.loop, 2000, answer.calls);
    assert_int_equal(answer.code, 0);
    assert_string_equal(answer.text, "here");
}

static void test_large_and_small(void **state)
{
    struct redis_link *link =
        link_to("rediss://127.0.0.1:%d/1?ca=%s/first-ca.pem", real_server_port(fixture.redis), fixture.dir);
    char *large = malloc(LARGE_BYTES);
    struct answer set = {0}, get[20] = {{0}};

    memset(large, 'x', LARGE_BYTES);
    assert_works(link);
    redis_link_command(link, on_answer, &set, 3, (const char *[]){"SET", "large", large},
                       (size_t[]){3, 5, LARGE_BYTES});
    for (size_t i = 0; i < 20; i++)
        redis_link_command(link, on_answer, &get[i], 2, (const char *[]){i % 2 ? "GET" : "STRLEN", "large"}, NULL);
    WAIT_UNTIL(fixture.loop, 10000, get[19].calls);
    assert_int_equal(set.code, 0);
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(get[i].len, i % 2 ? LARGE_BYTES : 0);
    assert_int_equal(redis_link_pending_bytes(link), 0);
    redis_link_destroy(link);
    free(large);
}

static void test_who_is_refused(void **state)
{
    int port = real_server_port(fixture.redis);
    char why[300];

    /* Signed by somebody else; made out to somebody else; nobody the system knows; no TLS at all. */
    certificates_make(fixture.dir, "other", "127.0.0.2");
    assert_refused(link_to("rediss://127.0.0.1:%d?ca=%s/other-ca.pem", port, fixture.dir),
                   "TLS: the server's certificate is refused: self-signed certificate in certificate chain");
    assert_refused(link_to("rediss://localhost:%d?ca=%s/first-ca.pem", port, fixture.dir),
                   "TLS: the server's certificate is refused: hostname mismatch");
    assert_refused(link_to("rediss://127.0.0.1:%d", port), "TLS: the server's certificate is refused");
    assert_refused(link_to("redis://127.0.0.1:%d", port), " by "); /* closed by the server, or reset by the peer */
    assert_refused(link_to("rediss://127.0.0.1:%d?ca=%s/missing.pem", port, fixture.dir),
                   "missing.pem cannot be used: No such file or directory");

    snprintf(why, sizeof(why), "rediss://127.0.0.1?ca=%s/key.pem", fixture.dir);
    assert_int_equal(redis_link_check_url(why, why, sizeof(why)), -1);
    assert_non_null(strstr(why, "key.pem cannot be used: "));
}

static void test_plain_server_is_refused(void **state)
{
    struct real_server *plain = real_redis_start(NULL);

    assert_refused(link_to("rediss://127.0.0.1:%d?ca=%s/first-ca.pem", real_server_port(plain), fixture.dir),
                   "connect timed out (does the server speak TLS on this port?)");
    real_server_destroy(plain);
}

static void on_message(const char *channel, const char *message, size_t len_bytes, void *context)
{
    ++*(int *)context;
}

static void on_resubscribed(bool first, void *context)
{
}

static void test_certificate_replaced(void **state)
{
    int port = real_server_port(fixture.redis), messages = 0;
    char url[200], config[3][200];
    struct redis_link *before, *after;
    struct subscriber *subscriber;
    struct answer answer = {0};

    snprintf(url, sizeof(url), "rediss://127.0.0.1:%d?ca=%s/first-ca.pem", port, fixture.dir);
    before = link_to("%s", url);
    subscriber = subscriber_create(fixture.loop, url,
                                   &(struct subscriber_options){.ping_channel = "ping:tls",
                                                                .on_resubscribed = on_resubscribed,
                                                                .on_message = on_message,
                                                                .context = &messages});
    subscriber_add(subscriber, "news");
    WAIT_UNTIL(fixture.loop, 3000, subscriber_get_state(subscriber) == SUBSCRIBER_LIVE);
    assert_works(before);

    certificates_make(fixture.dir, "second", "127.0.0.1");
    snprintf(config[0], sizeof(config[0]), "%s/cert.pem", fixture.dir);
    snprintf(config[1], sizeof(config[1]), "%s/key.pem", fixture.dir);
    snprintf(config[2], sizeof(config[2]), "%s/second-ca.pem", fixture.dir);
    redis_link_command(before, on_answer, &answer, 8,
                       (const char *[]){"CONFIG", "SET", "tls-cert-file", config[0], "tls-key-file", config[1],
                                        "tls-ca-cert-file", config[2]},
                       NULL);
    WAIT_UNTIL(fixture.loop, 2000, answer.calls);
    assert_int_equal(answer.code, 0);

    /* Who is there stays; who comes trusts the new one, or is refused. */
    after = link_to("rediss://127.0.0.1:%d?ca=%s/second-ca.pem", port, fixture.dir);
    assert_works(after);
    assert_works(before);
    redis_link_command(after, NULL, NULL, 3, (const char *[]){"PUBLISH", "news", "swapped"}, NULL);
    WAIT_UNTIL(fixture.loop, 2000, messages == 1);
    assert_refused(link_to("%s", url), "TLS: the server's certificate is refused");
    redis_link_destroy(before);
    redis_link_destroy(after);
    subscriber_destroy(subscriber);
}

static void test_sentinel(void **state)
{
    struct redis_link *link;

    link = link_to("rediss-sentinel://127.0.0.1:%d/main/2?ca=%s/first-ca.pem", real_server_port(fixture.sentinel),
                   fixture.dir);
    assert_works(link);
    redis_link_destroy(link);
    assert_refused(link_to("redis-sentinel://127.0.0.1:%d/main", real_server_port(fixture.sentinel)), " by ");
}

static int set_up(void **state)
{
    fixture.loop = event_base_new();
    certificates_make_dir(fixture.dir);
    certificates_make(fixture.dir, "first", "127.0.0.1");
    fixture.redis = real_redis_start(NULL);
    only_tls(fixture.redis);
    fixture.sentinel = real_sentinel_start("main", fixture.redis, 1);
    /* For its own line to the master. */
    add_option(fixture.sentinel, "--tls-replication", "yes");
    only_tls(fixture.sentinel);
    return 0;
}

static int tear_down(void **state)
{
    real_server_destroy(fixture.sentinel);
    real_server_destroy(fixture.redis);
    certificates_remove(fixture.dir);
    event_base_free(fixture.loop);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_and_small),      cmocka_unit_test(test_sentinel),
        cmocka_unit_test(test_who_is_refused),       cmocka_unit_test(test_plain_server_is_refused),
        cmocka_unit_test(test_certificate_replaced),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
