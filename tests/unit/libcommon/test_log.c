/* Every line must be one JSON object, whatever the fields hold. Standard error is a file while a line is written. */
#include "libcommon/log.h"

#include "libcommon/request_scope.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int saved_stderr, capture_fd;

static int setup(void **state)
{
    char path[] = "/tmp/test_log_XXXXXX";

    capture_fd = mkstemp(path);
    unlink(path);
    return capture_fd < 0;
}

static int teardown(void **state)
{
    return close(capture_fd);
}

static void capture_begin(void)
{
    assert_int_equal(ftruncate(capture_fd, 0), 0);
    lseek(capture_fd, 0, SEEK_SET);
    saved_stderr = dup(STDERR_FILENO);
    dup2(capture_fd, STDERR_FILENO);
}

/* What was written; valid until the next call. */
static const char *capture_end(void)
{
    static char text[1 << 20];

    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    ssize_t len = pread(capture_fd, text, sizeof(text) - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

/* The one line as an object, to be freed by the caller. */
static json_t *parse_line(const char *text)
{
    json_error_t error;

    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!line)
        fail_msg("%s: %s", error.text, text);
    return line;
}

static void test_fields_of_every_type(void **state)
{
    const char *event, *service, *instance, *level, *text, *ts;
    json_int_t integer;
    double number;
    int boolean;
    json_t *null;

    log_init("tester", "t-1", LOG_LEVEL_INFO);
    capture_begin();
    log_info("thing.happened", log_str("text", "a \"b\" \\ \n \x01 \x7f é 花火"), log_int("integer", INT64_MIN),
             log_num("number", 0.25), log_num("nan", NAN), log_bool("boolean", true), log_str("none", NULL));
    json_t *line = parse_line(capture_end());
    assert_int_equal(json_unpack(line, "{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:f,s:b,s:o}", "ts", &ts, "level", &level,
                                 "service", &service, "instance", &instance, "event", &event, "text", &text, "integer",
                                 &integer, "number", &number, "boolean", &boolean, "none", &null),
                     0);
    assert_string_equal(event, "thing.happened");
    assert_string_equal(service, "tester");
    assert_string_equal(instance, "t-1");
    assert_string_equal(level, "info");
    assert_string_equal(text, "a \"b\" \\ \n \x01 \x7f é 花火");
    assert_true(integer == INT64_MIN && number == 0.25 && boolean);
    assert_true(json_is_null(null) && json_is_null(json_object_get(line, "nan")));
    assert_int_equal(strlen(ts), strlen("2026-11-21T09:30:00.123Z"));
    assert_int_equal(ts[23], 'Z');
    json_decref(line);
}

static void test_broken_utf8_is_replaced(void **state)
{
    static const char *const broken[] = {"\xff",
                                         "\xc3",
                                         "\xc0\x80",
                                         "\xed\xa0\x80",
                                         "\xe2\x82",
                                         "\xf5\x80\x80\x80",
                                         "\xf0\x80\x80\x80",
                                         "\x80",
                                         "\xf4\x90\x80\x80"};

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        char value[16] = "a";

        strcat(strcat(value, broken[i]), "z");
        capture_begin();
        log_info("bytes.came", log_str("value", value));
        json_t *line = parse_line(capture_end());
        const char *logged = json_string_value(json_object_get(line, "value"));
        assert_non_null(strstr(logged, "\xef\xbf\xbd"));
        assert_int_equal(logged[0], 'a');
        assert_int_equal(logged[strlen(logged) - 1], 'z');
        json_decref(line);
    }
}

/* At every length around the limit the line stays an object and says that it was cut. */
static void test_long_lines_are_cut_and_stay_json(void **state)
{
    int cut = 0, whole = 0;

    for (size_t len = 7900; len < 8300; len++) {
        char *value = calloc(1, len + 1);

        memset(value, len % 3 ? 'x' : '"', len);
        capture_begin();
        log_info("much.came", log_str("value", value), log_int("after", 123456789), log_str("last", "z"));
        const char *text = capture_end();
        assert_true(strlen(text) <= 8192);
        json_t *line = parse_line(text);
        if (json_object_get(line, "truncated"))
            cut++;
        else
            whole++;
        json_decref(line);
        free(value);
    }
    assert_true(cut > 100 && whole > 10);
}

