/* Settings that steer comments, as one mechanism: a row in MySQL with the next version, one message, the local memory
 * of every chat process. A kind costs a row in the table of kinds (setting.c) and a handler in chat.
 *
 * A setting is (kind, subject, object) -> value. Versions are one sequence for all kinds, given inside the transaction
 * that writes the row (table settings_version, row-locked), so commits and versions have the same order and a gap in
 * the messages means "missed one".
 *
 *   kind         subject         object      value
 *   decoration   user            ""          {"background":"#rrggbb","frame":"none|gold|silver|sakura|neon"}
 *   block        broadcaster     user        {}          their comments show in none of the broadcaster's broadcasts
 *   mute         broadcast       user        {"until_ms":n}  0: for the whole broadcast; the user is told
 *   ban          broadcast       user        {}          may not connect
 *   slow_mode    broadcast       ""          {"seconds":n}
 *   words        broadcaster     ""          {"words":["…"]}
 *   notice       ""              notice id   {"text":"…","by":"user id"}   shown once to everybody connected; the rows
 * are the operation log
 *
 * Message on CHANNEL_SETTING, after the commit:
 *   {"type":"setting","version":n,"kind":"…","subject":"…","object":"…","value":{…} or null (deleted),"at_ms":n,
 *    "request_id":"…"?}   of the request that changed it, for the logs of those who hear it */
#pragma once

#include "libcommon/request_scope.h"
#include "proto/broadcast.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum setting_kind_id {
    SETTING_DECORATION,
    SETTING_BLOCK,
    SETTING_MUTE,
    SETTING_BAN,
    SETTING_SLOW_MODE,
    SETTING_WORDS,
    SETTING_NOTICE,
    SETTING_KINDS,
};

enum setting_spread {
    SETTING_SYNCED, /* in the memory of every chat process at once */
    SETTING_LAZY,   /* may lag: read from MySQL on a miss, kept for `expire_ms` (words) */
};

struct setting_kind {
    enum setting_kind_id id;
    const char *name;
    enum setting_spread spread;
    int64_t expire_ms; /* SETTING_LAZY */
    bool of_broadcast; /* the subject is a broadcast: it steers nothing when that is over */
    /* True when `value` is good; else a sentence for the caller in `why`. */
    bool (*validate)(const json_t *value, char *why, size_t why_size);
};

/* NULL for an unknown name. */
const struct setting_kind *setting_kind_from_name(const char *name);
const struct setting_kind *setting_kind_of(enum setting_kind_id id);

struct setting_event {
    int64_t version;
    const struct setting_kind *kind;
    char subject[ID_SIZE];
    char object[ID_SIZE];
    json_t *value; /* owned by the event; NULL: deleted */
    int64_t at_ms;
    char request_id[REQUEST_ID_SIZE]; /* "": none */
};

/* 0, or -1: no setting event (an unknown kind is one: a newer service may know more; then kind is NULL and 0 is
 * returned). */
int setting_event_parse(const char *message, size_t len_bytes, struct setting_event *event);
void setting_event_clear(struct setting_event *event);
/* JSON, to be freed with free(). */
char *setting_event_encode(const struct setting_event *event);
