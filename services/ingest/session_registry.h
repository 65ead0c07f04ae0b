/* Who may publish, and whose broadcast is whose: stream keys to broadcasts, sessions opened, touched, closed and
 * restored through the scripts of proto/scripts.h; MySQL for keys that Redis does not know. Loop thread only. Callbacks
 * never run before the call that started them returns. */
#pragma once

#include "services/ingest/close_reason.h"

#include "proto/broadcast.h"

#include <stdbool.h>
#include <stdint.h>

struct db;
struct event_base;
struct redis_link;
struct session_registry;
struct session_opening;

/* An open session and what is needed to restore its broadcast should Redis lose it. */
struct session {
    char id[ID_SIZE];
    int64_t number;
    char key_hash[65], key_version[24]; /* of the newest stream key, as far as Redis has told us; decimal */
    char title[801], owner_id[ID_SIZE], owner_name[401];
    char grace_ms[24], created_at_ms[24], live_at_ms[24]; /* decimal; live_at_ms "0": never was */
    bool was_live;                                        /* restored as suspended then, else as scheduled */
};

struct session_registry *session_registry_create(struct event_base *loop, struct redis_link *state, struct db *db,
                                                 const char *instance);
/* Every opening must have been answered or cancelled; what is still under way is waited for by links and db. */
void session_registry_destroy(struct session_registry *registry);

/* CLOSE_NONE and the session (valid during the call), or why not: bad key, in use, unavailable, ended. A healthy
 * predecessor is waited for up to 2.5 s, since it may be silent without our knowing yet; so is a state Redis that is
 * away. */
typedef void (*session_opened_fn)(enum close_reason reason, const struct session *session, void *context);
struct session_opening *session_open(struct session_registry *registry, const char *stream_key,
                                     session_opened_fn callback, void *context);
/* The callback will not be called; a session that opens all the same is closed again. */
void session_open_cancel(struct session_opening *opening);
/* Redis has lost the broadcast: makes it again from memory and opens a new session of it. The same answers. Its stream
 * key is MySQL's newest, put there behind the session; the one in memory only if MySQL does not answer. */
struct session_opening *session_restore(struct session_registry *registry, const struct session *session,
                                        session_opened_fn callback, void *context);

/* SESSION_TOUCHED with a key: the owner has renewed it; the session goes on. */
enum session_touched { SESSION_TOUCHED, SESSION_REPLACED, SESSION_ENDED, SESSION_UNKNOWN, SESSION_NOT_ANSWERED };
struct session_key {
    const char *hash, *version;
};
typedef void (*session_touched_fn)(enum session_touched result, const struct session_key *renewed, void *context);
/* Media has arrived. The callback runs exactly once (at once with SESSION_NOT_ANSWERED while Redis is away). */
void session_touch(struct session_registry *registry, const struct session *session, session_touched_fn callback,
                   void *context);
/* The publisher has gone. Nobody waits for the answer: if Redis is away, the silence will be noticed instead. */
void session_close(struct session_registry *registry, const struct session *session, const char *reason);
