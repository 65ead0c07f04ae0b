/* Mutes, bans and slow modes of broadcasts that are over steer nothing any more. A new process does not read them
 * (settings.c); one that runs drops them from its memory, or it would grow for as long as it lives. Now and then MySQL
 * is asked which of the broadcasts that something was set in are over for HANABI_CHAT_SETTINGS_KEEP_S: the message that
 * one has ended may have been missed. */
#include "room.h"
#include "settings_memory.h"
#include "table.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"

#include <string.h>

#define BATCH        50 /* ids in a question */
#define LOOKS        6  /* in the time that settings are kept */
#define LOOK_LEAST_S 1

struct settings_sweeper {
    struct chat *chat;
    bool is_asking;
    int64_t due_ms;
};

struct sweep_job {
    struct settings_sweeper *sweeper;
    struct table *broadcasts, *over;
    struct db_connection *connection; /* in run() */
    const char *ids[BATCH];           /* keys of `broadcasts` */
    size_t count;
    int64_t before_ms;
    int code;
};

struct settings_sweeper *settings_sweeper_create(struct chat *chat)
{
    struct settings_sweeper *sweeper = alloc_zero(1, sizeof(*sweeper));

    sweeper->chat = chat;
    return sweeper;
}

void settings_sweeper_destroy(struct settings_sweeper *sweeper)
{
    free(sweeper);
}

/* --- on a database worker --- */

#define TEN_IDS "?,?,?,?,?,?,?,?,?,?"

static void ask_batch(struct sweep_job *job)
{
    struct db_param params[1 + BATCH] = {db_int(job->before_ms)};
    struct db_result *rows = NULL;

    /* BATCH of them, so that there is one statement to prepare; no broadcast is called "". */
    for (size_t i = 0; i < BATCH; i++)
        params[1 + i] = db_str(i < job->count ? job->ids[i] : "");
    if (job->code == 0)
        job->code = db_query(job->connection,
                             "SELECT id FROM broadcasts WHERE ended_at_ms < ? AND id IN (" TEN_IDS "," TEN_IDS
                             "," TEN_IDS "," TEN_IDS "," TEN_IDS ")",
                             params, 1 + BATCH, BATCH, &rows);
    for (size_t row = 0; job->code == 0 && row < db_result_rows(rows); row++)
        table_set(job->over, db_result_value(rows, row, 0), job);
    db_result_free(rows);
    job->count = 0;
}

static int add_to_batch(const char *id, void *value, void *context)
{
    struct sweep_job *job = context;

    job->ids[job->count++] = id;
    if (job->count == BATCH)
        ask_batch(job);
    return 0;
}

static void run(struct db_connection *connection, void *context)
{
    struct sweep_job *job = context;

    job->connection = connection;
    table_each(job->broadcasts, add_to_batch, job);
    if (job->count > 0)
        ask_batch(job);
}

/* --- on the loop --- */

static void free_job(struct sweep_job *job)
{
    table_destroy(job->broadcasts, NULL);
    table_destroy(job->over, NULL);
    free(job);
}

static void done(int code, void *context)
{
    static struct log_limiter limiter = LOG_LIMITER(60000);
    struct sweep_job *job = context;

    code = code != 0 ? code : job->code;
    job->sweeper->is_asking = false;
    if (code == 0)
        settings_forget(job->sweeper->chat, job->over);
    else
        log_limited(&limiter, LOG_LEVEL_WARN, "settings.not_swept", log_str("why", db_strerror(code)));
    free_job(job);
}

void settings_sweeper_tick(struct settings_sweeper *sweeper, int64_t now_ms)
{
    struct chat *chat = sweeper->chat;
    int64_t period_s = chat->config.settings_keep_s / LOOKS;

    if (sweeper->is_asking || chat->is_stopping || now_ms < sweeper->due_ms)
        return;
    sweeper->due_ms = now_ms + (period_s > LOOK_LEAST_S ? period_s : LOOK_LEAST_S) * 1000;
    struct sweep_job *job = alloc_zero(1, sizeof(*job));
    job->sweeper = sweeper;
    job->broadcasts = settings_memory_broadcasts(settings_of(chat));
    job->over = table_create();
    job->before_ms = clock_wall_ms() - chat->config.settings_keep_s * 1000;
    sweeper->is_asking = table_count(job->broadcasts) > 0 && db_submit(chat->db, run, done, job) == 0;
    if (!sweeper->is_asking)
        free_job(job);
}
