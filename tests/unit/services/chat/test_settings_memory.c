#include "services/chat/settings_memory.h"
#include "services/chat/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct settings_memory *memory;

static int make(void **state)
{
    memory = settings_memory_create(1000);
    return 0;
}

static int drop(void **state)
{
    settings_memory_destroy(memory);
    return 0;
}

static struct setting_event event_of(int64_t version, enum setting_kind_id kind, const char *subject,
                                     const char *object, const char *value)
{
    struct setting_event event = {.version = version, .kind = setting_kind_of(kind)};

    strcpy(event.subject, subject);
    strcpy(event.object, object);
    event.value = value ? json_loads(value, 0, NULL) : NULL;
    return event;
}

static enum settings_applied apply(int64_t version, enum setting_kind_id kind, const char *subject, const char *object,
                                   const char *value)
{
    struct setting_event event = event_of(version, kind, subject, object, value);
    enum settings_applied applied = settings_memory_apply(memory, &event);

    setting_event_clear(&event);
    return applied;
}

static enum settings_applied read_row(int64_t version, enum setting_kind_id kind, const char *subject,
                                      const char *object, const char *value)
{
    struct setting_event event = event_of(version, kind, subject, object, value);
    enum settings_applied applied = settings_memory_read(memory, &event);

    setting_event_clear(&event);
    return applied;
}

static void test_every_kind(void **state)
{
    apply(1, SETTING_DECORATION, "alice", "", "{\"frame\":\"gold\"}");
    apply(2, SETTING_BLOCK, "idol", "eve", "{}");
    apply(3, SETTING_MUTE, "b1", "eve", "{\"until_ms\":5000}");
    apply(4, SETTING_MUTE, "b2", "eve", "{\"until_ms\":0}");
    apply(5, SETTING_BAN, "b1", "mallory", "{}");
    apply(6, SETTING_SLOW_MODE, "b1", "", "{\"seconds\":7}");
    assert_string_equal(settings_decoration(memory, "alice"), "{\"frame\":\"gold\"}");
    assert_null(settings_decoration(memory, "bob"));
    assert_true(settings_is_blocked(memory, "idol", "eve"));
    assert_false(settings_is_blocked(memory, "eve", "idol"));
    assert_true(settings_is_muted(memory, "b1", "eve", 4999));
    assert_false(settings_is_muted(memory, "b1", "eve", 5000));
    assert_true(settings_is_muted(memory, "b2", "eve", INT64_MAX));
    assert_true(settings_is_banned(memory, "b1", "mallory"));
    assert_false(settings_is_banned(memory, "b2", "mallory"));
    assert_int_equal(settings_slow_mode_ms(memory, "b1"), 7000);
    assert_int_equal(settings_slow_mode_ms(memory, "b2"), 0);
    assert_int_equal(settings_memory_version(memory), 6);
    apply(7, SETTING_BLOCK, "idol", "eve", NULL);
    assert_false(settings_is_blocked(memory, "idol", "eve"));
    assert_int_equal(settings_memory_count(memory), 5);
}

static void test_a_gap_is_seen_and_closed_by_the_late_message(void **state)
{
    apply(1, SETTING_BLOCK, "idol", "a", "{}");
    assert_int_equal(apply(3, SETTING_BLOCK, "idol", "c", "{}"), SETTINGS_TAKEN);
    assert_true(settings_is_blocked(memory, "idol", "c"));
    assert_int_equal(settings_memory_version(memory), 1);
    assert_int_equal(settings_memory_heard(memory), 3);
    assert_int_equal(apply(3, SETTING_BLOCK, "idol", "c", "{}"), SETTINGS_OLD);
    apply(2, SETTING_BLOCK, "idol", "b", "{}");
    assert_int_equal(settings_memory_version(memory), 3);
}

static void test_a_gap_is_closed_by_reading(void **state)
{
    apply(1, SETTING_BLOCK, "idol", "a", "{}");
    apply(5, SETTING_BLOCK, "idol", "e", "{}");
    /* 2 and 3 were overwritten by 4 in MySQL: their rows are gone. */
    assert_int_equal(read_row(4, SETTING_BLOCK, "idol", "d", "{}"), SETTINGS_TAKEN);
    assert_int_equal(settings_memory_version(memory), 5);
    assert_int_equal(read_row(5, SETTING_BLOCK, "idol", "e", "{}"), SETTINGS_OLD);
    assert_true(settings_is_blocked(memory, "idol", "d"));
}

