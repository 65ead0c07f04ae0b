/* Series live in an array of pointers in the order of their making: they are made at start and only rendering walks
 * them. A value is a double kept as its bit pattern in a 64-bit word, so that an update is one compare-and-swap and
 * needs no lock. */
#include "libcommon/metrics.h"

#include "libcommon/alloc.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 2000, MAX_BOUNDS = 20 };

enum metric_type { TYPE_COUNTER, TYPE_GAUGE, TYPE_HISTOGRAM };

static const char *const type_names[] = {"counter", "gauge", "histogram"};

struct metric {
    enum metric_type type;
    char *name;
    char *labels; /* NULL: none */
    char *help;
    uint64_t value_bits; /* a histogram's sum */
    size_t bound_count;
    double bounds[MAX_BOUNDS];
    uint64_t buckets[MAX_BOUNDS + 1]; /* not cumulative; the last one is +Inf */
};

struct metrics {
    pthread_mutex_t lock;
    struct metric *series[MAX_SERIES + 3];
    size_t count;
    struct metric *overflow[3]; /* one per type, made when first needed */
};

struct metrics *metrics_create(void)
{
    struct metrics *metrics = alloc_zero(1, sizeof *metrics);
    pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

void metrics_destroy(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < metrics->count; i++) {
        free(metrics->series[i]->name);
        free(metrics->series[i]->labels);
        free(metrics->series[i]->help);
        free(metrics->series[i]);
    }
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

static bool same_text(const char *left, const char *right)
{
    return left == right || (left && right && !strcmp(left, right));
}

static struct metric *append_series(struct metrics *metrics, enum metric_type type, const char *name, const char *help,
                                    const char *labels)
{
    struct metric *metric = alloc_zero(1, sizeof *metric);
    metric->type = type;
    metric->name = alloc_string(name);
    metric->labels = alloc_string(labels);
    metric->help = alloc_string(help);
    metrics->series[metrics->count++] = metric;
    return metric;
}

/* Beyond the limit all new series of a type share one: what is counted then shows that something was missed. */
static struct metric *overflow_series(struct metrics *metrics, enum metric_type type)
{
    static const char *const names[] = {"hanabi_metrics_overflow_total", "hanabi_metrics_overflow",
                                        "hanabi_metrics_overflow_histogram"};
    if (!metrics->overflow[type])
        metrics->overflow[type] =
            append_series(metrics, type, names[type], "updates of series beyond the limit of this process", NULL);
    return metrics->overflow[type];
}

static struct metric *find_or_make(struct metrics *metrics, enum metric_type type, const char *name, const char *help,
                                   const char *labels, const double *bounds, size_t bound_count)
{
    if (labels && !*labels)
        labels = NULL;
    struct metric *metric = NULL;
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->count && !metric; i++)
        if (!strcmp(metrics->series[i]->name, name) && same_text(metrics->series[i]->labels, labels))
            metric = metrics->series[i];
    if (!metric && metrics->count >= MAX_SERIES) {
        metric = overflow_series(metrics, type);
    } else if (!metric) {
        metric = append_series(metrics, type, name, help, labels);
        metric->bound_count = bound_count;
        for (size_t i = 0; i < bound_count; i++)
            metric->bounds[i] = bounds[i];
    }
    pthread_mutex_unlock(&metrics->lock);
    assert(metric->type == type);
    return metric;
}

struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help, const char *labels)
{
    return find_or_make(metrics, TYPE_COUNTER, name, help, labels, NULL, 0);
}

struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help, const char *labels)
{
    return find_or_make(metrics, TYPE_GAUGE, name, help, labels, NULL, 0);
}

struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help, const char *labels,
                                 const double *bounds, size_t count)
{
    assert(count <= MAX_BOUNDS);
    return find_or_make(metrics, TYPE_HISTOGRAM, name, help, labels, bounds, count);
}

void metrics_label_escape(const char *value, char *out, size_t out_size)
{
    size_t len = 0;

    assert(out_size > 0);
    for (; *value; value++) {
        bool is_special = *value == '"' || *value == '\\' || *value == '\n';
        if (len + (is_special ? 2 : 1) >= out_size)
            break;
        if (is_special)
            out[len++] = '\\';
        out[len++] = *value == '\n' ? 'n' : *value;
    }
    out[len] = '\0';
}

