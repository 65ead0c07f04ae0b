/* What is sealed into a channel's URL, and moments as people write them. */
#include "services/archive/channel_definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_there_and_back(void **state)
{
    struct channel_definition one = {.start_ms = 1763716182123, .loop = true}, back;
    uint8_t payload[CHANNEL_PAYLOAD_SIZE];
    char text[CHANNEL_ITEMS_TEXT_SIZE], id[ID_SIZE];

    memset(id, 'a', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    for (int i = 0; i < PLAYOUT_MAX_ITEMS; i++)
        assert_int_equal(channel_definition_add(&one, id), 0);
    assert_int_equal(channel_definition_add(&one, "b"), -1);
    size_t len = channel_definition_encode(&one, payload);
    assert_true(len <= sizeof(payload));
    assert_int_equal(channel_definition_decode(&back, payload, len), 0);
    assert_memory_equal(&one, &back, sizeof(one));
    channel_definition_items_text(&one, text);
    memset(&back, 0, sizeof(back));
    assert_int_equal(channel_definition_parse_items(&back, text), 0);
    assert_int_equal(back.items_count, PLAYOUT_MAX_ITEMS);
    for (size_t cut = 0; cut <= 10; cut++)
        assert_int_equal(channel_definition_decode(&back, payload, cut), -1);
    payload[0] = 2;
    assert_int_equal(channel_definition_decode(&back, payload, len), -1);
    payload[0] = 1;
    payload[11] = '/';
    assert_int_equal(channel_definition_decode(&back, payload, len), -1);
    payload[11] = '\0';
    assert_int_equal(channel_definition_decode(&back, payload, len), -1);
}

static void test_moments(void **state)
{
    const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"2025-11-21T09:09:42Z", 1763716182000},        {"2025-11-21T18:09:42+09:00", 1763716182000},
                {"2025-11-21 04:39:42.5-04:30", 1763716182000}, {"2025-11-21T09:09Z", 1763716140000},
                {"2000-01-01T00:00:00Z", 946684800000},         {"2024-02-29T00:00Z", 1709164800000}};
    const char *const bad[] = {"",
                               "now",
                               "2025-11-21",
                               "2025-11-21T09:09:42",
                               "2025-02-30T00:00Z",
                               "2025-13-01T00:00Z",
                               "2025-11-21T25:00Z",
                               "2025-11-21T09:09:42+9",
                               "2025-11-21T09:09:42+09:60",
                               "1999-12-31T23:59Z",
                               "2101-01-01T00:00Z",
                               "2025-11-21T09:09:42Zjunk",
                               "2025-11-21T09:09:4Z",
                               "-025-11-21T09:09:42Z",
                               "2025-11-21T09:09:42.000000000000000000000000000000000Z"};
    int64_t ms;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(channel_parse_moment(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (channel_parse_moment(bad[i], &ms) != -1)
            fail_msg("taken: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_moments)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
