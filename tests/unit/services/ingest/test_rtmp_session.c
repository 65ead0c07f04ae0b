#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ingest/rtmp_session_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct rtmp_session_options options = {
    .limits = {.max_message_bytes = 1 << 20, .max_chunk_bytes = 1 << 20, .max_buffered_bytes = 1 << 20}, .app = "live"};

static struct {
    char key[RTMP_KEY_MAX];
    int publishes, media, unpublishes;
    struct flv_tag tag; /* of the last media; pointers are stale */
    uint8_t body[64];
    uint32_t times[8];
} seen;

static void on_publish(const char *key, void *context)
{
    seen.publishes++;
    snprintf(seen.key, sizeof(seen.key), "%s", key);
}

static enum close_reason on_media(const struct flv_tag *tag, void *context)
{
    if (seen.media < 8)
        seen.times[seen.media] = tag->timestamp_ms;
    seen.media++;
    seen.tag = *tag;
    memcpy(seen.body, tag->body, tag->body_len < sizeof(seen.body) ? tag->body_len : sizeof(seen.body));
    return CLOSE_NONE;
}

static void on_unpublish(void *context)
{
    seen.unpublishes++;
}

static struct rtmp_session *session;
static struct buffer wire;

static int setup(void **state)
{
    static const struct rtmp_session_handlers handlers = {on_publish, on_media, on_unpublish};
    uint8_t hello[1 + 2 * RTMP_HANDSHAKE_SIZE] = {3};

    memset(&seen, 0, sizeof(seen));
    buffer_init(&wire, 1 << 20);
    session = rtmp_session_create(&options, &handlers, NULL);
    assert_int_equal(rtmp_session_feed(session, hello, sizeof(hello)), CLOSE_NONE);
    assert_int_equal(rtmp_session_state(session), RTMP_CONNECTING);
    buffer_reset(rtmp_session_out(session));
    return 0;
}

static int teardown(void **state)
{
    rtmp_session_destroy(session);
    buffer_clear(&wire);
    return 0;
}

static void put_message(uint8_t type, uint32_t stream_id, uint32_t time_ms, const void *body, size_t len)
{
    uint8_t header[12] = {
        3,    (uint8_t)(time_ms >> 16), (uint8_t)(time_ms >> 8), (uint8_t)time_ms, 0, (uint8_t)(len >> 8), (uint8_t)len,
        type, (uint8_t)stream_id};
    assert_int_equal(buffer_append(&wire, header, sizeof(header)), 0);
    for (size_t at = 0; at < len; at += 128) {
        if (at > 0)
            assert_int_equal(buffer_append(&wire, "\xc3", 1), 0);
        assert_int_equal(buffer_append(&wire, (const char *)body + at, len - at < 128 ? len - at : 128), 0);
    }
}

static enum close_reason feed(void)
{
    enum close_reason reason = rtmp_session_feed(session, wire.data, wire.len);

    buffer_reset(&wire);
    return reason;
}

static void put_connect(uint8_t type, const char *app)
{
    struct buffer body;

    buffer_init(&body, 4096);
    if (type == RTMP_COMMAND_AMF3)
        assert_int_equal(buffer_append(&body, "", 1), 0);
    amf0_write_string(&body, "connect");
    amf0_write_number(&body, 1);
    amf0_write_object_begin(&body);
    amf0_write_name(&body, "app");
    amf0_write_string(&body, app);
    amf0_write_name(&body, "tcUrl");
    amf0_write_string(&body, "rtmp://localhost:1935/live?some=query");
    amf0_write_name(&body, "extra");
    amf0_write_object_begin(&body);
    amf0_write_object_end(&body);
    amf0_write_object_end(&body);
    put_message(type, 0, 0, body.data, body.len);
    buffer_clear(&body);
}

static void put_command(const char *name, double transaction, const char *argument, const char *type)
{
    struct buffer body;

    buffer_init(&body, 4096);
    amf0_write_string(&body, name);
    amf0_write_number(&body, transaction);
    amf0_write_null(&body);
    if (argument)
        amf0_write_string(&body, argument);
    if (type)
        amf0_write_string(&body, type);
    put_message(RTMP_COMMAND_AMF0, 0, 0, body.data, body.len);
    buffer_clear(&body);
}

static bool said(const char *text)
{
    struct buffer *out = rtmp_session_out(session);

    return out->len > 0 && memmem(out->data, out->len, text, strlen(text)) != NULL;
}

static void go_publishing(void)
{
    put_connect(RTMP_COMMAND_AMF0, "live");
    put_command("createStream", 2, NULL, NULL);
    put_command("publish", 3, "key", "live");
    assert_int_equal(feed(), CLOSE_NONE);
    assert_int_equal(rtmp_session_accept(session), CLOSE_NONE);
    assert_int_equal(rtmp_session_state(session), RTMP_PUBLISHING);
}

