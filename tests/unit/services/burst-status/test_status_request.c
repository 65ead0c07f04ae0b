#include "services/burst-status/status_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GET "GET /status/v1/broadcasts/b-1_Z HTTP/1.1\r\n"

static struct status_request parse(const char *text)
{
    struct status_request request;

    assert_int_equal(status_request_parse(text, strlen(text), &request), STATUS_REQUEST_COMPLETE);
    return request;
}

static void test_reads_the_id(void **state)
{
    struct status_request request = parse(GET "Host: h\r\nAccept: */*\r\n\r\n");

    assert_int_equal(request.error, 0);
    assert_int_equal(request.method, STATUS_GET);
    assert_int_equal(request.id_len, 5);
    assert_memory_equal(request.id, "b-1_Z", 5);
    assert_true(request.keep_alive);

    request = parse("HEAD /status/v1/broadcasts/x?y=z HTTP/1.1\r\nhost:h\r\nconnection: Close\r\n\r\n");
    assert_int_equal(request.method, STATUS_HEAD);
    assert_int_equal(request.id_len, 1);
    assert_false(request.keep_alive);
}

static void test_other_paths_have_no_id(void **state)
{
    static const char *const paths[] = {"/", "/status/v1/broadcasts/",    "/status/v1/broadcasts",
                                        "*", "/status/v1/broadcasts/a/b", "/status/v1/broadcastsx/a"};
    char text[128];

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", paths[i]);
        struct status_request request = parse(text);
        assert_int_equal(request.error, 0);
        assert_null(request.id);
    }
}

static void test_every_prefix_is_incomplete(void **state)
{
    static const char text[] = "\r\n" GET "Host: h\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
    struct status_request request;

    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_int_equal(status_request_parse(text, len, &request), STATUS_REQUEST_INCOMPLETE);
    assert_int_equal(status_request_parse(text, sizeof(text) - 1, &request), STATUS_REQUEST_COMPLETE);
    assert_int_equal(request.len, sizeof(text) - 1);
}

static void test_pipelined_requests_end_where_the_next_begins(void **state)
{
    static const char one[] = GET "Host: h\r\n\r\n";
    struct status_request request = parse(GET "Host: h\r\n\r\n" GET "Host: h\r\n\r\n");

    assert_int_equal(request.len, sizeof(one) - 1);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *text;
        unsigned error;
    } cases[] = {
        {"GET\r\n\r\n", 400},
        {" GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1 x\r\n\r\n", 400},
        {"GET / http/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505},
        {"G\001T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {GET "\r\n", 400},                                       /* no Host */
        {GET "Host: h\r\nHost: h\r\n\r\n", 400},                 /* two */
        {GET "Host : h\r\n\r\n", 400},                           /* space in front of the colon */
        {GET "Host: h\r\n x\r\n\r\n", 400},                      /* folded */
        {GET "Host: h\nX: y\r\n\r\n", 400},                      /* bare LF */
        {GET "Host: h\rX: y\r\n\r\n", 400},                      /* bare CR */
        {GET "Host: h\r\nnonsense\r\n\r\n", 400},                /* no colon */
        {GET "Host: h\r\nContent-Length: 1\r\n\r\nx", 400},      /* a body */
        {GET "Host: h\r\nContent-Length: 0x\r\n\r\n", 400},      /* not a number */
        {GET "Host: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400}, /* a body */
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", 405},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct status_request request = parse(cases[i].text);
        if (request.error != cases[i].error)
            fail_msg("%s: %u instead of %u", cases[i].text, request.error, cases[i].error);
        assert_false(request.keep_alive);
    }
}

static void test_another_method_without_a_body_keeps_the_connection(void **state)
{
    struct status_request request = parse("DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");

    assert_int_equal(request.error, 405);
    assert_true(request.keep_alive);
}

static void test_http_1_0_closes_and_needs_no_host(void **state)
{
    struct status_request request = parse("GET / HTTP/1.0\r\n\r\n");

    assert_int_equal(request.error, 0);
    assert_false(request.keep_alive);
}

static void test_limits(void **state)
{
    static char text[STATUS_REQUEST_HEAD_MAX * 2];
    struct status_request request;

    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_int_equal(status_request_parse(text, STATUS_REQUEST_LINE_MAX, &request), STATUS_REQUEST_INCOMPLETE);
    assert_int_equal(status_request_parse(text, STATUS_REQUEST_LINE_MAX + 1, &request), STATUS_REQUEST_COMPLETE);
    assert_int_equal(request.error, 414);

    int head = snprintf(text, sizeof(text), GET "Host: h\r\nX: ");
    text[head] = 'a';
    assert_int_equal(status_request_parse(text, STATUS_REQUEST_HEAD_MAX, &request), STATUS_REQUEST_INCOMPLETE);
    assert_int_equal(status_request_parse(text, STATUS_REQUEST_HEAD_MAX + 1, &request), STATUS_REQUEST_COMPLETE);
    assert_int_equal(request.error, 431);
    memcpy(text + STATUS_REQUEST_HEAD_MAX + 10, "\r\n\r\n", 4);
    assert_int_equal(status_request_parse(text, sizeof(text), &request), STATUS_REQUEST_COMPLETE);
    assert_int_equal(request.error, 431);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_the_id),
        cmocka_unit_test(test_other_paths_have_no_id),
        cmocka_unit_test(test_every_prefix_is_incomplete),
        cmocka_unit_test(test_pipelined_requests_end_where_the_next_begins),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_another_method_without_a_body_keeps_the_connection),
        cmocka_unit_test(test_http_1_0_closes_and_needs_no_host),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
