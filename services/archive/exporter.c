#include "exporter.h"

#include "export_batch.h"
#include "libcommon/alloc.h"
#include "libcommon/blob.h"
#include "libcommon/clock.h"
#include "libcommon/lease.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/store.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_MS 50
#define RETRY_MS 500
/* Entries of a stream that are read at once: chat's have 48 KiB each at most. */
#define ENTRIES         "200"
#define MAX_ENTRY_BYTES (16u << 20) /* and of a batch, about */
/* How often it is looked whether the next batch is due: the interval is counted from the last one, whoever made it. */
#define LOOKS_PER_INTERVAL 4
#define LOOK_MOST_MS       2000

static const struct export_source *const sources[] = {
    &export_source_comments, &export_source_loves, &export_source_taps, &export_source_states, &export_source_audience};
#define SOURCES (sizeof(sources) / sizeof(sources[0]))

/* A source, and what is being done about it. */
struct export_work {
    struct exporter *exporter;
    struct event *timer;
    struct lease *lease;
    struct export_batch batch;
    bool is_busy, is_lost;
    struct chat_event_id read_to; /* of a stream */
    size_t pending;               /* files on their way to the store */
    bool has_failed_put;
    int code;
    int64_t caught_up_ms; /* monotonic: when nothing waited */
    struct metric *lag, *lines, *files, *bytes, *failures;
};

struct exporter {
    struct archive *archive;
    bool is_draining;
    struct log_limiter limiter;
    struct export_work works[SOURCES];
};

static void begin_batch(struct export_work *work, bool at_once);

static void arm(struct export_work *work, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    if (!work->exporter->is_draining)
        evtimer_add(work->timer, &delay);
}

/* Between steps nothing of ours is under way. */
static void rest(struct export_work *work, int64_t delay_ms)
{
    export_batch_clear(&work->batch);
    if (work->lease)
        lease_release(work->lease);
    work->lease = NULL;
    work->is_busy = false;
    metric_set(work->lag, (double)(clock_monotonic_ms() - work->caught_up_ms) / 1000);
    arm(work, delay_ms);
}

static int64_t look_every_ms(const struct export_work *work)
{
    int64_t every_ms = work->exporter->archive->config.export_interval_ms / LOOKS_PER_INTERVAL + 1;

    return every_ms < LOOK_MOST_MS ? every_ms : LOOK_MOST_MS;
}

static void fail(struct export_work *work, const char *step, const char *why)
{
    metric_add(work->failures, 1);
    log_limited(&work->exporter->limiter, LOG_LEVEL_WARN, "export.failed", log_str("source", work->batch.source->name),
                log_str("step", step), log_str("why", why));
    rest(work, RETRY_MS);
}

static bool must_stop(const struct export_work *work)
{
    return work->exporter->is_draining || work->is_lost || !work->exporter->archive->store;
}

/* For tests: what a power cut at this place would leave behind. */
static void die_if_told(const struct export_work *work, const char *step)
{
    if (strcmp(work->exporter->archive->config.die_after, step) == 0)
        raise(SIGKILL);
}

/* --- the end of a batch --- */

/* If it does not come to this, the next batch's will do it too. */
static void trim_stream(struct export_work *work)
{
    char to[CHAT_EVENT_ID_SIZE], bytes[24];

    snprintf(bytes, sizeof(bytes), "%zu", work->batch.entries.len);
    redis_link_script(
        work->exporter->archive->state, &script_export_trim, NULL, NULL, 3,
        (const char *[]){work->batch.source->stream, chat_event_id_format(work->batch.ranges[0].to, to), bytes}, NULL);
}

static void run_finish(struct db_connection *connection, void *context)
{
    struct export_work *work = context;

    work->code = export_batch_finish(connection, &work->batch);
}

static void on_finished(int code, void *context)
{
    struct export_work *work = context;

    code = code != 0 ? code : work->code;
    if (code != 0) {
        fail(work, "finish", db_strerror(code));
        return;
    }
    metric_add(work->lines, (double)work->batch.files.lines);
    metric_add(work->files, (double)work->batch.files.count);
    if (work->batch.source->stream && !must_stop(work))
        trim_stream(work);
    if (must_stop(work)) {
        rest(work, 0);
    } else if (work->batch.is_full) {
        begin_batch(work, true);
    } else {
        work->caught_up_ms = clock_monotonic_ms();
        rest(work, look_every_ms(work));
    }
}

static void finish(struct export_work *work)
{
    die_if_told(work, "exportput");
    if (archive_submit(work->exporter->archive, run_finish, on_finished, work) != 0)
        fail(work, "finish", db_strerror(DB_FULL));
}

/* --- its files --- */

