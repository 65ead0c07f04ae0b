/* What rtmp_session.c and rtmp_command.c share. */
#pragma once

#include "services/ingest/amf0.h"
#include "services/ingest/rtmp_handshake.h"
#include "services/ingest/rtmp_message.h"
#include "services/ingest/rtmp_session.h"

#define RTMP_WINDOW_BYTES 2500000

struct rtmp_session {
    struct rtmp_session_options options;
    struct rtmp_session_handlers handlers;
    void *context;
    enum rtmp_state state;
    struct rtmp_handshake *handshake; /* NULL once it is done */
    struct rtmp_chunk_reader *reader;
    struct buffer out;
    struct buffer held; /* came behind `publish` in the same read */
    uint64_t received, acknowledged;
    uint32_t window_bytes;   /* the peer wants an acknowledgement every so many bytes */
    uint32_t streams;        /* created so far: their ids are 1… */
    uint32_t publish_stream; /* message stream of the last publish */
    bool announced;          /* our chunk size */
    char app_key[RTMP_KEY_MAX];
    char encoder[64];
};

/* Makes the change; one that is not legal is a fault of ours and ends the process, in release builds too. */
void rtmp_session_transition(struct rtmp_session *session, enum rtmp_state state);
/* Statuses are longer than the first chunk size: the larger one is announced before the first of them. */
void rtmp_announce_chunk_size(struct rtmp_session *session);
/* A command message (type 20, or 17 without its first byte). */
enum close_reason rtmp_handle_command(struct rtmp_session *session, const struct rtmp_message *message);
/* Takes apart what encoders put into `app`, `tcUrl` and the stream name: "live", "/live/", "live/_definst_",
 * "live?user=x", "live/KEY" with an empty name, "KEY?x=y". `key` is left empty when there is none.
 * False: the application is another one. */
bool rtmp_app_parse(const char *text, const char *app, char key[RTMP_KEY_MAX]);
void rtmp_stream_name_parse(const char *name, char key[RTMP_KEY_MAX]);