static void test_publishes(void **state)
{
    put_connect(RTMP_COMMAND_AMF0, "live");
    assert_int_equal(feed(), CLOSE_NONE);
    assert_true(said("NetConnection.Connect.Success"));
    put_command("releaseStream", 2, "key", NULL);
    put_command("FCPublish", 3, "key", NULL);
    put_command("createStream", 4, NULL, NULL);
    put_command("publish", 5, "key?token=x", NULL);
    assert_int_equal(feed(), CLOSE_NONE);
    assert_true(said("onFCPublish"));
    assert_string_equal(seen.key, "key");
    assert_int_equal(rtmp_session_state(session), RTMP_OPENING);
    assert_false(said("Publishing."));
    assert_int_equal(rtmp_session_accept(session), CLOSE_NONE);
    assert_true(said("Publishing."));
    put_command("FCUnpublish", 6, "key", NULL);
    put_command("deleteStream", 7, NULL, NULL);
    assert_int_equal(feed(), CLOSE_NONE);
    assert_int_equal(seen.unpublishes, 1);
    assert_int_equal(rtmp_session_state(session), RTMP_CONNECTED);
    put_command("publish", 8, "again", "live");
    assert_int_equal(feed(), CLOSE_NONE);
    assert_string_equal(seen.key, "again");
}

static void test_amf3_commands(void **state)
{
    put_connect(RTMP_COMMAND_AMF3, "live");
    assert_int_equal(feed(), CLOSE_NONE);
    assert_int_equal(rtmp_session_state(session), RTMP_CONNECTED);
}

static void test_unknown_app(void **state)
{
    put_connect(RTMP_COMMAND_AMF0, "other");
    assert_int_equal(feed(), CLOSE_UNKNOWN_APP);
    assert_true(said("_error"));
    assert_true(said("NetConnection.Connect.InvalidApp"));
}

static void test_app_and_key_in_all_shapes(void **state)
{
    static const struct {
        const char *app;
        bool is_live;
        const char *key;
    } apps[] = {{"live", true, ""},
                {"live/", true, ""},
                {"/live", true, ""},
                {"live?a=b/c", true, ""},
                {"live/_definst_", true, ""},
                {"live/KEY", true, "KEY"},
                {"live/KEY?a=b", true, "KEY"},
                {"live/_definst_/KEY", true, "KEY"},
                {"livex", false, ""},
                {"", false, ""}};
    char key[RTMP_KEY_MAX];

    for (size_t i = 0; i < sizeof(apps) / sizeof(apps[0]); i++) {
        assert_int_equal(rtmp_app_parse(apps[i].app, "live", key), apps[i].is_live);
        assert_string_equal(key, apps[i].key);
    }
    rtmp_stream_name_parse("KEY?x=y", key);
    assert_string_equal(key, "KEY");
    rtmp_stream_name_parse("/KEY/", key);
    assert_string_equal(key, "KEY");
    rtmp_stream_name_parse("instance/KEY", key);
    assert_string_equal(key, "KEY");
    rtmp_stream_name_parse("", key);
    assert_string_equal(key, "");
}

static void test_key_in_the_app(void **state)
{
    put_connect(RTMP_COMMAND_AMF0, "live/secret");
    put_command("publish", 5, "", "live");
    assert_int_equal(feed(), CLOSE_NONE);
    assert_string_equal(seen.key, "secret");
}

static void test_no_key_at_all(void **state)
{
    put_connect(RTMP_COMMAND_AMF0, "live");
    put_command("publish", 5, NULL, NULL);
    assert_int_equal(feed(), CLOSE_BAD_KEY);
    assert_true(said("NetStream.Publish.BadName"));
}

/* Media behind `publish` in the same read waits for the answer and is not lost. */
static void test_media_before_the_answer(void **state)
{
    put_connect(RTMP_COMMAND_AMF0, "live");
    put_command("publish", 5, "key", "live");
    put_message(RTMP_AUDIO, 1, 20, "\xaf\x01zz", 4);
    assert_int_equal(feed(), CLOSE_NONE);
    put_message(RTMP_AUDIO, 1, 40, "\xaf\x01zz", 4);
    assert_int_equal(feed(), CLOSE_NONE);
    assert_int_equal(seen.media, 0);
    assert_int_equal(rtmp_session_accept(session), CLOSE_NONE);
    assert_int_equal(seen.media, 2);
    assert_int_equal(seen.times[1], 40);
}

