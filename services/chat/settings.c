/* Settings from their two sources into settings_memory.c: messages, and rows of MySQL wherever messages may have been
 * missed (the start, a gap in the versions, a new subscription). */
#include "room.h"
#include "settings_memory.h"
#include "table.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/request_scope.h"

#include <stdio.h>

#define MAX_ENTRIES   2000000
#define READ_ROWS     5000
#define GAP_WAIT_MS   30 /* a late message may still close it */
#define READ_RETRY_MS 500
#define RE_READ_MS    5000 /* now and then in any case: the last message of all may be the one that was lost */
#define NOTICE_AGE_MS 60000

struct settings {
    struct chat *chat;
    struct settings_memory *memory;
    bool is_loaded, is_reading, must_read;
    int64_t gap_since_ms; /* 0: none */
    int64_t read_due_ms;
};

struct job {
    struct settings *settings;
    int64_t after, over_before_ms;
    struct db_result *rows;
    int code;
};

struct settings *settings_create(struct chat *chat)
{
    struct settings *settings = alloc_zero(1, sizeof(*settings));

    settings->chat = chat;
    settings->memory = settings_memory_create(MAX_ENTRIES);
    settings->must_read = true;
    return settings;
}

void settings_destroy(struct settings *settings)
{
    if (!settings)
        return;
    settings_memory_destroy(settings->memory);
    free(settings);
}

struct settings_memory *settings_of(struct chat *chat)
{
    return chat->settings->memory;
}

bool settings_ready(void *context, char *why, size_t why_size)
{
    const struct settings *settings = context;

    if (!settings->is_loaded)
        snprintf(why, why_size, "not read from MySQL yet");
    return settings->is_loaded;
}

/* --- what a change does beside being remembered --- */

static void show_notice(struct chat *chat, const struct setting_event *event)
{
    json_t *root = json_pack("{s:s,s:s,s:O?,s:I}", "type", "notice", "notice", event->object, "text",
                             json_object_get(event->value, "text"), "at_ms", (json_int_t)event->at_ms);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;

    json_decref(root);
    if (text)
        fanout_everywhere(chat, text);
    free(text);
}

static void act_on(struct settings *settings, const struct setting_event *event)
{
    struct chat *chat = settings->chat;

    if (!event->kind || !event->value)
        return;
    if (event->kind->id == SETTING_BAN)
        join_disconnect_user(chat, event->subject, event->object);
    else if (event->kind->id == SETTING_NOTICE && clock_wall_ms() - event->at_ms < NOTICE_AGE_MS)
        show_notice(chat, event);
}

static void report(struct settings *settings)
{
    const struct chat_metrics *metrics = &settings->chat->metrics;
    int64_t version = settings_memory_version(settings->memory);

    metric_set(metrics->setting_version, (double)version);
    metric_set(metrics->setting_lag, (double)(settings_memory_heard(settings->memory) - version));
    metric_set(metrics->settings, (double)settings_memory_count(settings->memory));
}

static void say_full(void)
{
    static struct log_limiter limiter = LOG_LIMITER(10000);

    log_limited(&limiter, LOG_LEVEL_ERROR, "settings.memory_full", log_int("entries", MAX_ENTRIES));
}

static void look_for_gap(struct settings *settings, int64_t now_ms)
{
    bool is_gap = settings_memory_heard(settings->memory) > settings_memory_version(settings->memory);

    if (!is_gap) {
        settings->gap_since_ms = 0;
    } else if (!settings->gap_since_ms) {
        settings->gap_since_ms = now_ms;
        metric_add(settings->chat->metrics.setting_gaps, 1);
    }
}

void settings_on_message(struct chat *chat, const char *message, size_t len)
{
    struct settings *settings = chat->settings;
    struct setting_event event;
    enum settings_applied applied;
    const char *outer_scope;

    if (setting_event_parse(message, len, &event) != 0)
        return;
    outer_scope = request_scope_enter(event.request_id);
    applied = settings_memory_apply(settings->memory, &event);
    if (applied == SETTINGS_FULL)
        say_full();
    if (applied != SETTINGS_OLD) {
        log_debug("setting.taken", log_int("version", event.version));
        act_on(settings, &event);
    }
    request_scope_leave(outer_scope);
    if (settings->is_loaded)
        look_for_gap(settings, clock_monotonic_ms());
    report(settings);
    setting_event_clear(&event);
}

/* --- reading --- */

