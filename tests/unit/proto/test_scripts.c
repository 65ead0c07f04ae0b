/* The Lua scripts on a real Redis: every legal change of state is made once, published and versioned; every illegal one
 * changes nothing; what is fenced is refused. */
#include "proto/broadcast.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include "tests/unit/libcommon/real_server.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct real_server *server;
static redisContext *redis, *ears;

static int setup(void **state)
{
    server = real_redis_start(NULL);
    redis = redisConnect("127.0.0.1", real_server_port(server));
    ears = redisConnect("127.0.0.1", real_server_port(server));
    assert_int_equal(redis->err, 0);
    freeReplyObject(redisCommand(ears, "SUBSCRIBE %s", CHANNEL_BROADCAST));
    return 0;
}

static int teardown(void **state)
{
    redisFree(redis);
    redisFree(ears);
    real_server_destroy(server);
    return 0;
}

static redisReply *run_script(const struct redis_script *script, int count, const char *const *args)
{
    const char *argv[20] = {"EVAL", script->lua, "0"};
    redisReply *reply;

    memcpy(argv + 3, args, (size_t)count * sizeof(*args));
    reply = redisCommandArgv(redis, count + 3, argv, NULL);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", script->name, reply->str);
    return reply;
}

/* The script's answer (or its first element) as text, valid until the next call. */
static const char *answer(const struct redis_script *script, int count, const char *const *args)
{
    static char text[256];
    redisReply *reply = run_script(script, count, args);
    const redisReply *first = reply->type == REDIS_REPLY_ARRAY ? reply->element[0] : reply;

    if (first->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof(text), "%lld", first->integer);
    else
        snprintf(text, sizeof(text), "%s", first->str);
    freeReplyObject(reply);
    return text;
}
#define ANSWER(script, ...)                                                                                            \
    answer(&(script), (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

/* A command's answer as text ("" for nil), valid until the next call. */
static const char *ask(const char *format, ...)
{
    static char text[512];
    va_list arguments;
    redisReply *reply;

    va_start(arguments, format);
    reply = redisvCommand(redis, format, arguments);
    va_end(arguments);
    if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(text, sizeof(text), "%lld", reply->integer);
    else
        snprintf(text, sizeof(text), "%s", reply->str ? reply->str : "");
    freeReplyObject(reply);
    return text;
}

static const char *state_of(const char *id)
{
    return ask("HGET %s%s state", KEY_BROADCAST, id);
}

static int64_t version_of(const char *id)
{
    return strtoll(ask("HGET %s%s version", KEY_BROADCAST, id), NULL, 10);
}

/* The next published change must be this one. */
static void assert_published(const char *id, enum broadcast_state state)
{
    struct broadcast_state_event event;
    redisReply *reply;

    assert_int_equal(redisGetReply(ears, (void **)&reply), REDIS_OK);
    assert_int_equal(broadcast_state_event_parse(reply->element[2]->str, (size_t)reply->element[2]->len, &event), 0);
    assert_string_equal(event.id, id);
    assert_int_equal(event.state, state);
    assert_int_equal(event.version, version_of(id));
    freeReplyObject(reply);
}

/* Nothing more has been published up to now. */
static void assert_silence(void)
{
    redisReply *reply;

    freeReplyObject(redisCommand(redis, "PUBLISH %s mark", CHANNEL_BROADCAST));
    assert_int_equal(redisGetReply(ears, (void **)&reply), REDIS_OK);
    assert_string_equal(reply->element[2]->str, "mark");
    freeReplyObject(reply);
}

static void create(const char *id, const char *state, const char *grace_ms)
{
    assert_string_equal(
        ANSWER(script_broadcast_create, id, state, "title", "o", "Owner", "hash", grace_ms, "0", "0", "created"), "1");
}

/* Returns the session, valid for two more calls. */
static const char *open_session(const char *id)
{
    static char sessions[2][32];
    static int next;
    redisReply *reply = run_script(&script_session_open, 2, (const char *[]){id, "i-1"});
    char *session = sessions[next = !next];

    assert_string_equal(reply->element[0]->str, "ok");
    snprintf(session, sizeof(sessions[0]), "%s", reply->element[1]->str);
    freeReplyObject(reply);
    return session;
}

/* Takes a fresh broadcast to `state`, whose changes have all been heard. */
static const char *bring_to(const char *id, enum broadcast_state state)
{
    const char *session = NULL;

    create(id, "scheduled", "60000");
    assert_published(id, BROADCAST_SCHEDULED);
    if (state == BROADCAST_LIVE || state == BROADCAST_SUSPENDED) {
        session = open_session(id);
        assert_string_equal(ANSWER(script_broadcast_live, id, session, "9999999999999"), "live");
        assert_published(id, BROADCAST_LIVE);
    }
    if (state == BROADCAST_SUSPENDED) {
        assert_string_equal(ANSWER(script_session_close, id, session, "publisher_gone"), "ok");
        assert_published(id, BROADCAST_SUSPENDED);
    }
    if (state == BROADCAST_ENDED) {
        assert_string_equal(ANSWER(script_broadcast_end, id, "owner"), "ok");
        assert_published(id, BROADCAST_ENDED);
    }
    assert_string_equal(state_of(id), broadcast_state_name(state));
    return session;
}

static void test_create_is_made_once(void **state)
{
    int64_t version;

    create("c1", "scheduled", "60000");
    assert_published("c1", BROADCAST_SCHEDULED);
    version = version_of("c1");
    assert_true(version > 1600000000000);
    assert_string_equal(
        ANSWER(script_broadcast_create, "c1", "suspended", "other", "o", "O", "h2", "1", "0", "0", "restored"), "0");
    assert_string_equal(state_of("c1"), "scheduled");
    assert_string_equal(ask("HGET %s%s title", KEY_BROADCAST, "c1"), "title");
    assert_int_equal(version_of("c1"), version);
    assert_silence();
    assert_string_equal(ask("GET %shash", KEY_STREAM_KEY), "c1");
    assert_string_not_equal(ask("ZSCORE %s c1", KEY_BROADCASTS), "");
}

static void test_the_whole_life(void **state)
{
    const char *session = bring_to("w1", BROADCAST_SUSPENDED), *second;
    int64_t version = version_of("w1");

    assert_string_not_equal(ask("ZSCORE %s w1", KEY_WATCH_GRACE), "");
    /* A late segment of the session that is over does not make it live. */
    assert_string_equal(ANSWER(script_broadcast_live, "w1", session, "9999999999999"), "same");
    second = open_session("w1");
    assert_true(strtoll(second, NULL, 10) > strtoll(session, NULL, 10));
    assert_string_equal(state_of("w1"), "suspended");
    assert_string_equal(ANSWER(script_broadcast_live, "w1", session, "9999999999999"), "same");
    /* Media that arrived before the suspension, neither. */
    assert_string_equal(ANSWER(script_broadcast_live, "w1", second, "1000"), "same");
    assert_silence();
    assert_string_equal(ANSWER(script_broadcast_live, "w1", second, "9999999999999"), "live");
    assert_published("w1", BROADCAST_LIVE);
    assert_int_equal(version_of("w1"), version + 1);
    assert_string_equal(ask("ZSCORE %s w1", KEY_WATCH_GRACE), "");
    assert_string_not_equal(ask("ZSCORE %s w1", KEY_WATCH_SILENCE), "");
    assert_string_equal(ANSWER(script_broadcast_live, "w1", second, "9999999999999"), "same");
    assert_silence();
    assert_string_equal(ANSWER(script_broadcast_end, "w1", "owner"), "ok");
    assert_published("w1", BROADCAST_ENDED);
    assert_string_equal(ask("EXISTS %shash", KEY_STREAM_KEY), "0");
    assert_string_equal(ask("ZSCORE %s w1", KEY_WATCH_SILENCE), "");
}

static void test_illegal_changes_change_nothing(void **state)
{
    const char *session;
    int64_t version;

    session = bring_to("x1", BROADCAST_LIVE);
    assert_string_equal(ANSWER(script_broadcast_end, "x1", "owner"), "ok");
    assert_published("x1", BROADCAST_ENDED);
    version = version_of("x1");
    assert_string_equal(ANSWER(script_broadcast_end, "x1", "owner"), "illegal");
    assert_string_equal(ANSWER(script_session_open, "x1", "i-1"), "ended");
    assert_string_equal(ANSWER(script_session_touch, "x1", session), "ended");
    assert_string_equal(ANSWER(script_session_close, "x1", session, "publisher_gone"), "ok");
    assert_string_equal(ANSWER(script_broadcast_live, "x1", session, "9999999999999"), "same");
    assert_string_equal(state_of("x1"), "ended");
    assert_int_equal(version_of("x1"), version);
    assert_silence();

    /* scheduled -> suspended does not exist: a session that leaves before its first segment. */
    create("x2", "scheduled", "60000");
    assert_published("x2", BROADCAST_SCHEDULED);
    session = open_session("x2");
    assert_string_equal(ANSWER(script_session_close, "x2", session, "publisher_gone"), "ok");
    assert_string_equal(state_of("x2"), "scheduled");
    /* Nor does a segment of a closed session make it live. */
    assert_string_equal(ANSWER(script_broadcast_live, "x2", session, "9999999999999"), "same");
    assert_silence();
}

static void test_unknown_broadcasts(void **state)
{
    assert_string_equal(ANSWER(script_broadcast_end, "nobody", "owner"), "unknown");
    assert_string_equal(ANSWER(script_session_open, "nobody", "i-1"), "unknown");
    assert_string_equal(ANSWER(script_session_touch, "nobody", "1"), "unknown");
    assert_string_equal(ANSWER(script_session_close, "nobody", "1", "x"), "unknown");
    assert_string_equal(ANSWER(script_broadcast_live, "nobody", "1", "1"), "unknown");
    assert_string_equal(ask("EXISTS %snobody", KEY_BROADCAST), "0");
    assert_silence();
}

static void test_a_healthy_session_is_not_kicked(void **state)
{
    const char *session = bring_to("k1", BROADCAST_LIVE), *second;

    assert_string_equal(ANSWER(script_session_touch, "k1", session), "ok");
    assert_string_equal(ANSWER(script_session_open, "k1", "i-2"), "busy");
    assert_string_equal(ANSWER(script_session_touch, "k1", session), "ok");
    /* Silent for long: the other one gets it, and the first one learns it. */
    ask("HSET %sk1 media_at_ms 1000", KEY_BROADCAST);
    second = open_session("k1");
    assert_string_equal(state_of("k1"), "live");
    assert_string_equal(ANSWER(script_session_touch, "k1", session), "replaced");
    assert_string_equal(ANSWER(script_session_close, "k1", session, "publisher_gone"), "replaced");
    assert_string_equal(state_of("k1"), "live");
    assert_string_equal(ANSWER(script_session_touch, "k1", second), "ok");
}

static void test_watch(void **state)
{
    redisReply *reply;

    ask("DEL %s", KEY_WATCH_GRACE);
    ask("DEL %s", KEY_WATCH_SILENCE);
    bring_to("s1", BROADCAST_LIVE);
    bring_to("s2", BROADCAST_SUSPENDED);
    bring_to("s3", BROADCAST_LIVE);
    ask("ZADD %s 1 s1 1 gone", KEY_WATCH_SILENCE);
    ask("ZADD %s 1 s2 1 s3", KEY_WATCH_GRACE);
    reply = run_script(&script_watch_expire, 1, (const char *[]){"100"});
    assert_int_equal(reply->elements, 3);
    assert_string_equal(reply->element[0]->str, "s1");
    assert_string_equal(reply->element[1]->str, "|");
    assert_string_equal(reply->element[2]->str, "s2");
    freeReplyObject(reply);
    assert_published("s1", BROADCAST_SUSPENDED);
    assert_published("s2", BROADCAST_ENDED);
    assert_string_equal(state_of("s3"), "live"); /* a grace that nobody is in */
    reply = run_script(&script_watch_expire, 1, (const char *[]){"100"});
    assert_int_equal(reply->elements, 1);
    freeReplyObject(reply);
    assert_silence();
}

static void test_saved(void **state)
{
    char version[32];

    bring_to("v1", BROADCAST_LIVE);
    snprintf(version, sizeof(version), "%lld", (long long)version_of("v1"));
    assert_string_equal(ask("SISMEMBER %s v1", KEY_BROADCASTS_UNSAVED), "1");
    assert_string_equal(ANSWER(script_broadcast_end, "v1", "owner"), "ok");
    assert_published("v1", BROADCAST_ENDED);
    assert_string_equal(ANSWER(script_broadcast_saved, "v1", version), "0");
    assert_string_equal(ask("SISMEMBER %s v1", KEY_BROADCASTS_UNSAVED), "1");
    snprintf(version, sizeof(version), "%lld", (long long)version_of("v1"));
    assert_string_equal(ANSWER(script_broadcast_saved, "v1", version), "1");
    assert_string_equal(ask("SISMEMBER %s v1", KEY_BROADCASTS_UNSAVED), "0");
}

static void test_segments_are_fenced(void **state)
{
    redisReply *reply;
    char entry_id[64];

    assert_string_equal(ANSWER(script_segment_push, "q1", "5", "{}", "cp", "0"), "fenced");
    ask("HSET %sq1 token 5", KEY_LEASE_TRANSCODER);
    assert_string_equal(ANSWER(script_segment_push, "q1", "4", "{}", "cp", "0"), "fenced");
    assert_string_equal(ask("EXISTS %sq1", KEY_SEGMENTS), "0");
    assert_string_equal(ANSWER(script_segment_push, "q1", "5", "{}", "cp", "0"), "ok");
    assert_string_equal(ask("GET %sq1", KEY_CHECKPOINT), "cp");
    assert_string_not_equal(ask("ZSCORE %s q1", KEY_UPLOADS), "");

    ask("XGROUP CREATE %sq1 %s 0", KEY_SEGMENTS, SEGMENTS_GROUP);
    reply =
        redisCommand(redis, "XREADGROUP GROUP %s %s STREAMS %sq1 >", SEGMENTS_GROUP, SEGMENTS_CONSUMER, KEY_SEGMENTS);
    snprintf(entry_id, sizeof(entry_id), "%s", reply->element[0]->element[1]->element[0]->element[0]->str);
    freeReplyObject(reply);
    ask("HSET %sq1 token 9", KEY_LEASE_UPLOADER);
    assert_string_equal(ANSWER(script_segment_done, "q1", "8", entry_id, "state", "0"), "fenced");
    assert_string_equal(ask("XLEN %sq1", KEY_SEGMENTS), "1");
    assert_string_equal(ask("EXISTS %sq1", KEY_PLAYLIST), "0");
    assert_string_equal(ANSWER(script_segment_done, "q1", "9", entry_id, "state", "0"), "ok");
    assert_string_equal(ask("XLEN %sq1", KEY_SEGMENTS), "0");
    assert_string_equal(ask("GET %sq1", KEY_PLAYLIST), "state");
    assert_string_not_equal(ask("ZSCORE %s q1", KEY_UPLOADS), "");

    ask("ZADD %s 1 q1", KEY_STREAMS);
    assert_string_equal(ANSWER(script_segment_push, "q1", "5", "{\"final\":true}", "", "1"), "ok");
    assert_string_equal(ask("ZSCORE %s q1", KEY_STREAMS), "");
    assert_string_equal(ask("EXISTS %sq1", KEY_CHECKPOINT), "0");
    assert_string_equal(ANSWER(script_segment_done, "q1", "9", "", "closed", "1"), "ok");
    assert_string_equal(ask("ZSCORE %s q1", KEY_UPLOADS), "");
    assert_string_equal(ask("EXISTS %sq1", KEY_SEGMENTS), "0");
    assert_string_equal(ask("GET %sq1", KEY_PLAYLIST), "closed");
}

static void test_restored_after_a_loss(void **state)
{
    const char *session;

    assert_string_equal(
        ANSWER(script_broadcast_create, "r1", "suspended", "t", "o", "O", "rhash", "60000", "123", "456", "restored"),
        "1");
    assert_published("r1", BROADCAST_SUSPENDED);
    assert_string_equal(ask("HGET %sr1 live_at_ms", KEY_BROADCAST), "456");
    assert_string_not_equal(ask("ZSCORE %s r1", KEY_WATCH_GRACE), "");
    assert_string_equal(ask("GET %srhash", KEY_STREAM_KEY), "r1");
    session = open_session("r1");
    assert_string_equal(ANSWER(script_broadcast_live, "r1", session, "9999999999999"), "live");
    assert_published("r1", BROADCAST_LIVE);
    assert_string_equal(ask("HGET %sr1 live_at_ms", KEY_BROADCAST), "456");
}

/* Gives broadcast `id` (its hash is there) a key; the answer's number is the key that it has then. */
static int64_t give_key(const char *id, const char *key_hash, const char *key_version)
{
    redisReply *reply = run_script(
        &script_broadcast_create, 11,
        (const char *[]){id, "scheduled", "other", "o", "O", key_hash, "1", "0", "0", "restored", key_version});
    int64_t version = strtoll(reply->element[3]->str, NULL, 10);

    assert_int_equal(reply->element[0]->integer, 0);
    freeReplyObject(reply);
    return version;
}

static void test_only_a_newer_key_takes_the_place(void **state)
{
    create("key1", "scheduled", "60000");
    assert_published("key1", BROADCAST_SCHEDULED);
    assert_int_equal(give_key("key1", "third", "3"), 3);
    assert_string_equal(ask("GET %shash", KEY_STREAM_KEY), "");
    assert_int_equal(give_key("key1", "second", "2"), 3);
    assert_int_equal(give_key("key1", "other third", "3"), 3);
    assert_int_equal(give_key("key1", "", "4"), 3);
    assert_string_equal(ask("HGET %skey1 key_hash", KEY_BROADCAST), "third");
    assert_string_equal(ask("GET %sthird", KEY_STREAM_KEY), "key1");
    assert_string_equal(ask("EXISTS %ssecond", KEY_STREAM_KEY), "0");
    assert_string_equal(ask("HGET %skey1 title", KEY_BROADCAST), "title");
    assert_silence();
    /* What is over has no key any more, and takes none. */
    assert_string_equal(ANSWER(script_broadcast_end, "key1", "owner"), "ok");
    assert_published("key1", BROADCAST_ENDED);
    assert_int_equal(give_key("key1", "fourth", "4"), 3);
    assert_string_equal(ask("EXISTS %sthird", KEY_STREAM_KEY), "0");
    assert_string_equal(ask("EXISTS %sfourth", KEY_STREAM_KEY), "0");
}

static void test_a_session_opens_with_the_key_and_hears_of_a_newer_one(void **state)
{
    redisReply *reply;
    const char *session;

    create("key2", "scheduled", "60000");
    assert_published("key2", BROADCAST_SCHEDULED);
    assert_string_equal(ANSWER(script_session_open, "key2", "i-1", "another"), "other_key");
    assert_string_equal(ask("HGET %skey2 session", KEY_BROADCAST), "");
    reply = run_script(&script_session_open, 3, (const char *[]){"key2", "i-1", "hash"});
    session = strdup(reply->element[1]->str);
    assert_string_equal(reply->element[11]->str, "0");
    freeReplyObject(reply);
    assert_string_equal(ANSWER(script_session_touch, "key2", session, "0"), "ok");
    assert_int_equal(give_key("key2", "next", "2"), 2);
    reply = run_script(&script_session_touch, 3, (const char *[]){"key2", session, "0"});
    assert_int_equal(reply->elements, 3);
    assert_string_equal(reply->element[0]->str, "ok");
    assert_string_equal(reply->element[1]->str, "next");
    assert_string_equal(reply->element[2]->str, "2");
    freeReplyObject(reply);
    reply = run_script(&script_session_touch, 3, (const char *[]){"key2", session, "2"});
    assert_int_equal(reply->type, REDIS_REPLY_STRING);
    freeReplyObject(reply);
    free((char *)session);
}

static void test_an_outbox_id_is_delivered_once(void **state)
{
    const char *e = "\"type\":\"gift\",\"purchase\":\"p\"}";

    assert_string_equal(ANSWER(script_chat_deliver, "9999999999999", "7", "d1", e, "8", "d1", e, "7", "d2", e), "3");
    assert_string_equal(ANSWER(script_chat_deliver, "9999999999999", "7", "d1", e, "9", "d1", e), "1");
    assert_string_equal(ask("XLEN %sd1", KEY_CHAT_LOG), "3");
    assert_string_equal(ask("XLEN %sd2", KEY_CHAT_LOG), "1");
    assert_string_not_equal(ask("ZSCORE %s d1", KEY_CHAT_MOVING), "");
    /* Behind the lease nothing is done, whatever is forgotten. */
    assert_string_equal(ask("SREM %sd1 7", KEY_CHAT_DELIVERED), "1");
    assert_string_equal(ANSWER(script_chat_deliver, "1000", "7", "d1", e), "-1");
    assert_string_equal(ask("XLEN %sd1", KEY_CHAT_LOG), "3");
}

/* Each batch of a writer stands once however often it is said, no more waits than may, and what is exported goes. */
static void test_who_came_and_went_is_logged_once(void **state)
{
    const char *batch = "{\"type\":\"join\",\"at_ms\":1}\n{\"type\":\"leave\",\"at_ms\":2}\n";
    char first[64], bytes[24];

    snprintf(bytes, sizeof(bytes), "%zu", strlen(batch));
    assert_string_equal(ANSWER(script_audience_log, "w1", "1", "100", batch), "1");
    assert_string_equal(ANSWER(script_audience_log, "w1", "1", "100", batch), "1");
    assert_string_equal(ask("XLEN %s", KEY_EXPORT_AUDIENCE), "1");
    assert_string_equal(ask("GET %s", KEY_EXPORT_AUDIENCE_BYTES), bytes);
    assert_string_equal(ANSWER(script_audience_log, "w2", "1", "60", batch), "0");
    assert_string_equal(ANSWER(script_audience_log, "w1", "2", "60", batch), "0");
    redisReply *entries = redisCommand(redis, "XRANGE %s - +", KEY_EXPORT_AUDIENCE);
    snprintf(first, sizeof(first), "%s", entries->element[0]->element[0]->str);
    freeReplyObject(entries);
    assert_string_equal(ANSWER(script_audience_log, "w2", "1", "1000", batch), "1");
    assert_string_equal(ANSWER(script_export_trim, KEY_EXPORT_AUDIENCE, first, bytes), "1");
    assert_string_equal(ANSWER(script_export_trim, KEY_EXPORT_AUDIENCE, first, bytes), "0");
    assert_string_equal(ask("XLEN %s", KEY_EXPORT_AUDIENCE), "1");
    assert_string_equal(ask("GET %s", KEY_EXPORT_AUDIENCE_BYTES), bytes);
    assert_string_equal(ANSWER(script_export_trim, KEY_EXPORT_AUDIENCE, "9999999999999-0", "7"), "1");
    assert_string_equal(ask("GET %s", KEY_EXPORT_AUDIENCE_BYTES), ""); /* empty: counted anew */
}

static void test_every_change_of_state_is_to_be_exported(void **state)
{
    char want[300];

    ask("DEL %s", KEY_EXPORT_STATES);
    assert_string_equal(
        ANSWER(script_broadcast_create, "told", "scheduled", "t", "o", "o", "", "60000", "0", "0", "created"), "1");
    assert_published("told", BROADCAST_SCHEDULED);
    assert_string_equal(ANSWER(script_broadcast_end, "told", "it \"ends\""), "ok");
    assert_published("told", BROADCAST_ENDED);
    assert_string_equal(ANSWER(script_broadcast_end, "told", "again"), "illegal");
    redisReply *entries = redisCommand(redis, "XRANGE %s - +", KEY_EXPORT_STATES);
    assert_int_equal(entries->elements, 2);
    const char *line = entries->element[1]->element[1]->element[1]->str;
    json_t *event = json_loads(line, 0, NULL);
    snprintf(want, sizeof(want),
             "{\"broadcast\":\"told\",\"type\":\"state\",\"at_ms\":%lld,\"state\":\"ended\",\"version\":%lld,"
             "\"reason\":\"it \\\"ends\\\"\"}",
             (long long)json_integer_value(json_object_get(event, "at_ms")), (long long)version_of("told"));
    assert_string_equal(line, want);
    json_decref(event);
    freeReplyObject(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_is_made_once),
        cmocka_unit_test(test_the_whole_life),
        cmocka_unit_test(test_illegal_changes_change_nothing),
        cmocka_unit_test(test_unknown_broadcasts),
        cmocka_unit_test(test_a_healthy_session_is_not_kicked),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_saved),
        cmocka_unit_test(test_segments_are_fenced),
        cmocka_unit_test(test_restored_after_a_loss),
        cmocka_unit_test(test_only_a_newer_key_takes_the_place),
        cmocka_unit_test(test_a_session_opens_with_the_key_and_hears_of_a_newer_one),
        cmocka_unit_test(test_an_outbox_id_is_delivered_once),
        cmocka_unit_test(test_who_came_and_went_is_logged_once),
        cmocka_unit_test(test_every_change_of_state_is_to_be_exported),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