static void test_an_older_message_never_wins(void **state)
{
    apply(3, SETTING_DECORATION, "alice", "", "{\"frame\":\"new\"}");
    apply(1, SETTING_DECORATION, "alice", "", "{\"frame\":\"old\"}");
    assert_string_equal(settings_decoration(memory, "alice"), "{\"frame\":\"new\"}");
    apply(5, SETTING_DECORATION, "alice", "", NULL);
    apply(4, SETTING_DECORATION, "alice", "", "{\"frame\":\"older than the deletion\"}");
    assert_null(settings_decoration(memory, "alice"));
    apply(2, SETTING_BLOCK, "x", "y", "{}");
    assert_int_equal(settings_memory_version(memory), 5);
    assert_null(settings_decoration(memory, "alice"));
}

static void test_reading_at_the_start_while_messages_come(void **state)
{
    apply(102, SETTING_BLOCK, "idol", "new", "{}");
    read_row(40, SETTING_BLOCK, "idol", "old", "{}");
    read_row(99, SETTING_WORDS, "idol", "", "{\"words\":[]}");
    read_row(101, SETTING_BLOCK, "idol", "newer", "{}");
    assert_int_equal(settings_memory_version(memory), 102);
    assert_true(settings_is_blocked(memory, "idol", "new"));
    /* Kinds that may lag, and notices, are not kept. */
    assert_int_equal(settings_memory_count(memory), 3);
    read_row(103, SETTING_NOTICE, "", "n", "{\"text\":\"x\"}");
    assert_int_equal(settings_memory_count(memory), 3);
}

static void test_unknown_kinds_count(void **state)
{
    struct setting_event event = {.version = 1};

    settings_memory_apply(memory, &event);
    assert_int_equal(settings_memory_version(memory), 1);
}

static void test_what_was_set_in_a_broadcast_that_is_over_is_forgotten(void **state)
{
    struct table *broadcasts, *over = table_create();
    char user[16];

    apply(1, SETTING_DECORATION, "over", "", "{\"frame\":\"gold\"}"); /* a user of that name */
    apply(2, SETTING_BLOCK, "over", "eve", "{}");
    apply(3, SETTING_BAN, "goes on", "eve", "{}");
    apply(4, SETTING_SLOW_MODE, "over", "", "{\"seconds\":7}");
    apply(5, SETTING_MUTE, "over", "a|b", "{\"until_ms\":0}");
    for (int i = 0; i < 100; i++) {
        snprintf(user, sizeof(user), "u%d", i);
        apply(6 + i, SETTING_BAN, "over", user, "{}");
    }
    broadcasts = settings_memory_broadcasts(memory);
    assert_int_equal(table_count(broadcasts), 2);
    assert_non_null(table_get(broadcasts, "over"));
    assert_non_null(table_get(broadcasts, "goes on"));
    assert_int_equal(settings_memory_forget(memory, over), 0);
    table_set(over, "over", over);
    assert_int_equal(settings_memory_forget(memory, over), 102);
    assert_int_equal(settings_memory_count(memory), 3);
    assert_false(settings_is_banned(memory, "over", "u1"));
    assert_false(settings_is_muted(memory, "over", "a|b", 0));
    assert_int_equal(settings_slow_mode_ms(memory, "over"), 0);
    assert_true(settings_is_banned(memory, "goes on", "eve"));
    assert_true(settings_is_blocked(memory, "over", "eve"));
    assert_non_null(settings_decoration(memory, "over"));
    /* It stays known up to where everything is known, and what comes is taken. */
    assert_int_equal(settings_memory_version(memory), 105);
    assert_int_equal(apply(106, SETTING_BAN, "over", "late", "{}"), SETTINGS_TAKEN);
    assert_true(settings_is_banned(memory, "over", "late"));
    table_destroy(broadcasts, NULL);
    table_destroy(over, NULL);
}

static void test_full(void **state)
{
    char name[16];

    for (int i = 1; i <= 1000; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        assert_int_equal(apply(i, SETTING_BLOCK, "idol", name, "{}"), SETTINGS_TAKEN);
    }
    assert_int_equal(apply(1001, SETTING_BLOCK, "idol", "one more", "{}"), SETTINGS_FULL);
    assert_int_equal(apply(1002, SETTING_BLOCK, "idol", "u1", NULL), SETTINGS_TAKEN);
    assert_int_equal(apply(1003, SETTING_BLOCK, "idol", "now", "{}"), SETTINGS_TAKEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_kind, make, drop),
        cmocka_unit_test_setup_teardown(test_a_gap_is_seen_and_closed_by_the_late_message, make, drop),
        cmocka_unit_test_setup_teardown(test_a_gap_is_closed_by_reading, make, drop),
        cmocka_unit_test_setup_teardown(test_an_older_message_never_wins, make, drop),
        cmocka_unit_test_setup_teardown(test_reading_at_the_start_while_messages_come, make, drop),
        cmocka_unit_test_setup_teardown(test_unknown_kinds_count, make, drop),
        cmocka_unit_test_setup_teardown(test_what_was_set_in_a_broadcast_that_is_over_is_forgotten, make, drop),
        cmocka_unit_test_setup_teardown(test_full, make, drop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
