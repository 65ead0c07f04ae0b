/* POST …/loves {"batch_id","count"}: taps that a client has added up. A page that is being left can send no header
 * (navigator.sendBeacon), so the token may stand in the body instead: {"token"}. */
#include "love_body.h"
#include "love_counter.h"

#include "libcommon/http_auth.h"

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

static bool authenticate(struct love_counter *counter, struct http_request *request, const char *token_in_body,
                         struct access_token *caller)
{
    if (http_request_header(request, "Authorization") || !token_in_body)
        return http_auth_require_known(request, counter->tokens, caller);
    return http_auth_require_text(request, counter->tokens, token_in_body, caller);
}

/* What is wrong has been answered. */
static bool check_batch(struct http_request *request, const json_t *json, struct love_body *body)
{
    const char *batch_id = json_string_value(json_object_get(json, "batch_id"));
    const json_t *count = json_object_get(json, "count");

    if (!batch_id || strlen(batch_id) > LOVE_BATCH_ID_MAX || !id_is_valid(batch_id)) {
        http_reply_error(request, 400, "invalid_batch_id", "batch_id is 1 to 64 of 0-9 A-Z a-z _ and -");
        return false;
    }
    if (!json_is_integer(count) || json_integer_value(count) < 1 || json_integer_value(count) > LOVE_COUNT_MAX) {
        http_reply_error(request, 400, "invalid_count", "count is a number from 1 to 1000");
        return false;
    }
    strcpy(body->batch_id, batch_id);
    body->count = (int)json_integer_value(count);
    return true;
}

/* In this order: who it is, then what is wrong with the batch. */
static bool read_request(struct love_counter *counter, struct http_request *request, struct access_token *caller,
                         struct love_body *body)
{
    size_t len;
    const char *text = http_request_body(request, &len);

    if (love_body_read(text, len, body))
        return authenticate(counter, request, NULL, caller);
    const json_t *json = http_request_json(request);
    return json && authenticate(counter, request, json_string_value(json_object_get(json, "token")), caller) &&
           check_batch(request, json, body);
}

void handle_loves_post(struct http_request *request, void *context)
{
    struct love_counter *counter = context;
    const char *id = love_require_broadcast(request);
    struct access_token caller;
    struct love_body body;

    if (id && read_request(counter, request, &caller, &body))
        batch_writer_add(counter->writer, request,
                         &(struct love_batch){.broadcast = id,
                                              .user = caller.subject,
                                              .name = caller.name,
                                              .batch_id = body.batch_id,
                                              .count = body.count});
}
