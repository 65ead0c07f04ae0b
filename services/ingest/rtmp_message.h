/* RTMP's chunk layer, outbound: the few kinds of messages that a server sends to a publisher, appended to a bounded
 * buffer. A message that does not fit is left out whole; the connection then closes for not reading. Any thread. */
#pragma once

#include "services/ingest/rtmp_chunk.h"

#include <stdint.h>

struct buffer;

#define RTMP_OUT_CHUNK_SIZE 4096 /* after rtmp_send_set_chunk_size(); no message of ours is larger */
#define RTMP_FIRST_CHUNK    128

enum rtmp_user_event { RTMP_STREAM_BEGIN = 0, RTMP_PING_REQUEST = 6, RTMP_PING_RESPONSE = 7 };

/* A control message of one 32-bit number: acknowledgement, window size, chunk size. */
void rtmp_send_control(struct buffer *out, enum rtmp_message_type type, uint32_t value);
void rtmp_send_peer_bandwidth(struct buffer *out, uint32_t window_bytes);
void rtmp_send_user_event(struct buffer *out, enum rtmp_user_event event, uint32_t value);
/* `body`: AMF0. */
void rtmp_send_command(struct buffer *out, uint32_t stream_id, const struct buffer *body);
/* onStatus, or with a transaction the answer `_result` or `_error`: an information object. */
void rtmp_send_status(struct buffer *out, uint32_t stream_id, const char *command, double transaction,
                      const char *level, const char *code, const char *description);
