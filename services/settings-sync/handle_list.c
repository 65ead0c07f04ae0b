/* What has been set: the caller's own settings, and the operation log of notices. */
#include "settings_sync.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ROWS 1000

struct list_job {
    struct http_request *request;
    char subject[ID_SIZE];
    bool notices;
    struct db_result *result;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct list_job *job = context;

    if (job->notices)
        job->code = db_query(connection,
                             "SELECT kind, object, value, version, updated_by, updated_at_ms FROM settings"
                             " WHERE kind = 'notice' ORDER BY version DESC LIMIT 100",
                             NULL, 0, MAX_ROWS, &job->result);
    else
        job->code = db_query(connection,
                             "SELECT kind, object, value, version, updated_by, updated_at_ms FROM settings"
                             " WHERE kind IN ('decoration', 'block', 'words') AND subject = ? AND value IS NOT NULL"
                             " ORDER BY version LIMIT 1000",
                             DB_PARAMS(db_str(job->subject)), MAX_ROWS, &job->result);
}

static json_t *rows_to_json(const struct db_result *result)
{
    json_t *list = json_array();

    for (size_t row = 0; row < db_result_rows(result); row++) {
        json_t *value = json_loads(db_result_value(result, row, 2), 0, NULL);

        json_array_append_new(list, json_pack("{s:s,s:s,s:o?,s:I,s:s,s:I}", "kind", db_result_value(result, row, 0),
                                              "object", db_result_value(result, row, 1), "value", value, "version",
                                              (json_int_t)db_result_int(result, row, 3), "by",
                                              db_result_value(result, row, 4), "at_ms",
                                              (json_int_t)db_result_int(result, row, 5)));
    }
    return list;
}

static void done(int code, void *context)
{
    struct list_job *job = context;

    if (code == 0 && job->code == 0) {
        http_reply_json(job->request, 200,
                        json_pack("{s:o}", job->notices ? "notices" : "settings", rows_to_json(job->result)));
    } else {
        http_reply_header(job->request, "Retry-After", "2");
        http_reply_error(job->request, 503, "database_unavailable", "the list cannot be read right now: try again");
    }
    db_result_free(job->result);
    free(job);
}

static void submit(struct settings_sync *sync, struct http_request *request, const char *subject, bool notices)
{
    struct list_job *job = alloc_zero(1, sizeof(*job));

    job->request = request;
    job->notices = notices;
    strcpy(job->subject, subject);
    if (db_submit(sync->db, run, done, job) != 0)
        done(DB_FULL, job);
}

void handle_settings_get(struct http_request *request, void *context)
{
    struct settings_sync *sync = context;
    struct access_token caller;

    if (http_auth_require(request, sync->config.jwt_secret, &caller))
        submit(sync, request, caller.subject, false);
}

void handle_notices_get(struct http_request *request, void *context)
{
    struct settings_sync *sync = context;
    struct access_token caller;

    if (!http_auth_require(request, sync->config.jwt_secret, &caller))
        return;
    if (strcmp(caller.role, "operator") != 0)
        http_reply_error(request, 403, "not_an_operator", "only operators may do this");
    else
        submit(sync, request, "", true);
}
