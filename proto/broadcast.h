/* A broadcast's state, its hash in Redis and the event that says it changed.
 *
 *     scheduled -> live <-> suspended -> ended -> archived        (scheduled -> ended too)
 *
 * Every change goes through a script of proto/scripts.h: compare, set, version + 1, PUBLISH, in one atomic step.
 * Versions begin at Redis' time in ms and rise, so that they keep rising when Redis comes back empty and a broadcast is
 * restored.
 *
 * Fields of the hash KEY_BROADCAST<id>:
 *   state, version
 *   title, owner_id, owner_name, created_at_ms
 *   key_hash        SHA-256 of the stream key, hex; "": MySQL is to be asked
 *   key_version     number of that key in MySQL; a key takes the place of those with a lower number only
 *   visibility      "private" when its archive is; else "public" or absent
 *   grace_ms        how long a suspended broadcast waits for its publisher
 *   session         number of the publishing session, rises with each connect
 *   connected       1 while that session's connection stands, as far as is known
 *   ingest          instance that has the session
 *   media_at_ms     when media last arrived (Redis' clock, written about twice a second)
 *   live_at_ms      first live;  suspended_at_ms, ended_at_ms, archived_at_ms: last time;  reason: of the last change
 */
#pragma once

#include "libcommon/request_scope.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum broadcast_state {
    BROADCAST_UNKNOWN,
    BROADCAST_SCHEDULED,
    BROADCAST_LIVE,
    BROADCAST_SUSPENDED,
    BROADCAST_ENDED,
    BROADCAST_ARCHIVED,
};

#define ID_SIZE 65 /* of every id, with its NUL */

#define BROADCAST_SILENCE_MS 3000 /* live without media for this long: suspended */
#define SESSION_SILENT_MS    2000 /* a session without media for this long may be taken over */

const char *broadcast_state_name(enum broadcast_state state);
enum broadcast_state broadcast_state_from_name(const char *name); /* BROADCAST_UNKNOWN for anything else */

/* 1 to 64 of [0-9A-Za-z_-]: safe in keys, paths and URLs. Check every id that comes from outside. */
bool id_is_valid(const char *id);

struct broadcast_state_event {
    char id[ID_SIZE];
    enum broadcast_state state;
    int64_t version;
    int64_t at_ms;
    char reason[32]; /* "", "publisher_gone", "silence", "segment", "grace", "owner", "restored", … */
    char request_id[REQUEST_ID_SIZE]; /* of the request that it follows from; "": of none */
};

/* 0, or -1: not a state event. `message` is what came over CHANNEL_BROADCAST. */
int broadcast_state_event_parse(const char *message, size_t len_bytes, struct broadcast_state_event *event);

/* A message of CHANNEL_STREAM. */
enum stream_event_type { STREAM_OPENED, STREAM_REPLACED, STREAM_CLOSED };
struct stream_event {
    enum stream_event_type type;
    char id[ID_SIZE];
    int64_t session;
    char ingest[128]; /* may be empty for STREAM_CLOSED */
};
int stream_event_parse(const char *message, size_t len_bytes, struct stream_event *event);
