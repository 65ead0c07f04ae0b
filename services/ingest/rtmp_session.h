/* One publisher's RTMP conversation: bytes in, replies out, and three things told to its owner: somebody wants to
 * publish with a key, media, and the end of publishing. Knows the protocol; knows neither sockets nor Redis nor keys'
 * meaning. Loop thread only.
 *
 *   handshake -> connecting -> connected <-> opening -> publishing -> connected
 *   any -> over (a status saying why has been put into `out`)
 *
 * All transitions are made by one function from a table of legal ones. While `opening`, bytes wait (up to one read) and
 * the owner should read no more. rtmp_command.c holds the commands. */
#pragma once

#include "services/ingest/close_reason.h"
#include "services/ingest/rtmp_chunk.h"

#include "libcommon/buffer.h"
#include "proto/flv.h"

#include <stdbool.h>

#define RTMP_KEY_MAX 128

enum rtmp_state {
    RTMP_HANDSHAKE,
    RTMP_CONNECTING,
    RTMP_CONNECTED,
    RTMP_OPENING,
    RTMP_PUBLISHING,
    RTMP_OVER,
    RTMP_STATES
};

struct rtmp_session_options {
    struct rtmp_chunk_limits limits; /* of a publisher; before that, messages are small */
    const char *app;                 /* the one application */
};

struct rtmp_session_handlers {
    /* Answer, now or later, with rtmp_session_accept() or rtmp_session_close(). */
    void (*on_publish)(const char *key, void *context);
    /* A frame or metadata; a reason other than CLOSE_NONE closes the session. */
    enum close_reason (*on_media)(const struct flv_tag *tag, void *context);
    void (*on_unpublish)(void *context);
};

struct rtmp_session;

struct rtmp_session *rtmp_session_create(const struct rtmp_session_options *options,
                                         const struct rtmp_session_handlers *handlers, void *context);
void rtmp_session_destroy(struct rtmp_session *session); /* NULL is fine; no handler is called */

/* Bytes from the line. CLOSE_NONE, or why the session is over. */
enum close_reason rtmp_session_feed(struct rtmp_session *session, const uint8_t *bytes, size_t len_bytes);
/* The publish that on_publish asked for may go on; feeds what had waited. The same answer as of rtmp_session_feed(). */
enum close_reason rtmp_session_accept(struct rtmp_session *session);
/* Says why, as far as the conversation has come, and is over. on_unpublish is not called. */
void rtmp_session_close(struct rtmp_session *session, enum close_reason reason);

enum rtmp_state rtmp_session_state(const struct rtmp_session *session);
const char *rtmp_state_name(enum rtmp_state state);
/* What is to be sent; the owner consumes it. */
struct buffer *rtmp_session_out(struct rtmp_session *session);
/* Memory it holds for unfinished messages and waiting bytes. */
size_t rtmp_session_buffered_bytes(const struct rtmp_session *session);
/* For logs: the encoder's name as it gave it ("FMLE/3.0 (compatible; …)"). */
const char *rtmp_session_encoder(const struct rtmp_session *session);
