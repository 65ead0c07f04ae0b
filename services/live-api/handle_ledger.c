/* GET /api/v1/wallet/ledger: what came into the caller's wallet and went out of it, newest first. GET
 * /api/v1/ledger/audit: whether everything adds up; operators only, since it reads all there is. */
#include "wallet.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/http_page.h"
#include "libcommon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MAX 100

struct ledger_job {
    struct http_request *request;
    struct access_token caller;
    struct http_page page;
    json_t *list;
    bool more;
    int64_t last;
    int code;
};

static struct ledger_job *make_job(struct http_request *request)
{
    struct ledger_job *job = alloc_zero(1, sizeof(*job));

    job->request = request;
    job->list = json_array();
    return job;
}

static void free_job(struct ledger_job *job)
{
    json_decref(job->list);
    free(job);
}

/* --- a wallet's entries --- */

static void run_list(struct db_connection *connection, void *context)
{
    struct ledger_job *job = context;
    struct db_result *result = NULL;
    char account[80];

    snprintf(account, sizeof(account), "user:%s", job->caller.subject);
    job->code = db_query(connection,
                         "SELECT t.id, t.kind, t.reference, e.coins, t.created_at_ms FROM ledger_entries e JOIN "
                         "ledger_transactions t ON t.id = e.transaction_id WHERE e.account = ? AND e.transaction_id < "
                         "? ORDER BY e.transaction_id DESC LIMIT ?",
                         DB_PARAMS(db_str(account), db_int(job->page.before), db_int((int64_t)job->page.limit + 1)),
                         job->page.limit + 1, &result);
    size_t count = job->code == 0 ? db_result_rows(result) : 0;
    job->more = count > job->page.limit;
    for (size_t row = 0; row < count && row < job->page.limit; row++) {
        job->last = db_result_int(result, row, 0);
        json_array_append_new(job->list,
                              json_pack("{s:s,s:s,s:s,s:I,s:I}", "id", db_result_value(result, row, 0), "kind",
                                        db_result_value(result, row, 1), "reference", db_result_value(result, row, 2),
                                        "coins", (json_int_t)db_result_int(result, row, 3), "at_ms",
                                        (json_int_t)db_result_int(result, row, 4)));
    }
    db_result_free(result);
}

static void list_done(int code, void *context)
{
    struct ledger_job *job = context;

    if (code != 0 || job->code != 0)
        reply_unavailable(job->request, "the database");
    else
        http_reply_json(job->request, 200,
                        http_page_to_json("entries", json_incref(job->list), job->more, job->last, ""));
    free_job(job);
}

void handle_ledger_list(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    struct http_page page;

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !http_page_parse(request, &page))
        return;
    struct ledger_job *job = make_job(request);
    job->caller = caller;
    job->page = page;
    if (live_api_submit(api, run_list, list_done, job) != 0)
        list_done(DB_FULL, job);
}

/* --- the audit --- */

static void run_audit(struct db_connection *connection, void *context)
{
    struct ledger_job *job = context;
    struct db_result *result = NULL;

    job->code = db_query(connection, "SELECT fault, id, off_by FROM ledger_faults LIMIT ?",
                         DB_PARAMS(db_int(FAULTS_MAX)), FAULTS_MAX, &result);
    for (size_t row = 0; job->code == 0 && row < db_result_rows(result); row++)
        json_array_append_new(job->list, json_pack("{s:s,s:s,s:I}", "fault", db_result_value(result, row, 0), "id",
                                                   db_result_value(result, row, 1), "off_by",
                                                   (json_int_t)db_result_int(result, row, 2)));
    db_result_free(result);
}

static void audit_done(int code, void *context)
{
    struct ledger_job *job = context;
    size_t faults = json_array_size(job->list);

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
    } else {
        if (faults > 0)
            log_error("ledger.faulty", log_int("faults", (int64_t)faults));
        http_reply_json(job->request, 200, json_pack("{s:b,s:O}", "balanced", faults == 0, "faults", job->list));
    }
    free_job(job);
}

void handle_ledger_audit(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;

    if (!http_auth_require(request, api->config.jwt_secret, &caller))
        return;
    if (strcmp(caller.role, "operator") != 0) {
        http_reply_error(request, 403, "operators_only", "only an operator may do this");
        return;
    }
    struct ledger_job *job = make_job(request);
    if (live_api_submit(api, run_audit, audit_done, job) != 0)
        audit_done(DB_FULL, job);
}
