/* What any client may send, and what comes over a channel: parsed, and what is taken keeps its promises. */
#include "proto/chat.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const char *bytes, size_t size)
{
    size_t offset = 0, len;
    const char *text;
    json_t *event;

    while (chat_events_next(bytes, size, &offset, &event, &text, &len) == 1) {
        if (text < bytes || text + len > bytes + size || text[0] != '{' || text[len - 1] != '}')
            abort();
        json_decref(event);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chat_client_message message;
    struct chat_event_id id;

    if (!chat_client_message_parse((const char *)data, size, &message)) {
        if (message.verb == CHAT_VERB_COMMENT &&
            (!message.text || strlen(message.text) > 4 * CHAT_TEXT_MAX_CHARACTERS || !message.text[0]))
            abort();
        if (message.verb == CHAT_VERB_DELETE && chat_event_id_parse(message.id, &id) != 0)
            abort();
    }
    if (strlen(message.ref) > CHAT_REF_MAX_BYTES)
        abort();
    chat_client_message_clear(&message);
    walk((const char *)data, size);
    return 0;
}
