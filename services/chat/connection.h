/* One websocket. Three parts with an owner each, so that no lock is needed: constant after the handshake; the worker's;
 * the loop's. The worker makes it and frees it, after the loop has said MESSAGE_GONE: until then pointers in messages
 * and in Redis callbacks stay good. */
#pragma once

#include "libcommon/token_bucket.h"
#include "message.h"
#include "proto/broadcast.h"
#include "proto/chat.h"

#include <stdbool.h>
#include <stdint.h>

struct audience;
struct broadcast;
struct lws;
struct room;
struct worker;

enum chat_role { CHAT_READER, CHAT_VIEWER, CHAT_MODERATOR, CHAT_BROADCASTER, CHAT_OPERATOR };
const char *chat_role_name(enum chat_role role);

struct private_frame {
    struct private_frame *next;
    size_t len;
    unsigned char bytes[]; /* LWS_PRE in front of the text */
};

struct connection {
    /* --- constant after the handshake: any thread --- */
    struct worker *worker;
    char broadcast_id[ID_SIZE];
    char user_id[ID_SIZE]; /* "": no token, read only */
    char *name;
    char token_role[32];
    char *request_id;          /* of the handshake; NULL: none. What is said over the connection belongs to it */
    struct chat_event_id last; /* zero: none */
    int wanted_room;           /* -1: any */

    /* --- the worker's --- */
    struct lws *wsi; /* NULL: closed */
    struct connection *wheel_previous, *wheel_next;
    struct connection *audience_previous, *audience_next;
    struct audience *audience;
    uint64_t cursor; /* the next frame of the audience to be sent */
    struct private_frame *private_first, **private_last;
    size_t private_bytes;
    char *received; /* a message that comes in pieces */
    size_t received_len;
    int64_t progress_ms; /* when it last took something, or had nothing to take */
    int64_t heard_ms;    /* when anything last came from it */
    struct token_bucket bucket;
    int close_code; /* nonzero: close when the private queue is empty */
    unsigned wheel_slot;
    bool ping_due, is_held, is_joined, is_close_sent, is_peer_closing;

    /* --- the loop's --- */
    struct broadcast *broadcast;
    struct room *room;                            /* NULL: not in one (yet) */
    struct connection *room_previous, *room_next; /* all that are in the room, or wait in the broadcast's list */
    enum chat_role role;
    int pending; /* callbacks under way that will touch this connection */
    bool has_left, is_waiting, is_welcome;
    uint64_t session;  /* see audience_log.h */
    int64_t joined_ms; /* monotonic */
};
