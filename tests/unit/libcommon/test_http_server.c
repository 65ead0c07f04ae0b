/* The HTTP server over real sockets: the loop runs on a thread, the test is a blocking client that can misbehave. */
#include "libcommon/http_page.h"
#include "libcommon/http_route.h"
#include "libcommon/http_server.h"
#include "libcommon/metrics.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fixture {
    struct event_base *loop;
    struct http_server *server;
    struct http_server *impatient; /* idle_timeout_s is 1 */
    struct metrics *metrics;
    struct event *keep_alive;
    pthread_t thread;
    struct http_request *held[8]; /* requests answered late, on the loop */
    int held_count;
    int late_answers;
    struct event *late;
};

static struct fixture fx;

static void handle_hello(struct http_request *request, void *context)
{
    http_reply_header(request, "X-Test", "yes");
    http_reply_json(request, 200,
                    json_pack("{s:s?,s:s?,s:s}", "name", http_request_param(request, "name"), "q",
                              http_request_query(request, "q"), "id", http_request_id(request)));
}

static void handle_echo(struct http_request *request, void *context)
{
    json_t *body = http_request_json(request);

    if (body)
        http_reply_json(request, 201, json_incref(body));
}

static void on_late(evutil_socket_t fd, short events, void *context)
{
    while (fx.held_count > 0) {
        http_reply_json(fx.held[--fx.held_count], 200, json_pack("{s:b}", "late", 1));
        fx.late_answers++;
    }
}

static void handle_late(struct http_request *request, void *context)
{
    const struct timeval soon = {0, 100000};

    fx.held[fx.held_count++] = request;
    evtimer_add(fx.late, &soon);
}

/* Bytes that are no UTF-8 cannot be written as JSON. */
static void handle_raw_header(struct http_request *request, void *context)
{
    http_reply_json(request, 200, json_pack("{s:s}", "value", http_request_header(request, "X-Raw")));
}

static void handle_page(struct http_request *request, void *context)
{
    struct http_page page;

    if (http_page_parse(request, &page))
        http_reply_json(
            request, 200,
            http_page_to_json("list",
                              json_pack("[I,I,s]", (json_int_t)page.limit, (json_int_t)page.before, page.before_key),
                              page.limit < 100, 1700000000000, "last-one"));
}

static void handle_never(struct http_request *request, void *context)
{
    /* Left for http_server_destroy. */
}

static void *run_loop(void *context)
{
    event_base_dispatch(fx.loop);
    return NULL;
}

static void on_tick(evutil_socket_t fd, short events, void *context)
{
}

static int setup(void **state)
{
    struct config_listen listen_at = {"127.0.0.1", 0};
    struct http_server_options options = {.max_body_bytes = 1000};
    const struct timeval second = {1, 0};

    evthread_use_pthreads();
    fx.loop = event_base_new();
    fx.metrics = options.metrics = metrics_create();
    fx.server = http_server_create(fx.loop, &listen_at, &options);
    assert_non_null(fx.server);
    http_server_route(fx.server, "GET", "/hello/{name}", handle_hello, NULL);
    http_server_route(fx.server, "POST", "/echo", handle_echo, NULL);
    http_server_route(fx.server, "GET", "/late", handle_late, NULL);
    http_server_route(fx.server, "GET", "/never", handle_never, NULL);
    http_server_route(fx.server, "GET", "/page", handle_page, NULL);
    http_server_route(fx.server, "GET", "/raw", handle_raw_header, NULL);
    fx.impatient = http_server_create(fx.loop, &listen_at, &(struct http_server_options){.idle_timeout_s = 1});
    assert_non_null(fx.impatient);
    http_server_route(fx.impatient, "GET", "/hello/{name}", handle_hello, NULL);
    fx.late = evtimer_new(fx.loop, on_late, NULL);
    fx.keep_alive = event_new(fx.loop, -1, EV_PERSIST, on_tick, NULL);
    event_add(fx.keep_alive, &second);
    return pthread_create(&fx.thread, NULL, run_loop, NULL);
}

static int dial(void);
static void send_text(int fd, const char *text);

/* A request that comes when the loop has ended, on a connection that was kept: nobody is there to handle it, and
 * whoever sent it may ask elsewhere. */
