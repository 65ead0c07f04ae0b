#include "archive_making.h"

#include "archive_rows.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_link.h"
#include "libcommon/service.h"
#include "libcommon/store.h"
#include "proto/scripts.h"
#include "recording.h"
#include "replay_source.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS_AT_ONCE 8
#define MAX_OUTPUTS   (SEGMENT_MAX_RENDITIONS + 2 + TEXTS_AT_ONCE)

static const char json_content[] = "application/json", playlist_content[] = "application/vnd.apple.mpegurl";
static const char cache_control[] = "public, max-age=3600";

/* In this order; a step begins when all that the one before has made is in the store. */
enum step { STEP_PLAN, STEP_RECORDING, STEP_REPLAY, STEP_INDEX, STEP_ROW, STEP_SAY, STEP_FORCE };
static const char *const step_names[] = {"plan", "recording", "replay", "index", "row", "say", "force"};

struct output {
    char path[160];
    const char *type;
    char *text; /* owned, made on the worker */
    size_t len_bytes;
};

struct archive_making {
    struct archive *archive;
    char id[ID_SIZE];
    archive_made_fn done;
    void *context;
    enum step step;
    bool is_stopped;
    int64_t began_ms;
    struct archive_plan plan;
    int64_t peak, unique_viewers;
    struct recording recording;
    struct timeline timeline;
    struct replay replay;
    struct replay_source source;
    struct output outputs[MAX_OUTPUTS];
    size_t outputs_count, puts_pending;
    bool has_failed_put;
    int code;
    struct metric *files, *bytes;
    struct log_limiter limiter;
};

static void begin_step(struct archive_making *making, enum step step);

static void drop_outputs(struct archive_making *making)
{
    for (size_t i = 0; i < making->outputs_count; i++)
        free(making->outputs[i].text);
    making->outputs_count = 0;
}

static void finish(struct archive_making *making, enum archive_made result)
{
    making->done(making, result, making->context);
    drop_outputs(making);
    recording_clear(&making->recording);
    timeline_clear(&making->timeline);
    replay_clear(&making->replay);
    free(making);
}

static void fail(struct archive_making *making, const char *why)
{
    static struct log_limiter limiter = LOG_LIMITER(2000);

    if (!making->is_stopped)
        log_limited(&limiter, LOG_LEVEL_WARN, "archive.failed", log_str("broadcast", making->id),
                    log_str("step", step_names[making->step]), log_str("why", why));
    finish(making, ARCHIVE_FAILED);
}

/* For tests: what a power cut right after a step would leave behind. */
static void die_if_told(const struct archive_making *making)
{
    if (strcmp(making->archive->config.die_after, step_names[making->step]) == 0)
        raise(SIGKILL);
}

/* --- what a step does on a database worker --- */

static void add_output(struct archive_making *making, const char *file, const char *type, char *text, size_t len_bytes)
{
    struct output *output = &making->outputs[making->outputs_count++];

    snprintf(output->path, sizeof(output->path), "live/%s/%s", making->id, file);
    output->type = type;
    output->text = text;
    output->len_bytes = len_bytes;
    if (!text)
        making->code = RECORDING_ODD;
}

static void add_text(struct archive_making *making, const char *file, const char *type, char *text)
{
    add_output(making, file, type, text, text ? strlen(text) : 0);
}

static void make_recording(struct archive_making *making, struct db_connection *connection)
{
    struct recording *recording = &making->recording;
    char file[80];

    making->code = recording_load(connection, making->id, recording, &making->timeline);
    if (making->code != 0 || recording->segments == 0)
        return;
    for (int i = 0; i < recording->renditions_count; i++) {
        snprintf(file, sizeof(file), "%s/" ARCHIVE_RECORDING_FILE, recording->renditions[i].name);
        add_text(making, file, playlist_content, recording_media(recording, i));
    }
    add_text(making, ARCHIVE_RECORDING_FILE, playlist_content, recording_multivariant(recording));
    if (recording->thumbnails > 0)
        add_text(making, ARCHIVE_STORYBOARD_FILE, json_content, recording_storyboard(recording));
}

