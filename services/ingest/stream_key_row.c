/* See stream_key_row.h. */
#include "services/ingest/stream_key_row.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"

#include <stdio.h>

#define FIND_BY                                                                                                        \
    "SELECT b.id, b.owner_id, b.title, b.state, b.grace_ms, b.created_at_ms, b.live_at_ms, u.name,"                    \
    " b.stream_key_hash, b.stream_key_version FROM broadcasts b LEFT JOIN users u ON u.id = b.owner_id WHERE "

struct find_job {
    const char *sql;
    char by[65]; /* its one parameter */
    struct session session;
    enum stream_key_found found;
    stream_key_row_fn callback;
    void *context;
};

#define COPY(field, value) snprintf((field), sizeof(field), "%s", (value) ? (value) : "")

static void read_row(struct find_job *job, const struct db_result *result)
{
    struct session *session = &job->session;
    const char *state = db_result_value(result, 0, 3);

    COPY(session->id, db_result_value(result, 0, 0));
    COPY(session->owner_id, db_result_value(result, 0, 1));
    COPY(session->title, db_result_value(result, 0, 2));
    COPY(session->grace_ms, db_result_value(result, 0, 4));
    COPY(session->created_at_ms, db_result_value(result, 0, 5));
    snprintf(session->live_at_ms, sizeof(session->live_at_ms), "%lld", (long long)db_result_int(result, 0, 6));
    COPY(session->owner_name, db_result_value(result, 0, 7));
    COPY(session->key_hash, db_result_value(result, 0, 8));
    COPY(session->key_version, db_result_value(result, 0, 9));

    enum broadcast_state known = broadcast_state_from_name(state ? state : "");
    session->was_live = known == BROADCAST_LIVE || known == BROADCAST_SUSPENDED;
    if (id_is_valid(session->id) && (session->was_live || known == BROADCAST_SCHEDULED))
        job->found = STREAM_KEY_FOUND;
    else
        job->found = STREAM_KEY_UNKNOWN;
}

static void run_find(struct db_connection *connection, void *context)
{
    struct find_job *job = context;
    struct db_result *result = NULL;
    int code = db_query(connection, job->sql, DB_PARAMS(db_str(job->by)), 1, &result);

    if (code == 0 && db_result_rows(result) == 1)
        read_row(job, result);
    else if (code == 0)
        job->found = STREAM_KEY_UNKNOWN;
    db_result_free(result);
}

static void on_found(int code, void *context)
{
    struct find_job *job = context;

    job->callback(code == 0 ? job->found : STREAM_KEY_NOT_ANSWERED, &job->session, job->context);
    free(job);
}

static int find(struct db *db, const char *sql, const char *by, stream_key_row_fn callback, void *context)
{
    struct find_job *job = alloc_zero(1, sizeof(*job));

    job->sql = sql;
    COPY(job->by, by);
    job->found = STREAM_KEY_NOT_ANSWERED;
    job->callback = callback;
    job->context = context;
    if (db_submit(db, run_find, on_found, job) == 0)
        return 0;
    free(job);
    return -1;
}

int stream_key_row_find(struct db *db, const char *key_hash, stream_key_row_fn callback, void *context)
{
    return find(db, FIND_BY "b.stream_key_hash = ?", key_hash, callback, context);
}

int stream_key_row_find_newest(struct db *db, const char *id, stream_key_row_fn callback, void *context)
{
    return find(db, FIND_BY "b.id = ?", id, callback, context);
}
