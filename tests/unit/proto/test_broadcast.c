/* Names of states, ids, and the messages of CHANNEL_BROADCAST and CHANNEL_STREAM. */
#include "proto/broadcast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_state_names(void **state)
{
    for (int value = BROADCAST_SCHEDULED; value <= BROADCAST_ARCHIVED; value++)
        assert_int_equal(broadcast_state_from_name(broadcast_state_name((enum broadcast_state)value)), value);
    assert_string_equal(broadcast_state_name(BROADCAST_SUSPENDED), "suspended");
    assert_int_equal(broadcast_state_from_name("unknown"), BROADCAST_UNKNOWN);
    assert_int_equal(broadcast_state_from_name("Live"), BROADCAST_UNKNOWN);
    assert_int_equal(broadcast_state_from_name(""), BROADCAST_UNKNOWN);
    assert_int_equal(broadcast_state_from_name(NULL), BROADCAST_UNKNOWN);
}

static void test_ids(void **state)
{
    char longest[ID_SIZE + 1];

    assert_true(id_is_valid("a"));
    assert_true(id_is_valid("AZaz09_-"));
    assert_false(id_is_valid(NULL));
    assert_false(id_is_valid(""));
    assert_false(id_is_valid("a/b"));
    assert_false(id_is_valid(".."));
    assert_false(id_is_valid("a b"));
    assert_false(id_is_valid("\xc3\xa4"));
    memset(longest, 'x', sizeof(longest));
    longest[ID_SIZE] = '\0';
    assert_false(id_is_valid(longest));
    longest[ID_SIZE - 1] = '\0';
    assert_true(id_is_valid(longest));
}

static int parse_state(const char *text, struct broadcast_state_event *event)
{
    return broadcast_state_event_parse(text, strlen(text), event);
}

static void test_state_event(void **state)
{
    struct broadcast_state_event event;

    /* cjson writes big numbers in this form. */
    assert_int_equal(parse_state("{\"type\":\"state\",\"id\":\"b1\",\"state\":\"live\",\"version\":1.763716182e+12,"
                                 "\"at_ms\":1763716182123,\"reason\":\"segment\"}",
                                 &event),
                     0);
    assert_string_equal(event.id, "b1");
    assert_int_equal(event.state, BROADCAST_LIVE);
    assert_int_equal(event.version, 1763716182000);
    assert_int_equal(event.at_ms, 1763716182123);
    assert_string_equal(event.reason, "segment");

    assert_int_equal(parse_state("{\"type\":\"state\",\"id\":\"b1\",\"state\":\"ended\",\"version\":2}", &event), 0);
    assert_string_equal(event.reason, "");
}

static void test_broken_state_events(void **state)
{
    struct broadcast_state_event event;
    static const char *const broken[] = {
        "",
        "[]",
        "{}",
        "{\"type\":\"state\"}",
        "{\"type\":\"stream.opened\",\"id\":\"b1\",\"state\":\"live\",\"version\":1}",
        "{\"type\":\"state\",\"id\":\"b 1\",\"state\":\"live\",\"version\":1}",
        "{\"type\":\"state\",\"id\":1,\"state\":\"live\",\"version\":1}",
        "{\"type\":\"state\",\"id\":\"b1\",\"state\":\"unknown\",\"version\":1}",
        "{\"type\":\"state\",\"id\":\"b1\",\"state\":\"live\"}",
        "{\"type\":\"state\",\"id\":\"b1\",\"state\":\"live\",\"version\":\"1\"}",
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
        if (parse_state(broken[i], &event) != -1)
            fail_msg("taken: %s", broken[i]);
}

static void test_stream_event(void **state)
{
    struct stream_event event;
    const char *opened = "{\"type\":\"stream.opened\",\"id\":\"b1\",\"session\":7,\"ingest\":\"i-1\"}";
    const char *closed = "{\"type\":\"stream.closed\",\"id\":\"b1\",\"session\":7}";
    const char *other = "{\"type\":\"stream.melted\",\"id\":\"b1\",\"session\":7}";
    const char *without = "{\"type\":\"stream.closed\",\"id\":\"b1\"}";

    assert_int_equal(stream_event_parse(opened, strlen(opened), &event), 0);
    assert_int_equal(event.type, STREAM_OPENED);
    assert_int_equal(event.session, 7);
    assert_string_equal(event.ingest, "i-1");
    assert_int_equal(stream_event_parse(closed, strlen(closed), &event), 0);
    assert_int_equal(event.type, STREAM_CLOSED);
    assert_string_equal(event.ingest, "");
    assert_int_equal(stream_event_parse(other, strlen(other), &event), -1);
    assert_int_equal(stream_event_parse(without, strlen(without), &event), -1);
    assert_int_equal(stream_event_parse(opened, strlen(opened) - 1, &event), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_names),  cmocka_unit_test(test_ids),
        cmocka_unit_test(test_state_event),  cmocka_unit_test(test_broken_state_events),
        cmocka_unit_test(test_stream_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
