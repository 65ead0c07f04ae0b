/* How each server is spoken to: ours, nchan's "pubsub websocket" location, engine.io over WebSocket. */
#include "load.h"

#include <string.h>

static int compose_hanabi(char *out, size_t size, const char *ref, long number, const char *text)
{
    return snprintf(out, size, "{\"type\":\"comment\",\"ref\":\"%s\",\"text\":\"%s\"}", ref, text);
}

/* Whoever publishes through nchan makes the whole event: as long as the others' servers make it. */
static int compose_nchan(char *out, size_t size, const char *ref, long number, const char *text)
{
    long long at_ms = clock_ns(CLOCK_REALTIME) / 1000000;

    return snprintf(
        out, size,
        "{\"id\":\"%lld-0\",\"at_ms\":%lld,\"type\":\"comment\",\"user\":{\"id\":\"load%ld\",\"name\":\"load "
        "%ld\"},\"text\":\"%s\"}",
        at_ms, at_ms, number, number, text);
}

static int compose_socketio(char *out, size_t size, const char *ref, long number, const char *text)
{
    return snprintf(out, size, "42[\"comment\",\"%s\"]", text);
}

const struct protocol *protocol_find(const char *name)
{
    static const struct protocol protocols[] = {
        {"hanabi", "{\"type\":\"hello\"", NULL, NULL, compose_hanabi},
        {"nchan", NULL, NULL, NULL, compose_nchan},
        {"socketio", "0{\"sid\"", "40", "40{\"sid\"", compose_socketio},
    };

    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (strcmp(protocols[i].name, name) == 0)
            return &protocols[i];
    return NULL;
}