static void test_metadata_loses_its_prefix(void **state)
{
    struct buffer body;

    go_publishing();
    for (int is_amf3 = 0; is_amf3 < 2; is_amf3++) {
        buffer_init(&body, 4096);
        if (is_amf3)
            assert_int_equal(buffer_append(&body, "", 1), 0);
        amf0_write_string(&body, "@setDataFrame");
        amf0_write_string(&body, "onMetaData");
        amf0_write_object_begin(&body);
        amf0_write_object_end(&body);
        put_message(is_amf3 ? RTMP_DATA_AMF3 : RTMP_DATA_AMF0, 1, 0, body.data, body.len);
        assert_int_equal(feed(), CLOSE_NONE);
        assert_int_equal(seen.media, is_amf3 + 1);
        assert_int_equal(seen.tag.type, FLV_TAG_SCRIPT);
        assert_memory_equal(seen.body, "\x02\x00\x0aonMetaData\x03", 14);
        buffer_clear(&body);
    }
}

static void test_aggregate(void **state)
{
    static const uint8_t body[] = {8, 0, 0, 3, 0, 0, 50, 0, 0, 0, 0, 0xaf, 1, 7, 0, 0, 0, 14,
                                   8, 0, 0, 3, 0, 0, 70, 0, 0, 0, 0, 0xaf, 1, 8, 0, 0, 0, 14};
    static const uint8_t lying[] = {8, 0, 1, 3, 0, 0, 50, 0, 0, 0, 0, 0xaf, 1, 7};

    go_publishing();
    put_message(RTMP_AGGREGATE, 1, 1000, body, sizeof(body));
    assert_int_equal(feed(), CLOSE_NONE);
    assert_int_equal(seen.media, 2);
    assert_int_equal(seen.times[0], 1000);
    assert_int_equal(seen.times[1], 1020);
    put_message(RTMP_AGGREGATE, 1, 1000, lying, sizeof(lying));
    assert_int_equal(feed(), CLOSE_BAD_MEDIA);
    assert_true(said("NetStream.Publish.Rejected"));
}

static void test_ping_and_acknowledgement(void **state)
{
    static uint8_t audio[30000] = {0xaf, 1};

    go_publishing();
    buffer_reset(rtmp_session_out(session));
    put_message(RTMP_USER_CONTROL, 0, 0, "\x00\x06\x00\x00\x12\x34", 6);
    assert_int_equal(feed(), CLOSE_NONE);
    struct buffer *out = rtmp_session_out(session);
    assert_int_equal(out->len, 18);
    assert_memory_equal(out->data + 12, "\x00\x07\x00\x00\x12\x34", 6);
    buffer_reset(out);
    put_message(RTMP_WINDOW_ACK_SIZE, 0, 0, "\x00\x00\x40\x00", 4);
    put_message(RTMP_AUDIO, 1, 0, audio, sizeof(audio));
    assert_int_equal(feed(), CLOSE_NONE);
    assert_int_equal(out->data[7], RTMP_ACKNOWLEDGEMENT);
}

static void test_commands_before_connect_end_it(void **state)
{
    put_command("publish", 1, "key", "live");
    assert_int_equal(feed(), CLOSE_PROTOCOL);
    assert_int_equal(rtmp_session_state(session), RTMP_OVER);
    assert_int_equal(seen.publishes, 0);
}

/* Before a key is shown, nobody gets the memory of a key frame. */
static void test_large_message_before_publish(void **state)
{
    static uint8_t zeros[65000];

    put_message(RTMP_DATA_AMF0, 0, 0, zeros, sizeof(zeros));
    assert_int_equal(feed(), CLOSE_NONE);
    const uint8_t huge[12] = {4, 0, 0, 0, 2, 0, 0, 9};
    assert_int_equal(buffer_append(&wire, huge, sizeof(huge)), 0);
    assert_int_equal(feed(), CLOSE_MESSAGE_SIZE);
}

static void test_unknown_commands_are_answered(void **state)
{
    put_connect(RTMP_COMMAND_AMF0, "live");
    put_command("somethingElse", 9, NULL, NULL);
    put_command("_checkbw", 10, NULL, NULL);
    put_command("play", 0, "key", NULL);
    assert_int_equal(feed(), CLOSE_NONE);
    assert_true(said("NetConnection.Call.Failed"));
    assert_true(said("NetStream.Play.Failed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_publishes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_amf3_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_app, setup, teardown),
        cmocka_unit_test_setup_teardown(test_app_and_key_in_all_shapes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_key_in_the_app, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_key_at_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_media_before_the_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metadata_loses_its_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_aggregate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ping_and_acknowledgement, setup, teardown),
        cmocka_unit_test_setup_teardown(test_commands_before_connect_end_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_message_before_publish, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_commands_are_answered, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
