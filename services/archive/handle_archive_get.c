/* GET /api/v1/archives/{id}?token=: one archive, also while it is being made. A private one is there for its owner, for
 * operators and for who has its token; for anybody else there is no such archive. */
#include "archive_http.h"
#include "archive_view.h"
#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct get_job {
    struct archive *archive;
    struct http_request *request;
    struct access_token caller;
    struct archive_view view;
    bool has_token; /* a good one, of this archive */
    bool found;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct get_job *job = context;
    char id[ID_SIZE];

    memcpy(id, job->view.id, sizeof(id));
    job->code = archive_view_load(connection, id, &job->view, &job->found);
}

static void done(int code, void *context)
{
    struct get_job *job = context;
    bool is_owner = archive_view_is_owner(&job->view, &job->caller, true);
    char token[ARCHIVE_TOKEN_SIZE];

    if (code != 0 || job->code != 0) {
        archive_reply_unavailable(job->request, "the database");
    } else if (!job->found || !archive_view_exists(&job->view) ||
               (job->view.is_private && !is_owner && !job->has_token)) {
        archive_reply_missing(job->request);
    } else {
        archive_token_make(job->archive, job->view.id, token);
        http_reply_header(job->request, "Cache-Control", "no-store");
        http_reply_json(job->request, 200,
                        archive_view_to_json(job->archive, &job->view, job->view.is_private ? token : NULL, is_owner));
    }
    free(job);
}

void handle_archive_get(struct http_request *request, void *context)
{
    struct archive *archive = context;
    const char *id = archive_require_id(request), *token = http_request_query(request, "token");
    struct access_token caller;
    char opened[ID_SIZE];

    if (!id || !http_auth_optional(request, archive->config.jwt_secret, &caller))
        return;
    struct get_job *job = alloc_zero(1, sizeof(*job));
    job->archive = archive;
    job->request = request;
    job->caller = caller;
    job->has_token = token && archive_token_open(archive, token, opened) == 0 && strcmp(opened, id) == 0;
    snprintf(job->view.id, sizeof(job->view.id), "%s", id);
    if (archive_submit(archive, run, done, job) != 0)
        done(DB_FULL, job);
}