static void on_put(int code, const char *why, void *context)
{
    struct export_work *work = context;

    if (code != 0) {
        work->has_failed_put = true;
        log_limited(&work->exporter->limiter, LOG_LEVEL_WARN, "export.not_put", log_str("why", why));
    }
    if (--work->pending > 0)
        return;
    if (work->has_failed_put)
        fail(work, "put", "the store did not take a file");
    else
        finish(work);
}

static void put_file(struct export_work *work, const struct export_file *file)
{
    char path[EXPORT_PATH_SIZE];
    struct blob *blob = blob_create(file->text.len);

    if (!blob)
        abort();
    memcpy(blob->data, file->text.data, file->text.len);
    export_file_path(file, work->batch.source->name, work->batch.number, path);
    metric_add(work->bytes, (double)blob->len);
    store_put(work->exporter->archive->store,
              &(struct store_put){
                  .path = path, .blob = blob, .content_type = "application/gzip", .cache_control = "no-store"},
              on_put, work);
    blob_unref(blob);
}

static void put_files(struct export_work *work)
{
    size_t count = work->batch.files.count;

    die_if_told(work, "exportplan");
    work->has_failed_put = false;
    work->pending = count;
    for (size_t i = 0; i < count; i++)
        put_file(work, &work->batch.files.files[i]);
    if (count == 0)
        finish(work); /* what was planned has gone since, with its archive */
}

/* --- its beginning --- */

static void run_take(struct db_connection *connection, void *context)
{
    struct export_work *work = context;

    work->code = export_batch_take_entries(connection, &work->batch);
    if (work->code == 0 && export_files_compress(&work->batch.files) != 0)
        abort();
}

static void on_read(int code, void *context);
static void read_entries(struct export_work *work);

/* What is no entry of ours is passed over. */
static void take_entry(struct export_batch *batch, struct chat_event_id *read_to, const redisReply *entry)
{
    struct chat_event_id id;
    const redisReply *fields = entry->element[1];

    if (chat_event_id_parse(entry->element[0]->str, &id) != 0)
        return;
    *read_to = id;
    if (fields->elements < 2 || fields->element[1]->type != REDIS_REPLY_STRING)
        return;
    if (buffer_append(&batch->entries, fields->element[1]->str, fields->element[1]->len) != 0)
        abort();
    if (fields->element[1]->len > 0 && batch->entries.data[batch->entries.len - 1] != '\n' &&
        buffer_append(&batch->entries, "\n", 1) != 0)
        abort();
}

static void on_entries(int code, const redisReply *reply, void *context)
{
    struct export_work *work = context;
    struct export_batch *batch = &work->batch;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY) {
        fail(work, "read", redis_link_strerror(code));
        return;
    }
    for (size_t i = 0; i < reply->elements; i++)
        take_entry(batch, &work->read_to, reply->element[i]);
    bool is_more = reply->elements == (size_t)atoi(ENTRIES);
    if (must_stop(work)) {
        rest(work, 0);
    } else if (is_more && (batch->is_planned || batch->entries.len < MAX_ENTRY_BYTES)) {
        read_entries(work);
    } else if (batch->entries.len == 0 && !batch->is_planned) {
        work->caught_up_ms = clock_monotonic_ms();
        rest(work, look_every_ms(work));
    } else {
        batch->is_full = is_more || batch->is_planned;
        if (!batch->is_planned)
            batch->ranges[0].to = work->read_to;
        if (archive_submit(work->exporter->archive, run_take, on_read, work) != 0)
            fail(work, "read", db_strerror(DB_FULL));
    }
}

/* Behind what has been read. */
static void read_entries(struct export_work *work)
{
    char after[CHAT_EVENT_ID_SIZE + 1] = "(", to[CHAT_EVENT_ID_SIZE] = "+";

    chat_event_id_format(work->read_to, after + 1);
    if (work->batch.is_planned)
        chat_event_id_format(work->batch.ranges[0].to, to);
    redis_link_command(work->exporter->archive->state, on_entries, work, 6,
                       (const char *[]){"XRANGE", work->batch.source->stream, after, to, "COUNT", ENTRIES}, NULL);
}

static void run_read(struct db_connection *connection, void *context)
{
    struct export_work *work = context;

    work->code = export_batch_read(connection, &work->batch);
    if (work->code == 0 && export_files_compress(&work->batch.files) != 0)
        abort();
}

