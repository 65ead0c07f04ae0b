/* Event ids, the walk through a message of events, what a client may say. */
#include "proto/chat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_ids(void **state)
{
    struct chat_event_id a, b;
    char text[CHAT_EVENT_ID_SIZE];

    assert_int_equal(chat_event_id_parse("17-3", &a), 0);
    assert_int_equal(chat_event_id_parse("17-12", &b), 0);
    assert_true(chat_event_id_compare(a, b) < 0);
    assert_string_equal(chat_event_id_format(b, text), "17-12");
    assert_int_equal(chat_event_id_parse("18446744073709551615-18446744073709551615", &b), 0);
    assert_true(chat_event_id_compare(b, a) > 0);
    assert_int_equal(chat_event_id_compare(a, a), 0);
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(
            chat_event_id_parse(
                (const char *[]){"", "x", "1-", "-1", "1-2-3", "+1", " 1", "1 ", "99999999999999999999999"}[i], &a),
            -1);
    assert_int_equal(chat_event_id_parse(NULL, &a), -1);
}

static void test_compose(void **state)
{
    static const char e[] = "\"type\":\"comment\"}";
    size_t len;
    char *text = chat_event_compose("17-3", e, sizeof(e) - 1, &len);

    assert_string_equal(text, "{\"id\":\"17-3\",\"at_ms\":17,\"type\":\"comment\"}");
    assert_int_equal(len, strlen(text));
    free(text);
}

static int walk(const char *message)
{
    size_t offset = 0, len;
    const char *text;
    json_t *event;
    int count = 0, got;

    while ((got = chat_events_next(message, strlen(message), &offset, &event, &text, &len)) == 1) {
        assert_int_equal(text[0], '{');
        assert_int_equal(text[len - 1], '}');
        json_decref(event);
        count++;
    }
    return got < 0 ? got : count;
}

static void test_walk(void **state)
{
    assert_int_equal(walk("[]"), 0);
    assert_int_equal(walk("[{}]"), 1);
    assert_int_equal(walk(" [ {\"a\":[1,{}]} , {\"b\":\"]}{,\"} ] "), 2);
    assert_int_equal(walk(""), -1);
    assert_int_equal(walk("{}"), -1);
    assert_int_equal(walk("[{}"), -1);
    assert_int_equal(walk("[1]"), -1);
    assert_int_equal(walk("[{},]"), -1);
    assert_int_equal(walk("[{}{}]"), -1);
}

static const char *parse(const char *text, struct chat_client_message *message)
{
    return chat_client_message_parse(text, strlen(text), message);
}

static void test_comments(void **state)
{
    struct chat_client_message message;
    char longest[4 * CHAT_TEXT_MAX_CHARACTERS + 100] = "{\"type\":\"comment\",\"text\":\"";

    assert_null(parse("{\"type\":\"comment\",\"ref\":\"r1\",\"text\":\"hi\"}", &message));
    assert_int_equal(message.verb, CHAT_VERB_COMMENT);
    assert_string_equal(message.ref, "r1");
    assert_string_equal(message.text, "hi");
    chat_client_message_clear(&message);
    for (int i = 0; i < CHAT_TEXT_MAX_CHARACTERS; i++)
        strcat(longest, "\xF0\x9F\x8E\x86");
    strcat(longest, "\"}");
    assert_null(parse(longest, &message));
    chat_client_message_clear(&message);
    longest[strlen(longest) - 2] = '\0';
    strcat(longest, "!\"}");
    assert_string_equal(parse(longest, &message), "too_long");
    assert_string_equal(parse("{\"type\":\"comment\",\"ref\":\"r2\",\"text\":\" \\u3000\\n\"}", &message), "invalid");
    assert_string_equal(message.ref, "r2");
    assert_string_equal(parse("{\"type\":\"comment\",\"text\":\"a\\u0000b\"}", &message), "invalid");
    assert_string_equal(parse("{\"type\":\"comment\",\"text\":\"\xFF\"}", &message), "invalid");
    assert_string_equal(parse("{\"type\":\"comment\",\"ref\":7,\"text\":\"x\"}", &message), "invalid");
    assert_string_equal(parse("{\"type\":\"comment\",\"text\":\"x\",\"text\":\"y\"}", &message), "invalid");
    assert_string_equal(parse("[]", &message), "invalid");
}

static void test_deletes(void **state)
{
    struct chat_client_message message;

    assert_null(parse("{\"type\":\"delete\",\"id\":\"17-3\"}", &message));
    assert_int_equal(message.verb, CHAT_VERB_DELETE);
    assert_string_equal(message.id, "17-3");
    assert_string_equal(parse("{\"type\":\"delete\",\"id\":\"'; DROP\"}", &message), "invalid");
    assert_string_equal(parse("{\"type\":\"delete\"}", &message), "invalid");
}

static void test_said_keys(void **state)
{
    char key[CHAT_SAID_KEY_SIZE], other[CHAT_SAID_KEY_SIZE];

    assert_int_equal(chat_said_key("u1", "r1", "hello", key), chat_said_key("u1", "r1", "hello", other));
    assert_string_equal(key, other);
    assert_memory_equal(key, "u1:", 3);
    chat_said_key("u1", "r1h", "ello", other);
    assert_string_not_equal(key, other);
    chat_said_key("u2", "r1", "hello", other);
    assert_string_not_equal(key, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),      cmocka_unit_test(test_compose), cmocka_unit_test(test_walk),
        cmocka_unit_test(test_comments), cmocka_unit_test(test_deletes), cmocka_unit_test(test_said_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
