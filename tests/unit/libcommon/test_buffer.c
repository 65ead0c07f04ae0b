#include "libcommon/buffer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void test_the_maximum_holds(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 1000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(buffer_append(&buffer,
                                       "0123456789012345678901234567890123456789012345678901234567890123456789"
                                       "012345678901234567890123456789",
                                       100),
                         0);
    assert_int_equal(buffer.len, 1000);
    assert_int_equal(buffer_append(&buffer, "x", 1), -1);
    assert_null(buffer_reserve(&buffer, SIZE_MAX));
    assert_int_equal(buffer_append(&buffer, "", 0), 0);
    assert_int_equal(buffer.len, 1000);
    assert_true(buffer.capacity <= 1000);
    assert_memory_equal(buffer.data + 995, "56789", 5);
    buffer_clear(&buffer);
    assert_int_equal(buffer_append(&buffer, "again", 5), 0);
    buffer_clear(&buffer);
}

static void test_reserve_and_commit(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 100000);
    uint8_t *room = buffer_reserve(&buffer, 5000);
    assert_non_null(room);
    memset(room, 'a', 5000);
    buffer_commit(&buffer, 3000);
    assert_int_equal(buffer.len, 3000);
    assert_int_equal(buffer_append(&buffer, "end", 3), 0);
    assert_memory_equal(buffer.data + 2998, "aaend", 5);
    buffer_reset(&buffer);
    assert_int_equal(buffer.len, 0);
    assert_non_null(buffer.data);
    buffer_clear(&buffer);
    assert_null(buffer.data);
}

static void test_consume_and_take(void **state)
{
    struct buffer buffer;
    size_t len;

    buffer_init(&buffer, 64);
    buffer_consume(&buffer, 0);
    assert_int_equal(buffer_append(&buffer, "hello world", 11), 0);
    buffer_consume(&buffer, 6);
    assert_int_equal(buffer.len, 5);
    uint8_t *taken = buffer_take(&buffer, &len);
    assert_int_equal(len, 5);
    assert_memory_equal(taken, "world", 5);
    free(taken);
    assert_null(buffer.data);
    assert_int_equal(buffer.max, 64);
    assert_null(buffer_take(&buffer, &len));
    assert_int_equal(len, 0);
}

static void test_a_maximum_of_zero(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, 0);
    assert_int_equal(buffer_append(&buffer, "x", 1), -1);
    assert_non_null(buffer_reserve(&buffer, 0));
    buffer_clear(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_maximum_holds),
        cmocka_unit_test(test_reserve_and_commit),
        cmocka_unit_test(test_consume_and_take),
        cmocka_unit_test(test_a_maximum_of_zero),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