static void test_levels_below_the_lowest_are_dropped(void **state)
{
    log_init("tester", "t-1", LOG_LEVEL_WARN);
    capture_begin();
    log_info("dropped");
    assert_string_equal(capture_end(), "");
    capture_begin();
    log_error("kept");
    assert_non_null(strstr(capture_end(), "\"kept\""));
    log_init("tester", "t-1", LOG_LEVEL_INFO);
}

static void test_the_limiter_says_what_it_held_back(void **state)
{
    struct log_limiter limiter = LOG_LIMITER(3600000);

    capture_begin();
    for (int i = 0; i < 10; i++)
        log_limited(&limiter, LOG_LEVEL_WARN, "peer.refused");
    const char *text = capture_end();
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_null(strstr(text, "suppressed"));
    limiter.next_ms = 0;
    capture_begin();
    log_limited(&limiter, LOG_LEVEL_WARN, "peer.refused");
    assert_non_null(strstr(capture_end(), "\"suppressed\":9"));
}

static struct log_limiter shared_limiter;

static void *log_many(void *context)
{
    for (int i = 0; i < 500; i++) {
        log_info("line.written", log_str("filler", "0123456789012345678901234567890123456789"));
        log_limited(&shared_limiter, LOG_LEVEL_WARN, "line.limited");
    }
    return NULL;
}

static void test_lines_of_several_threads_do_not_mix(void **state)
{
    pthread_t threads[4];
    int lines = 0, limited = 0;

    shared_limiter = LOG_LIMITER(3600000);
    capture_begin();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *rest = strdup(capture_end()), *whole = rest, *text;
    while ((text = strsep(&rest, "\n")) && *text) {
        json_t *line = json_loads(text, 0, NULL);
        assert_non_null(line);
        limited += strcmp(json_string_value(json_object_get(line, "event")), "line.limited") == 0;
        lines++;
        json_decref(line);
    }
    free(whole);
    assert_int_equal(limited, 1);
    assert_int_equal(lines, 2001);
    assert_int_equal(shared_limiter.suppressed, 1999);
}

static void test_the_request_is_named(void **state)
{
    const char *outer, *inner;
    char *copy;
    json_t *line;

    capture_begin();
    outer = request_scope_enter("outer-1");
    inner = request_scope_enter("inner.2");
    log_info("thing.happened", log_int("n", 1));
    copy = request_scope_copy();
    request_scope_leave(inner);
    line = parse_line(capture_end());
    assert_string_equal(json_string_value(json_object_get(line, "request_id")), "inner.2");
    assert_string_equal(copy, "inner.2");
    free(copy);
    json_decref(line);
    assert_string_equal(request_scope_id(), "outer-1");
    request_scope_leave(outer);

    assert_null(request_scope_copy());
    capture_begin();
    log_info("thing.happened");
    line = parse_line(capture_end());
    assert_null(json_object_get(line, "request_id"));
    json_decref(line);

    assert_true(request_id_is_valid("a.B_9-"));
    assert_false(request_id_is_valid(""));
    assert_false(request_id_is_valid("a */ b"));
    assert_false(request_id_is_valid("12345678901234567890123456789012345678901234567890123456789012345"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_every_type),
        cmocka_unit_test(test_broken_utf8_is_replaced),
        cmocka_unit_test(test_long_lines_are_cut_and_stay_json),
        cmocka_unit_test(test_levels_below_the_lowest_are_dropped),
        cmocka_unit_test(test_the_limiter_says_what_it_held_back),
        cmocka_unit_test(test_lines_of_several_threads_do_not_mix),
        cmocka_unit_test(test_the_request_is_named),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
