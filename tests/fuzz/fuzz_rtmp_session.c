/* A whole conversation on any bytes behind the handshake; every `publish` is accepted. */
#include "services/ingest/rtmp_session.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_publish(const char *key, void *context)
{
}

static enum close_reason on_media(const struct flv_tag *tag, void *context)
{
    if (tag->payload_len > tag->body_len)
        abort();
    return CLOSE_NONE;
}

static void on_unpublish(void *context)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rtmp_session_options options = {
        .limits = {.max_message_bytes = 65536, .max_chunk_bytes = 65536, .max_buffered_bytes = 100000}, .app = "live"};
    static const struct rtmp_session_handlers handlers = {on_publish, on_media, on_unpublish};
    static const uint8_t hello[1 + 2 * 1536] = {3};
    struct rtmp_session *session = rtmp_session_create(&options, &handlers, NULL);
    enum close_reason reason = rtmp_session_feed(session, hello, sizeof(hello));

    if (reason == CLOSE_NONE)
        reason = rtmp_session_feed(session, data, size);
    while (reason == CLOSE_NONE && rtmp_session_state(session) == RTMP_OPENING)
        reason = rtmp_session_accept(session);
    rtmp_session_close(session, CLOSE_IDLE);
    rtmp_session_destroy(session);
    return 0;
}
