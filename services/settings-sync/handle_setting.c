/* The endpoints that change one setting. They differ in who the subject is and where the value comes from; what they
 * have in common is begin_change(): caller, ids of the path, value checked by its kind. */
#include "settings_sync.h"

#include "libcommon/http_auth.h"

#include <string.h>

enum subject_from { CALLER, BROADCAST_OF_PATH };

/* Fills `change` for a request; false: it has been answered. `value` is borrowed; NULL deletes. */
static bool begin_change(struct http_request *request, struct settings_sync *sync, enum setting_kind_id kind,
                         enum subject_from subject_from, const json_t *value, struct setting_change *change)
{
    struct access_token caller;
    const char *object = http_request_param(request, "user_id");
    char why[200];

    memset(change, 0, sizeof(*change));
    if (!http_auth_require(request, sync->config.jwt_secret, &caller))
        return false;
    const char *subject = subject_from == CALLER ? caller.subject : http_request_param(request, "id");
    if (!id_is_valid(subject) || (object && !id_is_valid(object))) {
        http_reply_error(request, 400, "invalid_id", "an id in the path is not one of ours");
        return false;
    }
    change->kind = setting_kind_of(kind);
    if (value && !change->kind->validate(value, why, sizeof(why))) {
        http_reply_error(request, 400, "invalid_value", why);
        return false;
    }
    strcpy(change->subject, subject);
    strcpy(change->object, object ? object : "");
    strcpy(change->caller, caller.subject);
    change->is_operator = strcmp(caller.role, "operator") == 0;
    change->allowed = subject_from == BROADCAST_OF_PATH ? allowed_to_owner_of_broadcast : NULL;
    change->success_status = 200;
    change->value = value ? json_dumps(value, JSON_COMPACT) : NULL;
    return true;
}

static void put(struct http_request *request, void *context, enum setting_kind_id kind, enum subject_from subject_from,
                const json_t *value)
{
    struct setting_change change;

    if (begin_change(request, context, kind, subject_from, value, &change))
        setting_change_submit(context, request, &change);
}

static void put_body(struct http_request *request, void *context, enum setting_kind_id kind,
                     enum subject_from subject_from)
{
    const json_t *value = http_request_json(request);

    if (value)
        put(request, context, kind, subject_from, value);
}

/* Of kinds that say all by being there. */
static void put_empty(struct http_request *request, void *context, enum setting_kind_id kind,
                      enum subject_from subject_from)
{
    json_t *value = json_object();

    put(request, context, kind, subject_from, value);
    json_decref(value);
}

void handle_decoration_put(struct http_request *request, void *context)
{
    put_body(request, context, SETTING_DECORATION, CALLER);
}

void handle_decoration_delete(struct http_request *request, void *context)
{
    put(request, context, SETTING_DECORATION, CALLER, NULL);
}

void handle_block_put(struct http_request *request, void *context)
{
    put_empty(request, context, SETTING_BLOCK, CALLER);
}

void handle_block_delete(struct http_request *request, void *context)
{
    put(request, context, SETTING_BLOCK, CALLER, NULL);
}

void handle_words_put(struct http_request *request, void *context)
{
    put_body(request, context, SETTING_WORDS, CALLER);
}

void handle_words_delete(struct http_request *request, void *context)
{
    put(request, context, SETTING_WORDS, CALLER, NULL);
}

void handle_mute_put(struct http_request *request, void *context)
{
    put_body(request, context, SETTING_MUTE, BROADCAST_OF_PATH);
}

void handle_mute_delete(struct http_request *request, void *context)
{
    put(request, context, SETTING_MUTE, BROADCAST_OF_PATH, NULL);
}

void handle_ban_put(struct http_request *request, void *context)
{
    put_empty(request, context, SETTING_BAN, BROADCAST_OF_PATH);
}

void handle_ban_delete(struct http_request *request, void *context)
{
    put(request, context, SETTING_BAN, BROADCAST_OF_PATH, NULL);
}

void handle_slow_mode_put(struct http_request *request, void *context)
{
    put_body(request, context, SETTING_SLOW_MODE, BROADCAST_OF_PATH);
}

void handle_slow_mode_delete(struct http_request *request, void *context)
{
    put(request, context, SETTING_SLOW_MODE, BROADCAST_OF_PATH, NULL);
}
