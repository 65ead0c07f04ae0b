/* GET /api/v1/broadcasts/{id}/supporters?limit=: who gave most, and what all gave together. */

#include "live_api.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_page.h"

#include <stdlib.h>
#include <string.h>

struct supporters_job {
    struct http_request *request;
    char id[ID_SIZE];
    struct http_page page;
    json_t *ranking;
    bool found;
    int64_t coins;
    int code;
};

/* 0 rows: no broadcast; else what it was given. */
static int load_total(struct db_connection *connection, struct supporters_job *job)
{
    struct db_result *result = NULL;
    int code = db_query(connection,
                        "SELECT (SELECT COALESCE(SUM(s.coins), 0) FROM supporters s WHERE s.broadcast_id = ?) FROM "
                        "broadcasts b WHERE b.id = ?",
                        DB_PARAMS(db_str(job->id), db_str(job->id)), 1, &result);

    job->found = code == 0 && db_result_rows(result) == 1;
    if (job->found)
        job->coins = db_result_int(result, 0, 0);
    db_result_free(result);
    return code;
}

static void run(struct db_connection *connection, void *context)
{
    struct supporters_job *job = context;
    struct db_result *result = NULL;

    job->code = load_total(connection, job);
    if (job->code == 0 && job->found)
        job->code = db_query(connection,
                             "SELECT user_id, user_name, coins, gifts FROM supporters WHERE broadcast_id = ? ORDER BY "
                             "coins DESC, user_id LIMIT ?",
                             DB_PARAMS(db_str(job->id), db_int((int64_t)job->page.limit)), job->page.limit, &result);
    for (size_t row = 0; job->code == 0 && result && row < db_result_rows(result); row++)
        json_array_append_new(job->ranking, json_pack("{s:s,s:s,s:I,s:I}", "user_id", db_result_value(result, row, 0),
                                                      "name", db_result_value(result, row, 1), "coins",
                                                      (json_int_t)db_result_int(result, row, 2), "gifts",
                                                      (json_int_t)db_result_int(result, row, 3)));
    db_result_free(result);
}

static void done(int code, void *context)
{
    struct supporters_job *job = context;

    if (code != 0 || job->code != 0)
        reply_unavailable(job->request, "the database");
    else if (!job->found)
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
    else
        http_reply_json(job->request, 200,
                        json_pack("{s:I,s:O}", "coins", (json_int_t)job->coins, "ranking", job->ranking));
    json_decref(job->ranking);
    free(job);
}

void handle_supporters(struct http_request *request, void *context)
{
    const char *id = require_broadcast_id(request);
    struct http_page page;

    if (!id || !http_page_parse(request, &page))
        return;
    struct supporters_job *job = alloc_zero(1, sizeof(*job));
    job->request = request;
    job->page = page;
    job->ranking = json_array();
    strcpy(job->id, id);
    if (live_api_submit(context, run, done, job) != 0)
        done(DB_FULL, job);
}
