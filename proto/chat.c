/* Event ids, the walk through a message of events, and what a client may say; see chat.h. */
#include "proto/chat.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- event ids --- */

/* The digits at `*at`, which is moved behind them. */
static int parse_number(const char **at, uint64_t *number)
{
    char *end;

    if (**at < '0' || **at > '9')
        return -1;
    errno = 0;
    *number = strtoull(*at, &end, 10);
    *at = end;
    return errno ? -1 : 0;
}

int chat_event_id_parse(const char *text, struct chat_event_id *id)
{
    *id = (struct chat_event_id){0};
    if (!text || strlen(text) >= CHAT_EVENT_ID_SIZE || parse_number(&text, &id->ms) != 0)
        return -1;
    if (*text == '\0')
        return 0;
    if (*text++ != '-' || parse_number(&text, &id->sequence) != 0)
        return -1;
    return *text == '\0' ? 0 : -1;
}

int chat_event_id_compare(struct chat_event_id a, struct chat_event_id b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    if (a.sequence != b.sequence)
        return a.sequence < b.sequence ? -1 : 1;
    return 0;
}

const char *chat_event_id_format(struct chat_event_id id, char out[CHAT_EVENT_ID_SIZE])
{
    snprintf(out, CHAT_EVENT_ID_SIZE, "%" PRIu64 "-%" PRIu64, id.ms, id.sequence);
    return out;
}

char *chat_event_compose(const char *id, const char *e, size_t e_len, size_t *len_bytes)
{
    size_t ms_len = strcspn(id, "-");
    size_t size = strlen(id) + ms_len + e_len + sizeof("{\"id\":\"\",\"at_ms\":,");
    char *text = malloc(size);

    if (!text)
        return NULL;
    *len_bytes = (size_t)snprintf(text, size, "{\"id\":\"%s\",\"at_ms\":%.*s,", id, (int)ms_len, id);
    memcpy(text + *len_bytes, e, e_len);
    *len_bytes += e_len;
    text[*len_bytes] = '\0';
    return text;
}

/* --- a message of events --- */

static size_t skip_space(const char *message, size_t len, size_t at)
{
    while (at < len && strchr(" \t\r\n", message[at]) && message[at])
        at++;
    return at;
}

int chat_events_next(const char *message, size_t message_len, size_t *offset, json_t **event, const char **text,
                     size_t *len_bytes)
{
    size_t at = skip_space(message, message_len, *offset);
    json_error_t error;

    *event = NULL;
    if (at >= message_len)
        return -1;
    if (message[at] == ']')
        return 0;
    if (message[at] != (*offset == 0 ? '[' : ','))
        return -1;
    at = skip_space(message, message_len, at + 1);
    if (*offset == 0 && at < message_len && message[at] == ']')
        return 0;
    /* With this flag the parser stops behind the first value and says how far it read. */
    *event = json_loadb(message + at, message_len - at, JSON_DISABLE_EOF_CHECK, &error);
    *text = message + at;
    *len_bytes = (size_t)error.position;
    /* jansson does not count a NUL behind a number (`{"a":2<NUL>}`): where it says that the object ends, it must. */
    if (!json_is_object(*event) || *len_bytes == 0 || (*text)[*len_bytes - 1] != '}') {
        json_decref(*event);
        *event = NULL;
        return -1;
    }
    *offset = at + *len_bytes;
    return 1;
}

/* --- what a client says --- */

/* Code points; the text is valid UTF-8, since jansson takes no other. */
static size_t count_characters(const char *text)
{
    size_t count = 0;

    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

/* White space (the ideographic one too) is no comment; control characters only break the layout of the page. */
static bool is_comment_text(const char *text)
{
    bool has_ink = false;

    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at < 0x20 && *at != '\n' && *at != '\t')
            return false;
        if (*at == 0x7F)
            return false;
        if (at[0] == 0xE3 && at[1] == 0x80 && at[2] == 0x80)
            at += 2;
        else if (*at > 0x20)
            has_ink = true;
    }
    return has_ink;
}

const char *chat_text_check(const char *text)
{
    if (count_characters(text) > CHAT_TEXT_MAX_CHARACTERS)
        return "too_long";
    return is_comment_text(text) ? NULL : "invalid";
}

static const char *read_comment(const json_t *root, struct chat_client_message *message)
{
    const json_t *text = json_object_get(root, "text");

    message->verb = CHAT_VERB_COMMENT;
    if (!json_is_string(text))
        return "invalid";
    const char *code = chat_text_check(json_string_value(text));
    if (code)
        return code;
    message->text = strdup(json_string_value(text));
    return message->text ? NULL : "unavailable";
}

static const char *read_delete(const json_t *root, struct chat_client_message *message)
{
    const char *id = json_string_value(json_object_get(root, "id"));
    struct chat_event_id parsed;

    message->verb = CHAT_VERB_DELETE;
    if (chat_event_id_parse(id, &parsed) != 0)
        return "invalid";
    chat_event_id_format(parsed, message->id);
    return NULL;
}

const char *chat_client_message_parse(const char *bytes, size_t len_bytes, struct chat_client_message *message)
{
    /* Without JSON_ALLOW_NUL a string with \u0000 inside is refused, so string lengths can be trusted. */
    json_t *root =
        len_bytes <= CHAT_MESSAGE_MAX_BYTES ? json_loadb(bytes, len_bytes, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const char *type = json_string_value(json_object_get(root, "type"));
    const json_t *ref = json_object_get(root, "ref");
    const char *code = "invalid";

    memset(message, 0, sizeof(*message));
    if (ref) {
        if (!json_is_string(ref) || json_string_length(ref) > CHAT_REF_MAX_BYTES)
            goto out;
        memcpy(message->ref, json_string_value(ref), json_string_length(ref) + 1);
    }
    if (type && strcmp(type, "comment") == 0)
        code = read_comment(root, message);
    else if (type && strcmp(type, "delete") == 0)
        code = read_delete(root, message);
out:
    json_decref(root);
    return code;
}

void chat_client_message_clear(struct chat_client_message *message)
{
    free(message->text);
    message->text = NULL;
}

/* FNV-1a; the NUL between the two keeps ("a", "bc") and ("ab", "c") apart. */
static uint64_t hash_with_end(uint64_t hash, const char *text)
{
    do
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    while (*text++);
    return hash;
}

uint64_t chat_said_key(const char *user_id, const char *ref, const char *text, char out[CHAT_SAID_KEY_SIZE])
{
    uint64_t hash = hash_with_end(hash_with_end(0xcbf29ce484222325, ref), text);

    snprintf(out, CHAT_SAID_KEY_SIZE, "%s:%016" PRIx64, user_id, hash);
    return hash;
}
