#include "libcommon/metrics.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_page(struct metrics *metrics, const char *expected)
{
    char *page = metrics_render(metrics);

    assert_string_equal(page, expected);
    free(page);
}

static void test_the_page(void **state)
{
    static const double bounds[] = {0.1, 1};
    struct metrics *metrics = metrics_create();
    struct metric *ok = metrics_counter(metrics, "requests_total", "all\nof them", "code=\"200\"");
    struct metric *level = metrics_gauge(metrics, "level", "how high", NULL);

    metric_add(ok, 1);
    metric_set(level, 0.5);
    metric_add(level, -2);
    metric_add(metrics_counter(metrics, "requests_total", "all", "code=\"500\""), 12345678901.0);
    assert_ptr_equal(metrics_counter(metrics, "requests_total", "all", "code=\"200\""), ok);
    assert_ptr_equal(metrics_gauge(metrics, "level", "how high", ""), level);
    struct metric *seconds = metrics_histogram(metrics, "seconds", "how long", "route=\"/\"", bounds, 2);
    metric_observe(seconds, 0.1);
    metric_observe(seconds, 0.5);
    metric_observe(seconds, 7);
    assert_page(metrics, "# HELP requests_total all\\nof them\n# TYPE requests_total counter\n"
                         "requests_total{code=\"200\"} 1\nrequests_total{code=\"500\"} 12345678901\n"
                         "# HELP level how high\n# TYPE level gauge\nlevel -1.5\n"
                         "# HELP seconds how long\n# TYPE seconds histogram\n"
                         "seconds_bucket{route=\"/\",le=\"0.1\"} 1\nseconds_bucket{route=\"/\",le=\"1\"} 2\n"
                         "seconds_bucket{route=\"/\",le=\"+Inf\"} 3\nseconds_sum{route=\"/\"} 7.6\n"
                         "seconds_count{route=\"/\"} 3\n");
    metrics_destroy(metrics);
}

static void test_an_empty_page(void **state)
{
    struct metrics *metrics = metrics_create();

    assert_page(metrics, "");
    metrics_destroy(metrics);
    metrics_destroy(NULL);
}

static void test_series_beyond_the_limit_share_one(void **state)
{
    struct metrics *metrics = metrics_create();
    struct metric *last = NULL;
    char labels[32];

    for (int i = 0; i < 2500; i++) {
        snprintf(labels, sizeof(labels), "i=\"%d\"", i);
        last = metrics_counter(metrics, "many_total", "many", labels);
        metric_add(last, 1);
    }
    assert_int_equal(metric_value(last), 500);
    metric_set(metrics_gauge(metrics, "late", "made too late", NULL), 3);
    const double bound = 1;
    metric_observe(metrics_histogram(metrics, "late_seconds", "made too late", NULL, &bound, 1), 3);
    char *page = metrics_render(metrics);
    assert_non_null(strstr(page, "hanabi_metrics_overflow_total 500\n"));
    free(page);
    metrics_destroy(metrics);
}

static void test_label_values_are_escaped(void **state)
{
    char out[16], small[4];

    metrics_label_escape("a\"b\\c\nd", out, sizeof(out));
    assert_string_equal(out, "a\\\"b\\\\c\\nd");
    metrics_label_escape("ab\"cd", small, sizeof(small));
    assert_string_equal(small, "ab");
}

struct load {
    struct metrics *metrics;
    struct metric *counter, *histogram;
};

static void *update(void *context)
{
    struct load *load = context;

    for (int i = 0; i < 20000; i++) {
        metric_add(load->counter, 0.5);
        metric_observe(load->histogram, i % 2);
        if (i % 1000 == 0)
            free(metrics_render(load->metrics));
    }
    return NULL;
}

static void test_no_update_is_lost_among_threads(void **state)
{
    const double bound = 0;
    struct load load = {.metrics = metrics_create()};
    pthread_t threads[4];

    load.counter = metrics_counter(load.metrics, "c", "c", NULL);
    load.histogram = metrics_histogram(load.metrics, "h", "h", NULL, &bound, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, update, &load), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(metric_value(load.counter) == 40000);
    char *page = metrics_render(load.metrics);
    assert_non_null(
        strstr(page, "h_bucket{le=\"0\"} 40000\nh_bucket{le=\"+Inf\"} 80000\nh_sum 40000\nh_count 80000\n"));
    free(page);
    metrics_destroy(load.metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_page),
        cmocka_unit_test(test_an_empty_page),
        cmocka_unit_test(test_series_beyond_the_limit_share_one),
        cmocka_unit_test(test_label_values_are_escaped),
        cmocka_unit_test(test_no_update_is_lost_among_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
