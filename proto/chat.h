/* The chat of a broadcast: its log, its rooms and what is said on its channels.
 *
 * Log (KEY_CHAT_LOG<broadcast>, a stream). The entry's id is the event's id. Fields:
 *   r   room number, or "" for an event of all rooms
 *   e   the event without its first two members: `"type":"comment",…}`; see chat_event_compose()
 * The event as viewers get it is `{"id":"<entry id>","at_ms":<its milliseconds>,` followed by field e:
 *   {"id","at_ms","type":"comment","user":{"id","name","role"?,"decoration"?},"text"}   role: broadcaster, moderator,
 *                                                                                      operator; absent for a viewer
 *   {"id","at_ms","type":"deleted","target":"<event id>","by":"<user id>"}
 *   {"id","at_ms","type":"gift","user":{"id","name","role"?,"decoration"?},"item":{"id","name","price","icon","colour"},
 *    "message"?,"purchase":"<id>"}                                                     from live-api
 * Nothing but script_chat_append, script_chat_say and script_chat_deliver writes to it: append, KEY_CHAT_MOVING and
 * PUBLISH are one atomic step.
 *
 * Events that are not in the log have no id, and a later one replaces an earlier one:
 *   {"type":"viewers","now","peak","unique","at_ms"}  {"type":"love","total","at_ms"}
 * {"type":"state","state","version","at_ms"}
 *   {"type":"notice","notice","text","at_ms"}
 *
 * Channels: CHANNEL_CHAT_ROOM<broadcast>:<room> and CHANNEL_CHAT_ALL<broadcast> carry a JSON array of such events, in
 * the order of the log; or one JSON object, from a chat process to chat processes and never for viewers:
 *   {"sync":"<instance>","id":"<last id in the log>"}   on a room's channel: whoever hears its own is subscribed, and
 *                                                       hears all that follows that id
 *   {"rooms":n}                                         on all: rooms 0 … n-1 exist now
 *
 * Who came and went, for archive to export (KEY_EXPORT_AUDIENCE; script_audience_log): a line each,
 *   {"broadcast","type":"join","at_ms","session","instance","user":"<id>"|null,"role","room"}   room -1: sees them all
 *   {"broadcast","type":"leave",…the same…,"stayed_ms"}
 *   {"type":"process_start","at_ms","instance"}   whoever had a session in an earlier process of that name has left
 *   {"type":"process_gone","at_ms","instance"}    whoever had a session there has left; may be said more than once
 * "session" is unique; a session that has a join has one leave, unless its process was killed. */
#pragma once

#include "proto/broadcast.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHAT_TEXT_MAX_CHARACTERS 200
#define CHAT_MESSAGE_MAX_BYTES   4096 /* of one frame of a client */
#define CHAT_REF_MAX_BYTES       64
#define CHAT_EVENT_ID_SIZE       42

/* An entry id of a Redis stream; they are compared as numbers. */
struct chat_event_id {
    uint64_t ms, sequence;
};
/* 0 or -1. "0" and "17-3" are both ids. */
int chat_event_id_parse(const char *text, struct chat_event_id *id);
int chat_event_id_compare(struct chat_event_id a, struct chat_event_id b);
const char *chat_event_id_format(struct chat_event_id id, char out[CHAT_EVENT_ID_SIZE]);

/* The event of a log entry: its id and its field e. To be freed with free(). */
char *chat_event_compose(const char *id, const char *e, size_t e_len, size_t *len_bytes);

/* Walks through the JSON array of a channel's message: start with `*offset` 0. 1: `event` is the next one (borrowed
 * reference is the caller's: json_decref it) and `text` of `len_bytes` is how it is spelled; 0: the end; -1: malformed.
 */
int chat_events_next(const char *message, size_t message_len, size_t *offset, json_t **event, const char **text,
                     size_t *len_bytes);

/* NULL when `text` (NUL-terminated UTF-8) may stand in a chat, in a comment or with a gift; else the error's code:
 * "too_long", or "invalid" for blank text and control characters. */
const char *chat_text_check(const char *text);

/* What a client says. */
enum chat_verb { CHAT_VERB_COMMENT, CHAT_VERB_DELETE };
struct chat_client_message {
    enum chat_verb verb;
    char ref[CHAT_REF_MAX_BYTES + 1]; /* "" when absent */
    char *text;                       /* CHAT_VERB_COMMENT: owned, NUL-terminated UTF-8 */
    char id[CHAT_EVENT_ID_SIZE];      /* CHAT_VERB_DELETE */
};
/* NULL, or the error's code ("invalid", "too_long"); `ref` is set when it could be read, in both cases. */
const char *chat_client_message_parse(const char *bytes, size_t len_bytes, struct chat_client_message *message);
#define CHAT_SAID_KEY_SIZE (ID_SIZE + 1 + 16)
/* What makes a comment that is sent again the same one: its author, its ref and its text. 64 bits tell the author's
 * own apart; nobody's key can be another's. Returns the number that is in it. */
uint64_t chat_said_key(const char *user_id, const char *ref, const char *text, char out[CHAT_SAID_KEY_SIZE]);
void chat_client_message_clear(struct chat_client_message *message);