static double bits_to_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t double_to_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void add_value(struct metric *metric, double amount)
{
    uint64_t before = __atomic_load_n(&metric->value_bits, __ATOMIC_RELAXED);
    uint64_t after;
    do {
        after = double_to_bits(bits_to_double(before) + amount);
    } while (
        !__atomic_compare_exchange_n(&metric->value_bits, &before, after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void metric_add(struct metric *metric, double amount)
{
    assert(metric->type == TYPE_GAUGE || (metric->type == TYPE_COUNTER && amount >= 0));
    add_value(metric, amount);
}

void metric_set(struct metric *metric, double value)
{
    assert(metric->type == TYPE_GAUGE);
    __atomic_store_n(&metric->value_bits, double_to_bits(value), __ATOMIC_RELAXED);
}

void metric_observe(struct metric *metric, double value)
{
    assert(metric->type == TYPE_HISTOGRAM);
    size_t bucket = 0;
    while (bucket < metric->bound_count && value > metric->bounds[bucket])
        bucket++;
    __atomic_fetch_add(&metric->buckets[bucket], 1, __ATOMIC_RELAXED);
    add_value(metric, value);
}

double metric_value(const struct metric *metric)
{
    return bits_to_double(__atomic_load_n(&metric->value_bits, __ATOMIC_RELAXED));
}

/* Whole numbers up to 2^53 without an exponent, others with as many digits as tell them apart. */
static void print_number(FILE *page, double value)
{
    if (isnan(value))
        fputs("NaN\n", page);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf\n" : "-Inf\n", page);
    else if (fabs(value) < 9007199254740992.0 && value == floor(value))
        fprintf(page, "%.0f\n", value);
    else
        fprintf(page, "%.15g\n", value);
}

static void print_sample(FILE *page, const struct metric *metric, double value)
{
    if (metric->labels)
        fprintf(page, "%s{%s} ", metric->name, metric->labels);
    else
        fprintf(page, "%s ", metric->name);
    print_number(page, value);
}

static void print_bucket(FILE *page, const struct metric *metric, const char *bound, uint64_t cumulative)
{
    const char *labels = metric->labels ? metric->labels : "";
    fprintf(page, "%s_bucket{%s%sle=\"%s\"} %llu\n", metric->name, labels, *labels ? "," : "", bound,
            (unsigned long long)cumulative);
}

static void print_histogram(FILE *page, const struct metric *metric)
{
    uint64_t cumulative = 0;
    for (size_t i = 0; i < metric->bound_count; i++) {
        char bound[32];
        snprintf(bound, sizeof bound, "%.10g", metric->bounds[i]);
        cumulative += __atomic_load_n(&metric->buckets[i], __ATOMIC_RELAXED);
        print_bucket(page, metric, bound, cumulative);
    }
    /* The count is the +Inf bucket, never a counter of its own: scraped amid updates the two would disagree. */
    cumulative += __atomic_load_n(&metric->buckets[metric->bound_count], __ATOMIC_RELAXED);
    print_bucket(page, metric, "+Inf", cumulative);
    const char *labels = metric->labels ? metric->labels : "";
    const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    fprintf(page, "%s_sum%s%s%s ", metric->name, open, labels, close);
    print_number(page, metric_value(metric));
    fprintf(page, "%s_count%s%s%s %llu\n", metric->name, open, labels, close, (unsigned long long)cumulative);
}

static void print_metric(FILE *page, const struct metric *metric)
{
    if (metric->type == TYPE_HISTOGRAM)
        print_histogram(page, metric);
    else
        print_sample(page, metric, metric_value(metric));
}

static void print_help(FILE *page, const char *name, const char *help)
{
    fprintf(page, "# HELP %s ", name);
    for (const char *c = help ? help : ""; *c; c++) {
        if (*c == '\n')
            fputs("\\n", page);
        else if (*c == '\\')
            fputs("\\\\", page);
        else
            fputc(*c, page);
    }
    fputc('\n', page);
}

/* The format wants all series of one name together, below one HELP and one TYPE. */
static void print_family(FILE *page, const struct metrics *metrics, size_t first, bool *is_printed)
{
    const struct metric *head = metrics->series[first];
    print_help(page, head->name, head->help);
    fprintf(page, "# TYPE %s %s\n", head->name, type_names[head->type]);
    for (size_t i = first; i < metrics->count; i++) {
        if (is_printed[i] || strcmp(metrics->series[i]->name, head->name) != 0)
            continue;
        print_metric(page, metrics->series[i]);
        is_printed[i] = true;
    }
}

char *metrics_render(struct metrics *metrics)
{
    char *text = NULL;
    size_t len_bytes = 0;
    FILE *page = open_memstream(&text, &len_bytes);
    if (!page)
        return NULL;
    bool is_printed[MAX_SERIES + 3] = {false};
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->count; i++)
        if (!is_printed[i])
            print_family(page, metrics, i, is_printed);
    pthread_mutex_unlock(&metrics->lock);
    bool is_broken = ferror(page);
    if (fclose(page) || is_broken) {
        free(text);
        return NULL;
    }
    return text;
}