static void on_read(int code, void *context)
{
    struct export_work *work = context;

    code = code != 0 ? code : work->code;
    if (work->batch.odd_lines > 0)
        log_limited(&work->exporter->limiter, LOG_LEVEL_WARN, "export.odd_lines",
                    log_str("source", work->batch.source->name), log_int("lines", (int64_t)work->batch.odd_lines));
    if (code == DB_CONFLICT) {
        rest(work, look_every_ms(work)); /* another process has gone on */
    } else if (code != 0) {
        fail(work, "read", db_strerror(code));
    } else if (work->batch.outcome == EXPORT_NOTHING) {
        work->caught_up_ms = clock_monotonic_ms();
        rest(work, look_every_ms(work));
    } else if (must_stop(work)) {
        rest(work, 0);
    } else if (work->batch.outcome == EXPORT_READ) {
        work->read_to = work->batch.ranges[0].from;
        read_entries(work);
    } else {
        put_files(work);
    }
}

static void begin_batch(struct export_work *work, bool at_once)
{
    const struct archive_config *config = &work->exporter->archive->config;

    export_batch_clear(&work->batch);
    work->batch.interval_ms = at_once ? 0 : config->export_interval_ms;
    work->batch.max_lines = (size_t)config->export_max_lines;
    if (archive_submit(work->exporter->archive, run_read, on_read, work) != 0)
        fail(work, "read", db_strerror(DB_FULL));
}

static void on_lost(struct lease *lease, void *context)
{
    struct export_work *work = context;

    work->is_lost = true;
}

static void on_acquired(struct lease *lease, int code, void *context)
{
    struct export_work *work = context;

    work->lease = lease;
    work->is_lost = false;
    if (!lease) {
        if (code == 0) /* another process is at it */
            work->caught_up_ms = clock_monotonic_ms();
        rest(work, look_every_ms(work));
    } else if (must_stop(work)) {
        rest(work, 0);
    } else {
        begin_batch(work, false);
    }
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    struct export_work *work = context;
    struct archive *archive = work->exporter->archive;
    const char *holder = service_instance(archive->service);
    char key[KEY_MAX], alive[KEY_MAX];
    const struct lease_options options = {.key = key_of(key, KEY_LEASE_EXPORT, work->batch.source->name),
                                          .fence_key = KEY_FENCE,
                                          .holder = holder,
                                          .alive_channel = key_of(alive, CHANNEL_PING, holder),
                                          .on_lost = on_lost,
                                          .context = work};

    work->is_busy = true;
    lease_try_acquire(service_loop(archive->service), archive->state, &options, on_acquired, work);
}

/* --- life --- */

static void work_init(struct export_work *work, struct exporter *exporter, const struct export_source *source)
{
    struct metrics *metrics = service_metrics(exporter->archive->service);
    char labels[64];

    snprintf(labels, sizeof(labels), "source=\"%s\"", source->name);
    work->exporter = exporter;
    work->batch.source = source;
    buffer_init(&work->batch.entries, SIZE_MAX / 4); /* bounded where it is read */
    work->caught_up_ms = clock_monotonic_ms();
    work->lag = metrics_gauge(metrics, "hanabi_archive_export_lag_seconds",
                              "since nothing waited to be exported, as seen by who exports", labels);
    work->lines = metrics_counter(metrics, "hanabi_archive_export_lines_total", "events exported", labels);
    work->files = metrics_counter(metrics, "hanabi_archive_export_files_total", "files they are in", labels);
    work->bytes = metrics_counter(metrics, "hanabi_archive_export_bytes_total", "bytes of these, compressed", labels);
    work->failures =
        metrics_counter(metrics, "hanabi_archive_export_failures_total", "batches that are tried again", labels);
    work->timer = evtimer_new(service_loop(exporter->archive->service), on_timer, work);
    if (!work->timer)
        abort();
    arm(work, FIRST_MS);
}

struct exporter *exporter_create(struct archive *archive)
{
    struct exporter *exporter;

    if (!archive->config.is_exporting)
        return NULL;
    exporter = alloc_zero(1, sizeof(*exporter));
    exporter->archive = archive;
    exporter->limiter = LOG_LIMITER(5000);
    for (size_t i = 0; i < SOURCES; i++)
        work_init(&exporter->works[i], exporter, sources[i]);
    return exporter;
}

void exporter_drain(struct exporter *exporter)
{
    if (!exporter)
        return;
    exporter->is_draining = true;
    for (size_t i = 0; i < SOURCES; i++)
        evtimer_del(exporter->works[i].timer);
}

bool exporter_is_idle(const struct exporter *exporter)
{
    for (size_t i = 0; exporter && i < SOURCES; i++)
        if (exporter->works[i].is_busy)
            return false;
    return true;
}

void exporter_destroy(struct exporter *exporter)
{
    if (!exporter)
        return;
    for (size_t i = 0; i < SOURCES; i++) {
        export_batch_clear(&exporter->works[i].batch);
        event_free(exporter->works[i].timer);
    }
    free(exporter);
}
