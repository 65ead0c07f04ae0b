/* Names and messages of a broadcast's life; see broadcast.h. */
#include "proto/broadcast.h"

#include "libcommon/json_member.h"

#include <stdio.h>
#include <string.h>

static const char *const state_names[] = {
    [BROADCAST_UNKNOWN] = "unknown",     [BROADCAST_SCHEDULED] = "scheduled", [BROADCAST_LIVE] = "live",
    [BROADCAST_SUSPENDED] = "suspended", [BROADCAST_ENDED] = "ended",         [BROADCAST_ARCHIVED] = "archived",
};

const char *broadcast_state_name(enum broadcast_state state)
{
    return state_names[state];
}

enum broadcast_state broadcast_state_from_name(const char *name)
{
    for (int state = BROADCAST_SCHEDULED; name && state <= BROADCAST_ARCHIVED; state++)
        if (strcmp(name, state_names[state]) == 0)
            return (enum broadcast_state)state;
    return BROADCAST_UNKNOWN;
}

bool id_is_valid(const char *id)
{
    size_t len = id ? strnlen(id, ID_SIZE) : 0;
    return len > 0 && len < ID_SIZE &&
           strspn(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == len;
}

int broadcast_state_event_parse(const char *message, size_t len_bytes, struct broadcast_state_event *event)
{
    int result = -1;
    json_t *root = json_loadb(message, len_bytes, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));

    memset(event, 0, sizeof(*event));
    if (!type || strcmp(type, "state") != 0 ||
        json_member_whole(root, "version", 0, JSON_WHOLE_MAX, &event->version) != 0 ||
        json_member_string(root, "id", event->id, sizeof(event->id)) != 0 || !id_is_valid(event->id))
        goto out;
    event->state = broadcast_state_from_name(json_string_value(json_object_get(root, "state")));
    if (event->state == BROADCAST_UNKNOWN)
        goto out;
    (void)json_member_whole(root, "at_ms", 0, JSON_WHOLE_MAX, &event->at_ms);
    (void)json_member_string(root, "reason", event->reason, sizeof(event->reason));
    if (json_member_string(root, "request_id", event->request_id, sizeof(event->request_id)) == 0 &&
        !request_id_is_valid(event->request_id))
        event->request_id[0] = '\0';
    result = 0;
out:
    json_decref(root);
    return result;
}

int stream_event_parse(const char *message, size_t len_bytes, struct stream_event *event)
{
    static const struct {
        const char *name;
        enum stream_event_type type;
    } types[] = {
        {"stream.opened", STREAM_OPENED}, {"stream.replaced", STREAM_REPLACED}, {"stream.closed", STREAM_CLOSED}};
    int result = -1;
    json_t *root = json_loadb(message, len_bytes, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));

    memset(event, 0, sizeof(*event));
    if (!type || json_member_whole(root, "session", 0, JSON_WHOLE_MAX, &event->session) != 0 ||
        json_member_string(root, "id", event->id, sizeof(event->id)) != 0 || !id_is_valid(event->id))
        goto out;
    (void)json_member_string(root, "ingest", event->ingest, sizeof(event->ingest));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(type, types[i].name) == 0) {
            event->type = types[i].type;
            result = 0;
        }
    }
out:
    json_decref(root);
    return result;
}
