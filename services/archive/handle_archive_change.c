/* PATCH /api/v1/archives/{id} {"visibility"} and DELETE: by the owner or an operator. A deletion is a state first; the
 * sweeper takes the objects and rows away (archive_sweeper.c). */
#include "archive_http.h"
#include "archive_view.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"
#include "proto/scripts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct change_job {
    struct archive *archive;
    struct http_request *request;
    struct access_token caller;
    const char *visibility; /* NULL: delete */
    struct archive_view view;
    bool found, is_allowed, is_done;
    int code;
};

static int change(struct db_connection *connection, struct change_job *job)
{
    int code;

    if (!job->visibility)
        return db_exec(connection,
                       "UPDATE archives SET state = 'deleting' WHERE broadcast_id = ? AND state = 'archived'",
                       DB_PARAMS(db_str(job->view.id)));
    code = db_exec(connection, "UPDATE archives SET visibility = ? WHERE broadcast_id = ? AND state <> 'deleting'",
                   DB_PARAMS(db_str(job->visibility), db_str(job->view.id)));
    job->view.is_private = strcmp(job->visibility, "private") == 0;
    return code;
}

static void run(struct db_connection *connection, void *context)
{
    struct change_job *job = context;
    char id[ID_SIZE];

    memcpy(id, job->view.id, sizeof(id));
    job->code = archive_view_load(connection, id, &job->view, &job->found);
    if (job->code != 0 || !job->found || !archive_view_exists(&job->view))
        return;
    job->is_allowed = archive_view_is_owner(&job->view, &job->caller, true);
    job->is_done = job->view.row_state == ARCHIVE_ROW_ARCHIVED;
    if (job->is_allowed && job->is_done)
        job->code = change(connection, job);
}

static void on_told(int code, const struct redisReply *reply, void *context)
{
    struct change_job *job = context;
    char token[ARCHIVE_TOKEN_SIZE];

    if (code != 0) {
        /* The row has it; the hash, which live-api answers from, has not: the caller repeats it. */
        archive_reply_unavailable(job->request, "Redis");
    } else {
        archive_token_make(job->archive, job->view.id, token);
        http_reply_json(job->request, 200,
                        archive_view_to_json(job->archive, &job->view, job->view.is_private ? token : NULL, true));
    }
    free(job);
}

/* Takes the job. */
static void answer_done(struct change_job *job)
{
    log_info(job->visibility ? "archive.visibility_changed" : "archive.deletion_asked",
             log_str("broadcast", job->view.id), log_str("by", job->caller.subject),
             log_str("visibility", job->visibility));
    if (!job->visibility) {
        http_reply_json(job->request, 202, json_pack("{s:s,s:s}", "id", job->view.id, "state", "deleting"));
        free(job);
        return;
    }
    redis_link_script(job->archive->state, &script_broadcast_visibility, on_told, job, 2,
                      (const char *[]){job->view.id, job->visibility}, NULL);
}

static void done(int code, void *context)
{
    struct change_job *job = context;

    if (code != 0 || job->code != 0)
        archive_reply_unavailable(job->request, "the database");
    else if (!job->found || !archive_view_exists(&job->view))
        archive_reply_missing(job->request);
    else if (!job->is_allowed)
        http_reply_error(job->request, 403, "not_the_owner", "only the broadcast's owner may do this");
    else if (!job->is_done)
        http_reply_error(job->request, 409, "not_archived", "the archive does not stand yet");
    else {
        answer_done(job);
        return;
    }
    free(job);
}

static void begin(struct archive *archive, struct http_request *request, const struct access_token *caller,
                  const char *id, const char *visibility)
{
    struct change_job *job = alloc_zero(1, sizeof(*job));

    job->archive = archive;
    job->request = request;
    job->caller = *caller;
    job->visibility = visibility;
    snprintf(job->view.id, sizeof(job->view.id), "%s", id);
    if (archive_submit(archive, run, done, job) != 0)
        done(DB_FULL, job);
}

void handle_archive_patch(struct http_request *request, void *context)
{
    struct archive *archive = context;
    struct access_token caller;
    const char *id, *wanted;
    const json_t *body;

    if (!http_auth_require(request, archive->config.jwt_secret, &caller) || !(id = archive_require_id(request)) ||
        !(body = http_request_json(request)))
        return;
    wanted = json_string_value(json_object_get(body, "visibility"));
    if (wanted && strcmp(wanted, "public") == 0)
        begin(archive, request, &caller, id, "public");
    else if (wanted && strcmp(wanted, "private") == 0)
        begin(archive, request, &caller, id, "private");
    else
        http_reply_error(request, 400, "invalid_value", "visibility must be public or private");
}

void handle_archive_delete(struct http_request *request, void *context)
{
    struct archive *archive = context;
    struct access_token caller;
    const char *id;

    if (http_auth_require(request, archive->config.jwt_secret, &caller) && (id = archive_require_id(request)))
        begin(archive, request, &caller, id, NULL);
}