static void run(struct db_connection *connection, void *context)
{
    struct job *job = context;

    /* Kinds that may lag are read where they are needed (words.c): a list of words is as long as a request may be, and
     * thousands of them would be more than a result may hold. What was set in a broadcast that is long over steers
     * nothing any more, and would fill every process in the course of the years. */
    job->code = db_query(connection,
                         "SELECT s.kind, s.subject, s.object, IF(s.kind = 'words', NULL, s.value), s.version,"
                         " s.updated_at_ms FROM settings s WHERE s.version > ? AND NOT (s.kind IN ('mute', 'ban',"
                         " 'slow_mode') AND EXISTS (SELECT 1 FROM broadcasts b WHERE b.id = s.subject AND"
                         " b.ended_at_ms < ?)) ORDER BY s.version LIMIT 5000",
                         DB_PARAMS(db_int(job->after), db_int(job->over_before_ms)), READ_ROWS, &job->rows);
}

static void take_row(struct settings *settings, const struct db_result *rows, size_t row)
{
    struct setting_event event = {.version = db_result_int(rows, row, 4), .at_ms = db_result_int(rows, row, 5)};
    const char *value = db_result_value(rows, row, 3);
    enum settings_applied applied;

    event.kind = setting_kind_from_name(db_result_value(rows, row, 0));
    snprintf(event.subject, sizeof(event.subject), "%s", db_result_value(rows, row, 1));
    snprintf(event.object, sizeof(event.object), "%s", db_result_value(rows, row, 2));
    event.value = value ? json_loads(value, 0, NULL) : NULL;
    applied = settings_memory_read(settings->memory, &event);
    if (applied == SETTINGS_FULL)
        say_full();
    /* What stood there before we began was said to others. */
    if (applied != SETTINGS_OLD && settings->is_loaded) {
        log_debug("setting.taken", log_int("version", event.version));
        act_on(settings, &event);
    }
    setting_event_clear(&event);
}

static void done(int code, void *context)
{
    struct job *job = context;
    struct settings *settings = job->settings;
    int64_t now_ms = clock_monotonic_ms();
    size_t rows = job->rows ? db_result_rows(job->rows) : 0;

    settings->is_reading = false;
    code = code != 0 ? code : job->code;
    if (code != 0) {
        static struct log_limiter limiter = LOG_LIMITER(5000);

        log_limited(&limiter, LOG_LEVEL_WARN, "settings.not_read", log_str("why", db_strerror(code)));
        settings->must_read = true;
        settings->read_due_ms = now_ms + READ_RETRY_MS;
    } else {
        for (size_t row = 0; row < rows; row++)
            take_row(settings, job->rows, row);
        settings->must_read = rows == READ_ROWS;
        settings->read_due_ms = now_ms + RE_READ_MS;
        settings->gap_since_ms = 0;
        look_for_gap(settings, now_ms);
        if (!settings->must_read && !settings->is_loaded) {
            settings->is_loaded = true;
            log_info("settings.loaded", log_int("version", settings_memory_version(settings->memory)),
                     log_int("entries", (int64_t)settings_memory_count(settings->memory)));
        }
    }
    report(settings);
    db_result_free(job->rows);
    free(job);
    settings_tick(settings->chat, now_ms);
}

static void read_newer(struct settings *settings)
{
    struct job *job = alloc_zero(1, sizeof(*job));

    job->settings = settings;
    job->after = settings_memory_version(settings->memory);
    job->over_before_ms = clock_wall_ms() - settings->chat->config.settings_keep_s * 1000;
    settings->must_read = false;
    settings->is_reading = db_submit(settings->chat->db, run, done, job) == 0;
    if (settings->is_reading)
        return;
    settings->must_read = true;
    settings->read_due_ms = clock_monotonic_ms() + READ_RETRY_MS;
    free(job);
}

void settings_forget(struct chat *chat, const struct table *broadcasts)
{
    size_t dropped = settings_memory_forget(chat->settings->memory, broadcasts);

    if (dropped > 0)
        log_info("settings.dropped", log_int("broadcasts", (int64_t)table_count(broadcasts)),
                 log_int("entries", (int64_t)dropped));
    report(chat->settings);
}

void settings_on_resubscribed(struct chat *chat)
{
    chat->settings->must_read = true;
    chat->settings->read_due_ms = 0;
    settings_tick(chat, clock_monotonic_ms());
}

void settings_tick(struct chat *chat, int64_t now_ms)
{
    struct settings *settings = chat->settings;
    bool is_gap_old = settings->gap_since_ms && now_ms - settings->gap_since_ms >= GAP_WAIT_MS;

    if (settings->is_reading || chat->is_stopping)
        return;
    if (is_gap_old || (settings->must_read && settings->read_due_ms <= now_ms) || now_ms >= settings->read_due_ms)
        read_newer(settings);
}
