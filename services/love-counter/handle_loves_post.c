/* POST …/loves {"batch_id","count"}: taps that a client has added up. A page that is being left can send no header
 * (navigator.sendBeacon), so the token may stand in the body instead: {"token"}. */
#include "love_counter.h"

#include "libcommon/clock.h"
#include "libcommon/http_auth.h"
#include "libcommon/token_memory.h"

#include <stdio.h>
#include <string.h>

const char *love_require_broadcast(struct http_request *request)
{
    const char *id = http_request_param(request, "id");

    if (id && id_is_valid(id))
        return id;
    http_reply_error(request, 404, "not_found", "there is no broadcast with this id");
    return NULL;
}

void love_reply_unavailable(struct http_request *request, const char *what)
{
    char message[120];

    snprintf(message, sizeof(message), "%s cannot be counted right now: send the same again", what);
    http_reply_header(request, "Retry-After", "1");
    http_reply_error(request, 503, "unavailable", message);
}

static bool authenticate(struct love_counter *counter, struct http_request *request, const json_t *body,
                         struct access_token *caller)
{
    const char *token = json_string_value(json_object_get(body, "token"));

    if (http_request_header(request, "Authorization") || !token) {
        if (!http_auth_require_known(request, counter->tokens, caller))
            return false;
    } else {
        int error = token_memory_verify(counter->tokens, token, clock_wall_ms() / 1000, caller);

        if (error != 0) {
            http_reply_error(request, 401, access_token_error_code(error), "the token in the body is not valid");
            return false;
        }
    }
    if (id_is_valid(caller->subject))
        return true;
    http_reply_error(request, 401, access_token_error_code(ACCESS_TOKEN_FORGED),
                     "the token's subject is not one of our ids");
    return false;
}

void handle_loves_post(struct http_request *request, void *context)
{
    struct love_counter *counter = context;
    const char *id = love_require_broadcast(request);
    const json_t *body = id ? http_request_json(request) : NULL;
    struct access_token caller;
    struct love_batch batch;

    if (!body || !authenticate(counter, request, body, &caller))
        return;
    const char *batch_id = json_string_value(json_object_get(body, "batch_id"));
    const json_t *count = json_object_get(body, "count");
    if (!batch_id || strlen(batch_id) > LOVE_BATCH_ID_MAX || !id_is_valid(batch_id)) {
        http_reply_error(request, 400, "invalid_batch_id", "batch_id is 1 to 64 of 0-9 A-Z a-z _ and -");
        return;
    }
    if (!json_is_integer(count) || json_integer_value(count) < 1 || json_integer_value(count) > LOVE_COUNT_MAX) {
        http_reply_error(request, 400, "invalid_count", "count is a number from 1 to 1000");
        return;
    }
    /* All of them fit: their lengths were checked above. */
    strcpy(batch.broadcast, id);
    strcpy(batch.user, caller.subject);
    strcpy(batch.name, caller.name);
    strcpy(batch.batch_id, batch_id);
    batch.count = (int)json_integer_value(count);
    batch_writer_add(counter->writer, request, &batch);
}
