/* Files of exported events: sorted by kind and hour, the same bytes each time, readable by any gunzip. */
#include "services/archive/export_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define NOON_MS 1764331200000 /* 2025-11-28T12:00:00Z */

static void add(struct export_files *files, const char *kind, int64_t at_ms, const char *text)
{
    export_files_add(files, kind, at_ms, "{\"broadcast\":\"b\",", text, strlen(text));
}

static void assert_path(const struct export_file *file, const char *want)
{
    char path[EXPORT_PATH_SIZE];

    export_file_path(file, "comments", 12, path);
    assert_string_equal(path, want);
}

static void test_a_file_per_kind_and_hour(void **state)
{
    struct export_files files = {0};

    add(&files, "comment", NOON_MS - 1, "\"n\":1}");
    add(&files, "comment", NOON_MS, "\"n\":2}");
    add(&files, "gift", NOON_MS, "\"n\":3}");
    add(&files, "comment", NOON_MS - 3600000, "\"n\":4}");
    add(&files, "../../etc", NOON_MS, "\"n\":5}");
    assert_int_equal(files.count, 4);
    assert_int_equal(files.lines, 5);
    assert_path(&files.files[0], "export/comment/dt=2025-11-28/hour=11/comments-0000000012.ndjson.gz");
    assert_path(&files.files[1], "export/comment/dt=2025-11-28/hour=12/comments-0000000012.ndjson.gz");
    assert_path(&files.files[2], "export/gift/dt=2025-11-28/hour=12/comments-0000000012.ndjson.gz");
    assert_path(&files.files[3], "export/other/dt=2025-11-28/hour=12/comments-0000000012.ndjson.gz");
    assert_int_equal(files.files[0].text.len, 2 * strlen("{\"broadcast\":\"b\",\"n\":1}\n"));
    export_files_clear(&files);
    assert_int_equal(files.count, 0);
}

static void test_a_line_stays_a_line(void **state)
{
    struct export_files files = {0};

    add(&files, "comment", NOON_MS, "\n\"text\":\"a\\nb\"\r\n}");
    assert_int_equal(files.files[0].text.len, strlen("{\"broadcast\":\"b\", \"text\":\"a\\nb\"  }\n"));
    assert_memory_equal(files.files[0].text.data, "{\"broadcast\":\"b\", \"text\":\"a\\nb\"  }\n",
                        files.files[0].text.len);
    export_files_clear(&files);
}

static void fill(struct export_files *files)
{
    char text[64];

    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "\"n\":%d,\"random\":%d}", i, i * 7919 % 10007);
        add(files, "comment", NOON_MS + i, text);
    }
}

static void test_gzip_that_is_the_same_each_time(void **state)
{
    struct export_files one = {0}, two = {0};
    static uint8_t plain[1 << 20];
    z_stream stream = {.next_out = plain, .avail_out = sizeof(plain)};
    struct buffer *text;

    fill(&one);
    fill(&two);
    char *want = strndup((char *)one.files[0].text.data, one.files[0].text.len);
    assert_int_equal(export_files_compress(&one), 0);
    assert_int_equal(export_files_compress(&two), 0);
    text = &one.files[0].text;
    assert_int_equal(text->len, two.files[0].text.len);
    assert_memory_equal(text->data, two.files[0].text.data, text->len);
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_in = text->data;
    stream.avail_in = (uInt)text->len;
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, strlen(want));
    assert_memory_equal(plain, want, strlen(want));
    inflateEnd(&stream);
    free(want);
    export_files_clear(&one);
    export_files_clear(&two);
}

static void test_full_by_lines_and_by_files(void **state)
{
    struct export_files files = {0};

    assert_false(export_files_are_full(&files, 2));
    add(&files, "comment", NOON_MS, "}");
    assert_false(export_files_are_full(&files, 2));
    add(&files, "comment", NOON_MS, "}");
    assert_true(export_files_are_full(&files, 2));
    for (int i = 0; i < EXPORT_MAX_FILES; i++) {
        assert_false(export_files_are_full(&files, 1000000));
        add(&files, "comment", NOON_MS + (i + 1) * 3600000LL, "}");
        if (files.count == EXPORT_MAX_FILES)
            break;
    }
    assert_true(export_files_are_full(&files, 1000000));
    export_files_clear(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_per_kind_and_hour),
        cmocka_unit_test(test_a_line_stays_a_line),
        cmocka_unit_test(test_gzip_that_is_the_same_each_time),
        cmocka_unit_test(test_full_by_lines_and_by_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
