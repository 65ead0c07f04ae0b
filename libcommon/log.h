/* One JSON object a line on standard error, as Fluentd and Fluent Bit read it.
 *
 * Not a printf log: an event has a name in the past tense ("session.opened") and typed fields, so that operators can
 * count and filter. Any thread may log; a line is written with one write(2), so lines never mix.
 *
 *     log_info("session.opened", log_str("broadcast", id), log_int("session", n));
 *     => {"ts":"2026-11-21T09:30:00.123Z","level":"info","service":"ingest","instance":"a-1","event":"session.opened",
 *         "broadcast":"…","session":3}
 *
 * Inside of a request (request_scope.h) the line also has its "request_id".
 *
 * Leaves do not log: they report. The level that decides logs, once, with the ids. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum log_field_type { LOG_FIELD_END, LOG_FIELD_STRING, LOG_FIELD_INT, LOG_FIELD_DOUBLE, LOG_FIELD_BOOL };

struct log_field {
    enum log_field_type type;
    const char *key;
    union {
        const char *string;
        int64_t integer;
        double number;
        bool boolean;
    } value;
};

/* Sets the names every line carries. The strings are copied. Lines below `min_level` are dropped. */
void log_init(const char *service, const char *instance, enum log_level min_level);

/* NULL is written as null. Bytes that are not valid UTF-8 are replaced by U+FFFD. */
static inline struct log_field log_str(const char *key, const char *value)
{
    return (struct log_field){LOG_FIELD_STRING, key, {.string = value}};
}
static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){LOG_FIELD_INT, key, {.integer = value}};
}
static inline struct log_field log_num(const char *key, double value)
{
    return (struct log_field){LOG_FIELD_DOUBLE, key, {.number = value}};
}
static inline struct log_field log_bool(const char *key, bool value)
{
    return (struct log_field){LOG_FIELD_BOOL, key, {.boolean = value}};
}

/* `fields` ends with a LOG_FIELD_END row. A line longer than 8 KiB is cut (and says "truncated":true). */
void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_FIELDS(...)       ((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){LOG_FIELD_END, NULL, {0}}})
#define log_debug(event, ...) log_write(LOG_LEVEL_DEBUG, event, LOG_FIELDS(__VA_ARGS__))
#define log_info(event, ...)  log_write(LOG_LEVEL_INFO, event, LOG_FIELDS(__VA_ARGS__))
#define log_warn(event, ...)  log_write(LOG_LEVEL_WARN, event, LOG_FIELDS(__VA_ARGS__))
#define log_error(event, ...) log_write(LOG_LEVEL_ERROR, event, LOG_FIELDS(__VA_ARGS__))

/* For errors that outsiders can cause at will: at most one line per `interval_ms` passes; the next one that passes
 * carries "suppressed": how many did not. Zero-initialised state, one static per call site:
 *
 *     static struct log_limiter limiter = LOG_LIMITER(1000);
 *     log_limited(&limiter, LOG_LEVEL_WARN, "handshake.refused", log_str("peer", peer)); */
struct log_limiter {
    int64_t interval_ms;
    int64_t next_ms;
    uint64_t suppressed;
};
#define LOG_LIMITER(interval) ((struct log_limiter){.interval_ms = (interval)})
void log_write_limited(struct log_limiter *limiter, enum log_level level, const char *event,
                       const struct log_field *fields);
#define log_limited(limiter, level, event, ...) log_write_limited(limiter, level, event, LOG_FIELDS(__VA_ARGS__))
