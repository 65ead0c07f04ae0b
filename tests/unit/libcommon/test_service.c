/* The runner, each time as a process of its own: this program starts itself with TEST_SERVICE set, asks the admin port
 * that the log names, sends signals and reads the exit status. */
#include "libcommon/http_server.h"
#include "libcommon/log.h"
#include "libcommon/service.h"

#include <setjmp.h>
#include <stdarg.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The service under test. */

static struct {
    int64_t number;
} demo_config;

static bool demo_is_ready(void *context, char *why, size_t why_size)
{
    snprintf(why, why_size, "connection refused");
    return getenv("TEST_READY") != NULL;
}

static int demo_start(struct service *service, void *state)
{
    service_add_dependency(service, "redis", demo_is_ready, NULL);
    if (demo_config.number == 13) {
        log_error("demo.start_refused");
        return -1;
    }
    if (demo_config.number == 14)
        service_drained(service);
    return 0;
}

static void demo_drain(struct service *service, void *state)
{
    if (demo_config.number != 15)
        service_drained(service);
}

static void demo_stop(struct service *service, void *state)
{
    log_info("demo.stop_called", log_bool("draining", service_is_draining(service)));
}

static int run_demo(int argc, char **argv)
{
    static const struct config_row rows[] = {
        {"HANABI_DEMO_NUMBER", CONFIG_INT, "1", "any number", .min = 0, .max = 99, .offset = 0},
        CONFIG_END,
    };
    const struct service_definition definition = {.name = "demo",
                                                  .summary = "shows the runner",
                                                  .config_rows = rows,
                                                  .config = &demo_config,
                                                  .start = demo_start,
                                                  .drain = demo_drain,
                                                  .stop = demo_stop};

    return service_main(&definition, argc, argv);
}

/* The process that runs it. */

struct demo {
    pid_t pid;
    int output; /* its standard output and error */
    char text[65536];
    size_t len;
};

static struct demo demo;

/* `variable` and `argument` may be NULL. */
static void demo_begin(const char *variable, const char *argument)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    demo = (struct demo){.pid = fork(), .output = ends[0]};
    assert_true(demo.pid >= 0);
    if (demo.pid == 0) {
        struct rlimit limit = {256, 4096};

        setrlimit(RLIMIT_NOFILE, &limit);
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        setenv("TEST_SERVICE", "1", 1);
        if (variable)
            putenv(strdup(variable));
        execl("/proc/self/exe", "demo", argument, NULL);
        _exit(99);
    }
    close(ends[1]);
}

static bool demo_read(int timeout_ms)
{
    struct pollfd wait_for = {.fd = demo.output, .events = POLLIN};

    if (poll(&wait_for, 1, timeout_ms) != 1)
        return false;
    ssize_t got = read(demo.output, demo.text + demo.len, sizeof(demo.text) - 1 - demo.len);
    if (got <= 0)
        return false;
    demo.len += (size_t)got;
    demo.text[demo.len] = '\0';
    return true;
}

static const char *demo_wait_for(const char *text)
{
    const char *found;

    while (!(found = strstr(demo.text, text)))
        if (!demo_read(10000))
            fail_msg("no %s in: %s", text, demo.text);
    return found;
}

