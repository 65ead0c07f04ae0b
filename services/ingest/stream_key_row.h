/* The broadcast of a stream key, and the newest key of a broadcast, as MySQL has them. Runs off the loop through
 * libcommon/db.h. */
#pragma once

#include "services/ingest/session_registry.h"

struct db;

enum stream_key_found { STREAM_KEY_FOUND, STREAM_KEY_UNKNOWN, STREAM_KEY_NOT_ANSWERED };
/* `session` is valid during the call and has everything but its number. Called once, never before the call returns. */
typedef void (*stream_key_row_fn)(enum stream_key_found found, const struct session *session, void *context);
/* 0, or -1: too much is waiting for the database; the callback is not called. */
int stream_key_row_find(struct db *db, const char *key_hash, stream_key_row_fn callback, void *context)
    __attribute__((warn_unused_result));
/* By the broadcast's id. */
int stream_key_row_find_newest(struct db *db, const char *id, stream_key_row_fn callback, void *context)
    __attribute__((warn_unused_result));
