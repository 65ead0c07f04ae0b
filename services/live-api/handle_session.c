/* POST /api/v1/sessions: a token for anyone who asks, in local mode only. Real deployments bring tokens of their own,
 * signed with the same secret. */
#include "live_api.h"

#include "broadcast_row.h"
#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/random_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct session_job {
    struct live_api *api;
    struct http_request *request;
    struct access_token token;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct session_job *job = context;

    job->code = user_row_insert(connection, job->token.subject, job->token.name, job->token.role, clock_wall_ms());
}

/* The token is good whether or not the row could be written: whatever needs the row makes it. */
static void done(int code, void *context)
{
    struct session_job *job = context;
    char *text = access_token_sign(&job->token, job->api->config.jwt_secret);

    if (text)
        http_reply_json(job->request, 201,
                        json_pack("{s:s,s:s,s:s,s:s,s:I}", "user_id", job->token.subject, "token", text, "name",
                                  job->token.name, "role", job->token.role, "expires_at_ms",
                                  (json_int_t)job->token.expires_s * 1000));
    else
        http_reply_error(job->request, 500, "out_of_memory", "the token could not be made");
    free(text);
    free(job);
}

void handle_session_post(struct http_request *request, void *context)
{
    struct live_api *api = context;
    const json_t *body;
    const char *name, *role;
    char id[RANDOM_ID_SIZE];

    if (!api->config.local_mode) {
        http_reply_error(request, 403, "not_in_local_mode",
                         "sessions are given out by the identity provider, not here");
        return;
    }
    if (!(body = http_request_json(request)) || !(name = require_text(request, body, "name", NAME_MAX_CHARS)))
        return;
    role = json_string_value(json_object_get(body, "role"));
    if (json_object_get(body, "role") && (!role || (strcmp(role, "viewer") != 0 && strcmp(role, "operator") != 0))) {
        http_reply_error(request, 400, "invalid_value", "role must be viewer or operator");
        return;
    }
    struct session_job *job = alloc_zero(1, sizeof(*job));
    job->api = api;
    job->request = request;
    random_id(id);
    snprintf(job->token.subject, sizeof(job->token.subject), "%s", id);
    snprintf(job->token.name, sizeof(job->token.name), "%s", name);
    snprintf(job->token.role, sizeof(job->token.role), "%s", role ? role : "viewer");
    job->token.expires_s = clock_wall_ms() / 1000 + api->config.token_s;
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
