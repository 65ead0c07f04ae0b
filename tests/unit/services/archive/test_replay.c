/* Replay files: minutes of the recording, cut where a minute is too much. */
#include "services/archive/replay.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char event[] = "{\"id\":\"1-0\"}";

static void close_and_free(struct replay *replay, int64_t next_ms)
{
    size_t len;

    free(replay_close_file(replay, next_ms, &len));
}

static void add_text(struct replay *replay, const char *text, int64_t media_ms)
{
    while (replay_is_full(replay, media_ms, strlen(text)))
        close_and_free(replay, media_ms);
    assert_int_equal(replay_add(replay, text, strlen(text), media_ms), 0);
}

static void test_a_file_per_minute_empty_ones_too(void **state)
{
    struct replay replay;
    size_t len;

    replay_init(&replay, 200000);
    add_text(&replay, event, 0);
    add_text(&replay, event, 59999);
    add_text(&replay, event, 180000);
    add_text(&replay, event, 200000); /* the end belongs to the last */
    char *text = replay_close_last(&replay, &len);
    assert_int_equal(
        len, strlen("{\"events\":[{\"id\":\"1-0\",\"media_ms\":180000},{\"id\":\"1-0\",\"media_ms\":200000}]}"));
    assert_memory_equal(
        text, "{\"events\":[{\"id\":\"1-0\",\"media_ms\":180000},{\"id\":\"1-0\",\"media_ms\":200000}]}", len);
    free(text);
    text = replay_index(&replay, &len);
    assert_string_equal(text, "{\"duration_ms\":200000,\"files\":["
                              "{\"from_ms\":0,\"to_ms\":60000,\"url\":\"00000.json\",\"count\":2},"
                              "{\"from_ms\":60000,\"to_ms\":120000,\"url\":\"00001.json\",\"count\":0},"
                              "{\"from_ms\":120000,\"to_ms\":180000,\"url\":\"00002.json\",\"count\":0},"
                              "{\"from_ms\":180000,\"to_ms\":200000,\"url\":\"00003.json\",\"count\":2}]}");
    free(text);
    replay_clear(&replay);
}

static void test_a_flood_at_one_moment_is_cut_by_bytes(void **state)
{
    static char large[20000];
    struct replay replay;
    size_t len;

    memset(large, 'x', sizeof(large) - 1);
    memcpy(large, "{\"t\":\"", 6);
    memcpy(large + sizeof(large) - 3, "\"}", 2);
    replay_init(&replay, 120000);
    for (int i = 0; i < 300; i++)
        add_text(&replay, large, 120000); /* in a suspension: all at the join, here the very end */
    assert_true(replay.files > 3 && replay.text.len < REPLAY_FILE_MAX_BYTES + 100);
    free(replay_close_last(&replay, &len));
    int64_t count = 0, to_ms = 0;
    for (size_t i = 0; i < replay.files; i++) {
        assert_int_equal(replay.made[i].from_ms, to_ms);
        to_ms = replay.made[i].to_ms;
        count += replay.made[i].count;
    }
    assert_int_equal(to_ms, 120000);
    assert_int_equal(count, 300);
    replay_clear(&replay);
}

static void test_what_is_no_object_is_refused(void **state)
{
    struct replay replay;

    replay_init(&replay, 1000);
    assert_int_equal(replay_add(&replay, "[1]", 3, 0), -1);
    assert_int_equal(replay_add(&replay, "", 0, 0), -1);
    assert_int_equal(replay_add(&replay, "{}", 2, 7), 0);
    size_t len;
    char *text = replay_close_last(&replay, &len);
    assert_memory_equal(text, "{\"events\":[{\"media_ms\":7}]}", len);
    free(text);
    replay_clear(&replay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_per_minute_empty_ones_too),
        cmocka_unit_test(test_a_flood_at_one_moment_is_cut_by_bytes),
        cmocka_unit_test(test_what_is_no_object_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
