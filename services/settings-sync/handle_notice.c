/* Notices of the operators: shown once to every connected viewer; the rows are the operation log that /cms lists. */
#include "settings_sync.h"

#include "libcommon/http_auth.h"
#include "libcommon/random_id.h"

#include <string.h>

static bool is_operator(struct http_request *request, const struct access_token *caller)
{
    if (strcmp(caller->role, "operator") == 0)
        return true;
    http_reply_error(request, 403, "not_an_operator", "only operators may do this");
    return false;
}

void handle_notice_post(struct http_request *request, void *context)
{
    struct settings_sync *sync = context;
    struct setting_change change = {.kind = setting_kind_of(SETTING_NOTICE), .success_status = 201};
    struct access_token caller;
    const json_t *body;
    char id[RANDOM_ID_SIZE], why[200];

    if (!http_auth_require(request, sync->config.jwt_secret, &caller) || !is_operator(request, &caller) ||
        !(body = http_request_json(request)))
        return;
    json_t *value = json_pack("{s:O?,s:s}", "text", json_object_get(body, "text"), "by", caller.subject);
    if (!change.kind->validate(value, why, sizeof(why))) {
        json_decref(value);
        http_reply_error(request, 400, "invalid_value", why);
        return;
    }
    random_id(id);
    strcpy(change.object, id);
    strcpy(change.caller, caller.subject);
    change.value = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    setting_change_submit(sync, request, &change);
}
