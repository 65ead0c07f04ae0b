#include "services/live-api/live_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>
#include <sodium.h>

static struct live_api api = {
    .config = {.hls_secret = "secret", .rtmp_url = "rtmp://push/live", .playback_window_s = 21600}};

static void url_at(int64_t now_s, char url[300])
{
    const struct playback_signer signer = live_api_signer(&api);

    playback_url_make(&signer, "b1", now_s, "master.m3u8", url, 300);
}

static void test_playback_url(void **state)
{
    char url[300];

    url_at(21600 * 5 + 17, url);
    /* printf '%s' '151200live/b1secret' | openssl md5 -binary | base64, made safe for URLs */
    assert_string_equal(url, "/hls/151200/QBP9pJ0t101V9hPeaMSNeg/live/b1/master.m3u8");
}

static void test_one_url_per_window(void **state)
{
    char first[300], last[300], next[300];

    url_at(21600 * 5, first);
    url_at(21600 * 6 - 1, last);
    url_at(21600 * 6, next);
    assert_string_equal(first, last);
    assert_string_not_equal(last, next);
}

#define FIELDS 9 /* of the hash that broadcast_view_fetch() asks for */

/* What HMGET answers: nil for an empty string. */
static struct redisReply *reply_of(const char *const values[FIELDS])
{
    static struct redisReply elements[FIELDS], *pointers[FIELDS], reply;

    for (size_t i = 0; i < FIELDS; i++) {
        elements[i] = (struct redisReply){.type = values[i] ? REDIS_REPLY_STRING : REDIS_REPLY_NIL,
                                          .str = (char *)(uintptr_t)values[i],
                                          .len = values[i] ? strlen(values[i]) : 0};
        pointers[i] = &elements[i];
    }
    reply = (struct redisReply){.type = REDIS_REPLY_ARRAY, .elements = FIELDS, .element = pointers};
    return &reply;
}

static void test_redis_wins_unless_it_is_older(void **state)
{
    static const char *const newer[FIELDS] = {"live", "9", "new title", "o", "name", "1", "5", NULL};
    static const char *const older[FIELDS] = {"scheduled", "3", "new title", "o", "name", "1", NULL, NULL};
    static const char *const unknown[FIELDS] = {NULL};
    struct broadcast_view view = {.id = "b1", .state = BROADCAST_SUSPENDED, .version = 7};

    assert_false(broadcast_view_overlay(&view, reply_of(unknown)));
    assert_true(broadcast_view_overlay(&view, reply_of(older)));
    assert_int_equal(view.state, BROADCAST_SUSPENDED);
    assert_string_equal(view.title, "new title");
    assert_true(broadcast_view_overlay(&view, reply_of(newer)));
    assert_int_equal(view.state, BROADCAST_LIVE);
    assert_int_equal(view.version, 9);
    assert_int_equal(view.live_at_ms, 5);
}

static void test_a_private_recording_has_no_url_but_for_its_owner(void **state)
{
    static const char *const hidden[FIELDS] = {"archived", "9", "t", "o", "name", "1", "5", "6", "private"};
    struct broadcast_view view = {.id = "b1"};

    assert_true(broadcast_view_overlay(&view, reply_of(hidden)));
    json_t *for_others = broadcast_view_to_json(&api, &view, false), *own = broadcast_view_to_json(&api, &view, true);
    assert_true(json_is_null(json_object_get(for_others, "playback_url")));
    assert_true(json_is_null(json_object_get(for_others, "thumbnail_url")));
    assert_true(json_is_string(json_object_get(own, "playback_url")));
    json_decref(for_others);
    json_decref(own);
}

static void test_the_key_is_for_the_owner(void **state)
{
    struct broadcast_view view = {
        .id = "b1", .title = "t", .owner_id = "o", .owner_name = "n", .state = BROADCAST_LIVE};
    char key[STREAM_KEY_SIZE];

    stream_key_make(key);
    view.key_sealed_len = secret_seal(&api, key, view.key_sealed);
    json_t *mine = broadcast_view_to_json(&api, &view, true), *others = broadcast_view_to_json(&api, &view, false);
    assert_string_equal(json_string_value(json_object_get(mine, "stream_key")), key);
    assert_string_equal(json_string_value(json_object_get(mine, "rtmp_url")), "rtmp://push/live");
    assert_null(json_object_get(others, "stream_key"));
    assert_null(json_object_get(others, "rtmp_url"));
    json_decref(mine);
    json_decref(others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_playback_url),
        cmocka_unit_test(test_one_url_per_window),
        cmocka_unit_test(test_redis_wins_unless_it_is_older),
        cmocka_unit_test(test_a_private_recording_has_no_url_but_for_its_owner),
        cmocka_unit_test(test_the_key_is_for_the_owner),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
