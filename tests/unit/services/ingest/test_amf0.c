#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libcommon/buffer.h"
#include "services/ingest/amf0.h"

#include <string.h>

static struct amf0_reader reader_of(const void *bytes, size_t len)
{
    struct amf0_reader reader;

    amf0_reader_init(&reader, bytes, len);
    return reader;
}

static void test_what_is_written_can_be_read(void **state)
{
    struct buffer out;
    struct amf0_value value;
    const char *name;
    size_t len;

    buffer_init(&out, 1000);
    amf0_write_string(&out, "connect");
    amf0_write_number(&out, 1.5);
    amf0_write_object_begin(&out);
    amf0_write_name(&out, "app");
    amf0_write_string(&out, "live");
    amf0_write_name(&out, "ok");
    amf0_write_boolean(&out, true);
    amf0_write_object_end(&out);
    amf0_write_null(&out);

    struct amf0_reader reader = reader_of(out.data, out.len);
    assert_int_equal(amf0_read(&reader, &value), 0);
    assert_true(value.type == AMF0_STRING && amf0_string_is(value.string, value.string_len, "connect"));
    assert_int_equal(amf0_read(&reader, &value), 0);
    assert_true(value.type == AMF0_NUMBER && value.number == 1.5);
    assert_int_equal(amf0_read(&reader, &value), 0);
    assert_int_equal(value.type, AMF0_OBJECT);
    assert_int_equal(amf0_read_member(&reader, &name, &len), 1);
    assert_true(amf0_string_is(name, len, "app"));
    assert_int_equal(amf0_skip(&reader), 0);
    assert_int_equal(amf0_read_member(&reader, &name, &len), 1);
    assert_int_equal(amf0_read(&reader, &value), 0);
    assert_true(value.type == AMF0_BOOLEAN && value.boolean);
    assert_int_equal(amf0_read_member(&reader, &name, &len), 0);
    assert_int_equal(amf0_read(&reader, &value), 0);
    assert_int_equal(value.type, AMF0_NULL);
    assert_int_equal(amf0_read(&reader, &value), -1);
    buffer_clear(&out);
}

static void test_every_cut_is_an_error(void **state)
{
    static const uint8_t whole[] = {0x08, 0, 0, 0, 9,   0,    1, 'a', 0x0a, 0, 0,   0, 2, 0x05,
                                    0x01, 1, 0, 1, 'b', 0x0b, 0, 0,   0,    0, 0,   0, 0, 0,
                                    0,    0, 0, 1, 'c', 0x0c, 0, 0,   0,    1, 'x', 0, 0, 0x09};
    struct amf0_reader reader = reader_of(whole, sizeof(whole));

    assert_int_equal(amf0_skip(&reader), 0);
    assert_ptr_equal(reader.at, whole + sizeof(whole));
    for (size_t len = 0; len < sizeof(whole); len++) {
        reader = reader_of(whole, len);
        /* An object whose end marker is missing altogether is accepted between members. */
        bool is_between = len == 5 || len == 16 || len == 30 || len == 39;
        assert_int_equal(amf0_skip(&reader), is_between ? 0 : -1);
    }
}

static void test_deep_nesting_is_refused(void **state)
{
    uint8_t bytes[200];

    for (size_t i = 0; i < sizeof(bytes); i += 4)
        memcpy(bytes + i, "\x03\x00\x01x", 4);
    struct amf0_reader reader = reader_of(bytes, sizeof(bytes));
    assert_int_equal(amf0_skip(&reader), -1);
}

static void test_array_count_that_lies(void **state)
{
    static const uint8_t bytes[] = {0x0a, 0xff, 0xff, 0xff, 0xff, 0x05};
    struct amf0_reader reader = reader_of(bytes, sizeof(bytes));

    assert_int_equal(amf0_skip(&reader), -1);
}

static void test_copy_cuts_to_fit(void **state)
{
    const struct amf0_value value = {.type = AMF0_STRING, .string = "abcdef", .string_len = 6};
    const struct amf0_value number = {.type = AMF0_NUMBER};
    char out[4];

    assert_int_equal(amf0_copy_string(&value, out, sizeof(out)), 0);
    assert_string_equal(out, "abc");
    assert_int_equal(amf0_copy_string(&number, out, sizeof(out)), -1);
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_can_be_read),
        cmocka_unit_test(test_every_cut_is_an_error),
        cmocka_unit_test(test_deep_nesting_is_refused),
        cmocka_unit_test(test_array_count_that_lies),
        cmocka_unit_test(test_copy_cuts_to_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
