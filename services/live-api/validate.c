/* What callers send, checked in one place and refused in the same words. */
#include "live_api.h"

#include <stdio.h>
#include <string.h>

/* jansson has checked that it is UTF-8. */
static size_t count_chars(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

const char *require_text(struct http_request *request, const json_t *body, const char *name, size_t max_chars)
{
    const char *text = json_string_value(json_object_get(body, name));
    char message[120];

    if (text && text[strspn(text, " ")] && !has_control(text) && count_chars(text) <= max_chars)
        return text;
    snprintf(message, sizeof(message), "%s must be text of 1 to %zu characters", name, max_chars);
    http_reply_error(request, 400, "invalid_value", message);
    return NULL;
}

const char *require_broadcast_id(struct http_request *request)
{
    const char *id = http_request_param(request, "id");

    if (id_is_valid(id))
        return id;
    http_reply_error(request, 404, "no_such_broadcast", "there is no broadcast with this id");
    return NULL;
}

bool require_owner(struct http_request *request, const struct access_token *caller, const char *owner_id,
                   bool or_operator)
{
    if (strcmp(caller->subject, owner_id) == 0 || (or_operator && strcmp(caller->role, "operator") == 0))
        return true;
    http_reply_error(request, 403, "not_the_owner", "only the broadcast's owner may do this");
    return false;
}

void reply_unavailable(struct http_request *request, const char *what)
{
    char message[120];

    snprintf(message, sizeof(message), "%s cannot be reached right now: try again", what);
    http_reply_header(request, "Retry-After", "2");
    http_reply_error(request, 503, "unavailable", message);
}