static void destroy_with_a_late_request(void)
{
    char answer[1000];
    int fd = dial();

    send_text(fd, "GET /hello/x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
    event_base_loopbreak(fx.loop);
    pthread_join(fx.thread, NULL);
    send_text(fd, "GET /hello/x HTTP/1.1\r\nHost: h\r\n\r\n");
    http_server_destroy(fx.server);
    assert_true(recv(fd, answer, sizeof(answer), 0) <= 0);
    close(fd);
}

static int teardown(void **state)
{
    destroy_with_a_late_request();
    http_server_destroy(fx.impatient);
    event_free(fx.late);
    event_free(fx.keep_alive);
    event_base_free(fx.loop);
    metrics_destroy(fx.metrics);
    libevent_global_shutdown();
    return 0;
}

static int dial_server(const struct http_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(http_server_port(server))};
    struct timeval timeout = {5, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    return fd;
}

static int dial(void)
{
    return dial_server(fx.server);
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads until `count` answers' bodies have ended (every body here ends with a closing brace). */
static const char *receive(int fd, int count)
{
    static char text[16384];
    size_t len = 0;

    for (;;) {
        ssize_t got = recv(fd, text + len, sizeof(text) - 1 - len, 0);
        int seen = 0;

        if (got <= 0)
            break;
        len += (size_t)got;
        text[len] = '\0';
        for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")); at++)
            seen++;
        if (seen == count && text[len - 1] == '}')
            break;
    }
    text[len] = '\0';
    return text;
}

static const char *ask(const char *request)
{
    int fd = dial();
    const char *answer;

    send_text(fd, request);
    answer = receive(fd, 1);
    close(fd);
    return answer;
}

static void test_params_and_query_are_decoded(void **state)
{
    const char *answer = ask("GET /hello/a%2Fb%20c?q=x+y%21&z HTTP/1.1\r\nHost: h\r\nX-Request-Id: req-7\r\n\r\n");

    assert_non_null(strstr(answer, "200 OK"));
    assert_non_null(strstr(answer, "X-Test: yes"));
    assert_non_null(strstr(answer, "{\"name\":\"a/b c\",\"q\":\"x y!\",\"id\":\"req-7\"}"));
    answer = ask("GET /hello/a%zz HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(answer, "400 Bad Request"));
    assert_non_null(strstr(answer, "bad_escape"));
}

static void test_bytes_that_are_no_utf8_end_in_an_error_and_not_in_an_abort(void **state)
{
    assert_non_null(strstr(ask("GET /hello/%ff HTTP/1.1\r\nHost: h\r\n\r\n"), "bad_escape"));
    assert_non_null(strstr(ask("GET /hello/%c0%80 HTTP/1.1\r\nHost: h\r\n\r\n"), "bad_escape"));
    assert_non_null(strstr(ask("GET /hello/x?q=%ff HTTP/1.1\r\nHost: h\r\n\r\n"), "\"q\":null"));
    assert_non_null(strstr(ask("GET /raw HTTP/1.1\r\nHost: h\r\nX-Raw: \xff\r\n\r\n"), "500 Internal Server Error"));
    assert_non_null(strstr(ask("GET /raw HTTP/1.1\r\nHost: h\r\nX-Raw: \xc3\xa9\r\n\r\n"), "\"value\":\"\xc3\xa9\""));
}

static const char *ask_page(const char *query)
{
    char request[200];

    snprintf(request, sizeof(request), "GET /page%s HTTP/1.1\r\nHost: h\r\n\r\n", query);
    return ask(request);
}

static void test_pages(void **state)
{
    static const char *const wrong[] = {"?limit=0",
                                        "?limit=101",
                                        "?limit=",
                                        "?limit=-1",
                                        "?limit=1x",
                                        "?cursor=",
                                        "?cursor=x",
                                        "?cursor=5",
                                        "?cursor=5_a",
                                        "?cursor=-5.a",
                                        "?next=x",
                                        "?cursor=5.a%2fb",
                                        "?cursor=5.aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg"};

    assert_non_null(
        strstr(ask_page(""), "{\"list\":[20,9223372036854775807,\"\"],\"next\":\"1700000000000.last-one\"}"));
    assert_non_null(strstr(ask_page("?limit=7&cursor=1700000000000.last-one"), "[7,1700000000000,\"last-one\"]"));
    assert_non_null(strstr(ask_page("?next=12."), "[20,12,\"\"]"));
    assert_non_null(strstr(ask_page("?limit=100"), "{\"list\":[100,9223372036854775807,\"\"]}"));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (!strstr(ask_page(wrong[i]), "400 Bad Request"))
            fail_msg("taken: %s", wrong[i]);
}

/* Reads to the end of the stream; for connections that the server closes. */
static const char *receive_all(int fd)
{
    static char text[16384];
    size_t len = 0;
    ssize_t got;

    while (len < sizeof(text) - 1 && (got = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    return text;
}

static void test_head_is_answered_without_a_body(void **state)
{
    int fd = dial();

    send_text(fd, "HEAD /hello/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    const char *text = receive_all(fd);
    assert_non_null(strstr(text, "200 OK"));
    assert_non_null(strstr(text, "Content-Length: "));
    assert_non_null(strstr(text, " GMT\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    close(fd);
}

static void test_a_hopeless_body_is_refused_before_it_is_read(void **state)
{
    /* Nothing of the body is ever sent: the answer must not wait for it. */
    assert_non_null(strstr(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n"), "413 "));
    const char *text = ask("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    assert_non_null(strstr(text, "413 "));
    assert_null(strstr(text, "100 Continue"));
    int fd = dial();
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n");
    char interim[64] = "";
    assert_true(recv(fd, interim, sizeof(interim) - 1, 0) > 0);
    assert_non_null(strstr(interim, "100 Continue"));
    send_text(fd, "{\"a\":3}");
    assert_non_null(strstr(receive(fd, 1), "{\"a\":3}"));
    close(fd);
}

static void test_an_endless_body_is_cut_off(void **state)
{
    static char chunk[65536 + 16];
    int fd = dial(), sent = 0;

    int head = sprintf(chunk, "10000\r\n");
    memset(chunk + head, 'x', 65536);
    memcpy(chunk + head + 65536, "\r\n", 2);
    send_text(fd, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    /* The sockets' buffers take some of it as well; 64 MiB is more than they can hold. */
    while (sent < 1024 && send(fd, chunk, (size_t)head + 65538, MSG_NOSIGNAL) > 0)
        sent++;
    assert_true(sent < 1024);
    close(fd);
}

static void test_a_client_that_drips_is_closed(void **state)
{
    int fd = dial_server(fx.impatient), bytes = 0;
    struct timeval pause = {0, 50000};
    char answer;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &pause, sizeof(pause));
    send_text(fd, "GET /hello/");
    /* A byte every 50 ms never lets the idle timeout of 1 s pass. */
    while (bytes < 200 && send(fd, "x", 1, MSG_NOSIGNAL) == 1 && recv(fd, &answer, 1, 0) != 0)
        bytes++;
    assert_true(bytes > 20 && bytes < 200);
    close(fd);
}

static void test_unknown_paths_and_methods(void **state)
{
    assert_non_null(strstr(ask("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"), "404 Not Found"));
    assert_non_null(strstr(ask("GET /hello/ HTTP/1.1\r\nHost: h\r\n\r\n"), "404 Not Found"));
    assert_non_null(strstr(ask("DELETE /echo HTTP/1.1\r\nHost: h\r\n\r\n"), "405 Method Not Allowed"));
    assert_non_null(strstr(ask("DELETE /echo HTTP/1.1\r\nHost: h\r\n\r\n"), "Allow: POST\r\n"));
    assert_non_null(strstr(ask("POST /late HTTP/1.1\r\nHost: h\r\n\r\n"), "Allow: GET, HEAD\r\n"));
}

static void test_bodies(void **state)
{
    assert_non_null(strstr(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n{\"a\":1}"), "{\"a\":1}"));
    assert_non_null(strstr(
        ask("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n4\r\n\":2}\r\n0\r\n\r\n"),
        "{\"a\":2}"));
    assert_non_null(strstr(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nnope"), "invalid_json"));
    assert_non_null(strstr(ask("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]"), "invalid_json"));

    char *request = calloc(1, 2000);
    int len = sprintf(request, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1500\r\n\r\n");
    memset(request + len, 'x', 1500);
    assert_non_null(strstr(ask(request), "413 "));
    free(request);
}

static void test_pipelined_requests_on_one_connection(void **state)
{
    int fd = dial();

    send_text(fd, "GET /hello/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /late HTTP/1.1\r\nHost: h\r\n\r\nGET /hello/3 "
                  "HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *answer = receive(fd, 3);
    const char *first = strstr(answer, "\"name\":\"1\""), *late = strstr(answer, "\"late\":true"),
               *third = strstr(answer, "\"name\":\"3\"");
    assert_true(first && late && third);
    assert_true(first < late && late < third);
    close(fd);
}

static void test_a_slow_client_disturbs_nobody(void **state)
{
    int slow = dial();

    send_text(slow, "GET /hel");
    for (int i = 0; i < 20; i++)
        assert_non_null(strstr(ask("GET /hello/x HTTP/1.1\r\nHost: h\r\n\r\n"), "200 OK"));
    send_text(slow, "lo/slow HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(receive(slow, 1), "\"slow\""));
    close(slow);
}

static void test_a_client_that_left_before_the_answer(void **state)
{
    int before = fx.late_answers;

    for (int i = 0; i < 4; i++) {
        int fd = dial();

        send_text(fd, "GET /late HTTP/1.1\r\nHost: h\r\n\r\n");
        close(fd);
    }
    /* Ours comes after theirs; the server still answers. */
    assert_non_null(strstr(ask("GET /late HTTP/1.1\r\nHost: h\r\n\r\n"), "late"));
    assert_true(fx.late_answers > before);
    assert_non_null(strstr(ask("GET /hello/x HTTP/1.1\r\nHost: h\r\n\r\n"), "200 OK"));
}

static void test_answers_are_counted(void **state)
{
    char *page = metrics_render(fx.metrics);

    assert_non_null(strstr(page, "hanabi_http_requests_total{route=\"GET /hello/{name}\",status=\"200\"}"));
    assert_non_null(strstr(page, "hanabi_http_requests_total{route=\"* *\",status=\"404\"} 2"));
    free(page);
}

/* The last one: teardown must answer it. */
static void test_an_open_request_at_the_end(void **state)
{
    int fd = dial();

    send_text(fd, "GET /never HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_non_null(strstr(ask("GET /hello/x HTTP/1.1\r\nHost: h\r\n\r\n"), "200 OK"));
}

static void test_route_patterns(void **state)
{
    struct http_route_match match;
    char out[16];

    assert_true(http_route_matches("/a/{x}/b", "/a/1/b", 6, &match));
    assert_int_equal(match.params_count, 1);
    assert_false(http_route_matches("/a/{x}/b", "/a/1/b/", 7, &match));
    assert_false(http_route_matches("/a/{x}/b", "/a//b", 5, &match));
    assert_false(http_route_matches("/a", "/ab", 3, &match));
    assert_true(http_route_matches("/", "/", 1, &match));
    assert_true(http_percent_decode("%41%42", 6, false, out));
    assert_string_equal(out, "AB");
    assert_false(http_percent_decode("%4", 2, false, out));
    assert_false(http_percent_decode("%00", 3, false, out));
    assert_true(http_percent_decode("a+b", 3, false, out));
    assert_string_equal(out, "a+b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_and_query_are_decoded),
        cmocka_unit_test(test_bytes_that_are_no_utf8_end_in_an_error_and_not_in_an_abort),
        cmocka_unit_test(test_unknown_paths_and_methods),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_head_is_answered_without_a_body),
        cmocka_unit_test(test_a_hopeless_body_is_refused_before_it_is_read),
        cmocka_unit_test(test_an_endless_body_is_cut_off),
        cmocka_unit_test(test_a_client_that_drips_is_closed),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_pipelined_requests_on_one_connection),
        cmocka_unit_test(test_a_slow_client_disturbs_nobody),
        cmocka_unit_test(test_a_client_that_left_before_the_answer),
        cmocka_unit_test(test_answers_are_counted),
        cmocka_unit_test(test_an_open_request_at_the_end),
        cmocka_unit_test(test_route_patterns),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