static void make_replay(struct archive_making *making, struct db_connection *connection)
{
    struct replay_text texts[TEXTS_AT_ONCE];
    char name[REPLAY_FILE_NAME_SIZE], file[80];
    size_t count = 0;

    making->code = replay_source_read(&making->source, connection, &making->timeline, &making->replay, texts,
                                      TEXTS_AT_ONCE, &count);
    for (size_t i = 0; i < count; i++) {
        replay_file_name(name, texts[i].number);
        snprintf(file, sizeof(file), ARCHIVE_REPLAY_FOLDER "/%s", name);
        add_output(making, file, json_content, texts[i].text, texts[i].len_bytes);
    }
}

static void write_row(struct archive_making *making, struct db_connection *connection)
{
    const struct archive_figures figures = {.duration_ms = timeline_duration_ms(&making->timeline),
                                            .segments = making->recording.segments,
                                            .files = (int64_t)making->replay.files,
                                            .events = making->replay.events,
                                            .has_storyboard = making->recording.thumbnails > 0,
                                            .peak = making->peak,
                                            .unique_viewers = making->unique_viewers,
                                            .archived_at_ms = clock_wall_ms()};

    making->code = archive_row_finish(connection, making->id, &figures);
}

static void run(struct db_connection *connection, void *context)
{
    struct archive_making *making = context;

    switch (making->step) {
    case STEP_PLAN:
        making->code = archive_row_plan(connection, making->id, &making->plan);
        break;
    case STEP_RECORDING:
        make_recording(making, connection);
        break;
    case STEP_REPLAY:
        make_replay(making, connection);
        break;
    case STEP_ROW:
        write_row(making, connection);
        break;
    case STEP_FORCE:
        making->code = archive_row_force_state(connection, making->id);
        break;
    case STEP_INDEX:
    case STEP_SAY:
        break; /* not of the database */
    }
}

/* --- who watched --- */

static void submit(struct archive_making *making);

static void on_audience(int code, const redisReply *reply, void *context)
{
    struct archive_making *making = context;

    if (code != 0 || reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        fail(making, redis_link_strerror(code));
        return;
    }
    making->peak = reply->element[1]->integer;
    making->unique_viewers = reply->element[2]->integer;
    submit(making);
}

/* --- the state --- */

static void on_said(int code, const redisReply *reply, void *context)
{
    struct archive_making *making = context;
    const char *answer = code == 0 && reply->type == REDIS_REPLY_STRING ? reply->str : "";

    if (code != 0) {
        fail(making, redis_link_strerror(code));
    } else if (strcmp(answer, "unknown") == 0) {
        begin_step(making, STEP_FORCE);
    } else if (strcmp(answer, "ok") == 0) {
        die_if_told(making);
        log_info("broadcast.archived", log_str("broadcast", making->id),
                 log_int("segments", making->recording.segments), log_int("files", (int64_t)making->replay.files),
                 log_int("events", making->replay.events), log_int("took_ms", clock_monotonic_ms() - making->began_ms));
        finish(making, ARCHIVE_MADE);
    } else if (strcmp(answer, "archived") == 0) {
        finish(making, ARCHIVE_DONE); /* live-api saves it in a moment */
    } else {
        fail(making, "Redis says that the broadcast is not over");
    }
}

/* --- from step to step --- */

static void after_plan(struct archive_making *making)
{
    if (making->plan.outcome == ARCHIVE_PLAN_UNSETTLED)
        finish(making, ARCHIVE_NOT_YET);
    else if (making->plan.outcome == ARCHIVE_PLAN_STANDS)
        begin_step(making, STEP_SAY);
    else
        begin_step(making, STEP_RECORDING);
}

static void next_step(struct archive_making *making)
{
    die_if_told(making);
    switch (making->step) {
    case STEP_PLAN:
        after_plan(making);
        break;
    case STEP_RECORDING:
        snprintf(making->source.broadcast, sizeof(making->source.broadcast), "%s", making->id);
        making->source.until_ms = making->plan.until_ms;
        making->source.cursor.sequence = -2; /* in front of everything */
        replay_init(&making->replay, timeline_duration_ms(&making->timeline));
        begin_step(making, STEP_REPLAY);
        break;
    case STEP_REPLAY:
        begin_step(making, making->source.is_over ? STEP_INDEX : STEP_REPLAY);
        break;
    case STEP_INDEX:
        begin_step(making, STEP_ROW);
        break;
    case STEP_ROW:
        begin_step(making, STEP_SAY);
        break;
    case STEP_FORCE:
        finish(making, ARCHIVE_MADE);
        break;
    case STEP_SAY:
        break; /* on_said() goes on */
    }
}

