/* Counters, gauges and histograms in Prometheus' text format (version 0.0.4).
 *
 * A registry belongs to the process. Metrics are made at start (or when a label value first appears) and live until the
 * registry dies. Updates are atomic: any thread. Making metrics and rendering take a lock.
 *
 *     struct metric *accepted = metrics_counter(registry, "hanabi_ingest_sessions_total", "sessions opened", NULL);
 *     struct metric *refused = metrics_counter(registry, "hanabi_ingest_refused_total", "…", "reason=\"bad_key\"");
 *     metric_add(accepted, 1); */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct metrics;
struct metric;

struct metrics *metrics_create(void);
void metrics_destroy(struct metrics *metrics);

/* The same name and labels again gives the same metric. `labels` is NULL or `key="value",…` (value already escaped:
 * see metrics_label_escape). The strings are copied. Never NULL: at the limit of 2,000 series a shared overflow series
 * is returned. */
struct metric *metrics_counter(struct metrics *metrics, const char *name, const char *help, const char *labels);
struct metric *metrics_gauge(struct metrics *metrics, const char *name, const char *help, const char *labels);
/* `bounds`: `count` ascending upper bounds, without +Inf; at most 20. */
struct metric *metrics_histogram(struct metrics *metrics, const char *name, const char *help, const char *labels,
                                 const double *bounds, size_t count);

/* Writes `value` as it may stand between a label's quotes (cut when `out` is too small, never within an escape). */
void metrics_label_escape(const char *value, char *out, size_t out_size);

void metric_add(struct metric *metric, double amount);    /* counters (amount ≥ 0) and gauges */
void metric_set(struct metric *metric, double value);     /* gauges */
void metric_observe(struct metric *metric, double value); /* histograms */
double metric_value(const struct metric *metric);         /* counters and gauges */

/* The whole page, to be freed with free(). NULL when memory is out. */
char *metrics_render(struct metrics *metrics);