/* The exit status, after having read everything. */
static int demo_end(void)
{
    int status;

    while (demo_read(10000))
        ;
    close(demo.output);
    assert_int_equal(waitpid(demo.pid, &status, 0), demo.pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static const char *get(const char *path)
{
    static char text[65536];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[128];
    size_t len = 0;
    ssize_t got;
    int port = 0, fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(sscanf(demo_wait_for("\"admin_port\":"), "\"admin_port\":%d", &port), 1);
    address.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    while ((got = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
        len += (size_t)got;
    text[len] = '\0';
    close(fd);
    return text;
}

static void test_the_admin_port_and_a_drain(void **state)
{
    demo_begin("HANABI_INSTANCE=demo-7", NULL);
    demo_wait_for("service.started");
    assert_non_null(strstr(demo.text, "\"instance\":\"demo-7\""));
    assert_non_null(strstr(get("/healthz"), "{\"ok\":true}"));
    const char *answer = get("/readyz");
    assert_non_null(strstr(answer, "503 "));
    assert_non_null(strstr(answer, "{\"ready\":false,\"missing\":{\"redis\":\"connection refused\"}}"));
    answer = get("/metrics");
    assert_non_null(strstr(answer, "hanabi_build_info{service=\"demo\""));
    assert_non_null(strstr(answer, "\nprocess_resident_memory_bytes "));
    assert_non_null(strstr(answer, "\nprocess_max_fds 4096\n"));
    assert_non_null(strstr(answer, "# TYPE process_cpu_seconds_total counter\n"));
    assert_non_null(strstr(answer, "\nhanabi_loop_lag_seconds "));
    kill(demo.pid, SIGTERM);
    assert_int_equal(demo_end(), 0);
    assert_non_null(strstr(demo.text, "service.draining"));
    assert_non_null(strstr(demo.text, "service.stopped"));
    assert_non_null(strstr(demo.text, "\"demo.stop_called\",\"draining\":true"));
}

static void test_ready(void **state)
{
    demo_begin("TEST_READY=1", NULL);
    assert_non_null(strstr(get("/readyz"), "{\"ready\":true}"));
    kill(demo.pid, SIGINT);
    assert_int_equal(demo_end(), 0);
}

static void test_a_drain_that_does_not_end(void **state)
{
    /* While draining, /readyz says so; the second signal stops at once. */
    demo_begin("HANABI_DEMO_NUMBER=15", NULL);
    demo_wait_for("service.started");
    kill(demo.pid, SIGTERM);
    demo_wait_for("service.draining");
    assert_non_null(strstr(get("/readyz"), "\"service\":\"draining\""));
    kill(demo.pid, SIGTERM);
    assert_int_equal(demo_end(), 0);

    setenv("HANABI_DRAIN_MS", "50", 1);
    demo_begin("HANABI_DEMO_NUMBER=15", NULL);
    unsetenv("HANABI_DRAIN_MS");
    demo_wait_for("service.started");
    kill(demo.pid, SIGTERM);
    assert_int_equal(demo_end(), 0);
    assert_non_null(strstr(demo.text, "service.drain_cut"));
}

static void test_a_start_that_fails_and_one_that_is_done_at_once(void **state)
{
    demo_begin("HANABI_DEMO_NUMBER=13", NULL);
    assert_int_equal(demo_end(), 1);
    assert_non_null(strstr(demo.text, "demo.stop_called"));
    assert_null(strstr(demo.text, "service.started"));
    demo_begin("HANABI_DEMO_NUMBER=14", NULL);
    assert_int_equal(demo_end(), 0);
}

static void test_a_taken_admin_port(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    char variable[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&address, &len);
    snprintf(variable, sizeof(variable), "HANABI_ADMIN_LISTEN=127.0.0.1:%d", ntohs(address.sin_port));
    demo_begin(variable, NULL);
    assert_int_equal(demo_end(), 1);
    assert_non_null(strstr(demo.text, "admin.listen_failed"));
    assert_null(strstr(demo.text, "demo.stop_called")); /* what was never started is not stopped */
    close(fd);
}

static void test_broken_configurations(void **state)
{
    demo_begin("HANABI_DEMO_NUMBER=many", NULL);
    assert_int_equal(demo_end(), 2);
    assert_non_null(strstr(demo.text, "HANABI_DEMO_NUMBER is \"many\""));
    demo_begin("HANABI_DEMO_NUMBR=1", NULL);
    assert_int_equal(demo_end(), 2);
    assert_non_null(strstr(demo.text, "HANABI_DEMO_NUMBR is no variable of demo"));
    demo_begin("HANABI_OTHER_THING=1", "--verbose");
    assert_int_equal(demo_end(), 2);
    assert_non_null(strstr(demo.text, "--verbose"));
}

static void test_help(void **state)
{
    demo_begin(NULL, "--help");
    assert_int_equal(demo_end(), 0);
    assert_non_null(strstr(demo.text, "shows the runner"));
    assert_non_null(strstr(demo.text, "HANABI_DEMO_NUMBER"));
    assert_non_null(strstr(demo.text, "HANABI_DRAIN_MS"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_admin_port_and_a_drain),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_a_drain_that_does_not_end),
        cmocka_unit_test(test_a_start_that_fails_and_one_that_is_done_at_once),
        cmocka_unit_test(test_a_taken_admin_port),
        cmocka_unit_test(test_broken_configurations),
        cmocka_unit_test(test_help),
    };

    if (getenv("TEST_SERVICE"))
        return run_demo(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