static void on_put(int code, const char *why, void *context)
{
    struct archive_making *making = context;

    making->has_failed_put |= code != 0;
    if (code != 0)
        log_limited(&making->limiter, LOG_LEVEL_WARN, "archive.not_put", log_str("broadcast", making->id),
                    log_str("why", why));
    else
        metric_add(making->files, 1);
    if (--making->puts_pending > 0)
        return;
    if (making->has_failed_put)
        fail(making, "the store did not take a file");
    else
        next_step(making);
}

/* What the step has made goes to the store; then on. */
static void put_outputs(struct archive_making *making)
{
    size_t count = making->outputs_count;

    if (count == 0) {
        next_step(making);
        return;
    }
    making->puts_pending = count;
    for (size_t i = 0; i < count; i++) {
        struct output *output = &making->outputs[i];
        struct blob *blob = blob_create(output->len_bytes);

        if (!blob)
            abort();
        memcpy(blob->data, output->text, output->len_bytes);
        metric_add(making->bytes, (double)output->len_bytes);
        store_put(making->archive->store,
                  &(struct store_put){
                      .path = output->path, .blob = blob, .content_type = output->type, .cache_control = cache_control},
                  on_put, making);
        blob_unref(blob);
    }
    drop_outputs(making);
}

static void ran(int code, void *context)
{
    struct archive_making *making = context;

    code = code != 0 ? code : making->code;
    if (code == RECORDING_ODD || code == REPLAY_NO_MEMORY)
        fail(making, "rows that cannot be made into files, or no memory");
    else if (code != 0)
        fail(making, db_strerror(code));
    else if (making->is_stopped || !making->archive->store)
        finish(making, ARCHIVE_FAILED);
    else
        put_outputs(making);
}

static void submit(struct archive_making *making)
{
    if (archive_submit(making->archive, run, ran, making) != 0)
        fail(making, db_strerror(DB_FULL));
}

static void begin_step(struct archive_making *making, enum step step)
{
    making->step = step;
    if (making->is_stopped) {
        finish(making, ARCHIVE_FAILED);
    } else if (step == STEP_SAY) {
        redis_link_script(making->archive->state, &script_broadcast_archived, on_said, making, 1,
                          (const char *[]){making->id}, NULL);
    } else if (step == STEP_INDEX) {
        size_t len = 0;
        char *text = replay_index(&making->replay, &len);

        add_output(making, ARCHIVE_REPLAY_FOLDER "/" ARCHIVE_REPLAY_INDEX, json_content, text, len);
        if (text)
            put_outputs(making);
        else
            fail(making, "no memory");
    } else if (step == STEP_ROW) {
        redis_link_script(redis_shards_link(&making->archive->redis, making->id), &script_audience_figures, on_audience,
                          making, 1, (const char *[]){making->id}, NULL);
    } else {
        submit(making);
    }
}

/* From the loop, so that nobody is called back before the call returned. */
static void on_begin(evutil_socket_t fd, short events, void *context)
{
    begin_step(context, STEP_PLAN);
}

struct archive_making *archive_making_start(struct archive *archive, const char *broadcast, int64_t until_ms,
                                            archive_made_fn done, void *context)
{
    static const struct timeval at_once = {0, 0};
    struct archive_making *making = alloc_zero(1, sizeof(*making));
    struct metrics *metrics = service_metrics(archive->service);

    making->archive = archive;
    snprintf(making->id, sizeof(making->id), "%s", broadcast);
    making->plan.until_ms = until_ms;
    making->done = done;
    making->context = context;
    making->began_ms = clock_monotonic_ms();
    making->limiter = LOG_LIMITER(1000);
    making->files =
        metrics_counter(metrics, "hanabi_archive_files_written_total", "files of archives put to the store", NULL);
    making->bytes = metrics_counter(metrics, "hanabi_archive_bytes_written_total", "their bytes", NULL);
    event_base_once(service_loop(archive->service), -1, EV_TIMEOUT, on_begin, making, &at_once);
    return making;
}

void archive_making_stop(struct archive_making *making)
{
    making->is_stopped = true;
}
