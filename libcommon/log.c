/* A line is built in a buffer on the caller's stack and leaves with one write(2): no lock, no allocation, so that
 * logging works in every thread and while memory is out. */
#include "libcommon/log.h"

#include "libcommon/clock.h"
#include "libcommon/request_scope.h"
#include "libcommon/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES = 8192,
    /* What the end of a cut line needs: the mark, the brace and the newline. */
    TAIL_BYTES = 32,
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/* Written once by log_init() before other threads exist. */
static char service_name[64] = "unnamed";
static char instance_name[128] = "";
static enum log_level lowest_level = LOG_LEVEL_INFO;

void log_init(const char *service, const char *instance, enum log_level min_level)
{
    snprintf(service_name, sizeof service_name, "%s", service);
    snprintf(instance_name, sizeof instance_name, "%s", instance);
    __atomic_store_n(&lowest_level, min_level, __ATOMIC_RELAXED);
}

struct line {
    char text[LINE_BYTES];
    size_t len;
    bool full;
};

static void put_bytes(struct line *line, const char *bytes, size_t count)
{
    if (line->full || line->len + count > LINE_BYTES - TAIL_BYTES) {
        line->full = true;
        return;
    }
    memcpy(line->text + line->len, bytes, count);
    line->len += count;
}

static void put_text(struct line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

static void put_escaped_byte(struct line *line, unsigned char byte)
{
    char escape[8];
    switch (byte) {
    case '"':
        put_text(line, "\\\"");
        return;
    case '\\':
        put_text(line, "\\\\");
        return;
    case '\n':
        put_text(line, "\\n");
        return;
    case '\r':
        put_text(line, "\\r");
        return;
    case '\t':
        put_text(line, "\\t");
        return;
    default:
        snprintf(escape, sizeof escape, "\\u%04x", byte);
        put_text(line, escape);
    }
}

/* A string that does not fit is cut between two characters; the closing quote has its place in the tail. */
static void put_string(struct line *line, const char *value)
{
    put_bytes(line, "\"", 1);
    if (line->full)
        return;
    const unsigned char *s = (const unsigned char *)value;
    while (*s && !line->full) {
        size_t len = utf8_sequence_len((const char *)s);
        if (len == 0)
            put_text(line, "\xef\xbf\xbd");
        else if (*s < 0x20 || *s == '"' || *s == '\\' || *s == 0x7f)
            put_escaped_byte(line, *s);
        else
            put_bytes(line, (const char *)s, len);
        s += len ? len : 1;
    }
    line->text[line->len++] = '"';
}

static void put_timestamp(struct line *line)
{
    int64_t now_ms = clock_wall_ms();
    time_t seconds = now_ms / 1000;
    struct tm utc;
    char text[64];
    gmtime_r(&seconds, &utc);
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
             utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now_ms % 1000));
    put_string(line, text);
}

static void put_value(struct line *line, const struct log_field *field)
{
    char text[40];
    switch (field->type) {
    case LOG_FIELD_STRING:
        if (field->value.string)
            put_string(line, field->value.string);
        else
            put_text(line, "null");
        return;
    case LOG_FIELD_INT:
        snprintf(text, sizeof text, "%lld", (long long)field->value.integer);
        put_text(line, text);
        return;
    case LOG_FIELD_DOUBLE:
        /* JSON knows neither infinity nor NaN. */
        if (!isfinite(field->value.number)) {
            put_text(line, "null");
            return;
        }
        snprintf(text, sizeof text, "%.10g", field->value.number);
        put_text(line, text);
        return;
    case LOG_FIELD_BOOL:
        put_text(line, field->value.boolean ? "true" : "false");
        return;
    case LOG_FIELD_END:
        return;
    }
}

static void put_field(struct line *line, const struct log_field *field)
{
    size_t before = line->len;
    put_bytes(line, ",", 1);
    put_string(line, field->key);
    put_bytes(line, ":", 1);
    size_t value_at = line->len;
    if (!line->full)
        put_value(line, field);
    /* Half a key, or a key without its value, would not be JSON: the field goes as a whole. */
    if (line->full && (line->len == value_at || field->type != LOG_FIELD_STRING))
        line->len = before;
}

static void write_line(const struct line *line)
{
    ssize_t done;
    do {
        done = write(STDERR_FILENO, line->text, line->len);
    } while (done < 0 && errno == EINTR);
    /* A log that cannot be written has nowhere to be reported; the service goes on. */
}

static void write_event(enum log_level level, const char *event, const struct log_field *fields, uint64_t suppressed)
{
    int saved_errno = errno;
    struct line line = {.len = 0};
    put_text(&line, "{\"ts\":");
    put_timestamp(&line);
    const struct log_field head[] = {log_str("level", level_names[level]), log_str("service", service_name),
                                     log_str("instance", instance_name), log_str("event", event),
                                     log_int("suppressed", (int64_t)suppressed)};
    size_t head_count = sizeof head / sizeof head[0] - (suppressed ? 0 : 1);
    for (size_t i = 0; i < head_count; i++)
        put_field(&line, &head[i]);
    if (request_scope_id()[0])
        put_field(&line, &(struct log_field){LOG_FIELD_STRING, "request_id", {.string = request_scope_id()}});
    for (; fields && fields->type != LOG_FIELD_END; fields++)
        put_field(&line, fields);
    const char *tail = line.full ? ",\"truncated\":true}\n" : "}\n";
    memcpy(line.text + line.len, tail, strlen(tail));
    line.len += strlen(tail);
    write_line(&line);
    errno = saved_errno;
}

static bool is_wanted(enum log_level level)
{
    return level >= __atomic_load_n(&lowest_level, __ATOMIC_RELAXED);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    if (is_wanted(level))
        write_event(level, event, fields, 0);
}

void log_write_limited(struct log_limiter *limiter, enum log_level level, const char *event,
                       const struct log_field *fields)
{
    if (!is_wanted(level))
        return;
    int64_t now_ms = clock_monotonic_ms();
    int64_t next_ms = __atomic_load_n(&limiter->next_ms, __ATOMIC_RELAXED);
    /* Of several threads that find the interval over, the one whose exchange succeeds logs. */
    if (now_ms < next_ms || !__atomic_compare_exchange_n(&limiter->next_ms, &next_ms, now_ms + limiter->interval_ms,
                                                         false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&limiter->suppressed, 1, __ATOMIC_RELAXED);
        return;
    }
    write_event(level, event, fields, __atomic_exchange_n(&limiter->suppressed, 0, __ATOMIC_RELAXED));
}
