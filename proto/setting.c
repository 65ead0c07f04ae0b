/* The table of kinds, and the message that says that a setting changed; see setting.h. */
#include "proto/setting.h"

#include "libcommon/json_member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTICE_MAX_BYTES 1000
#define WORDS_MAX        200
#define WORD_MAX_BYTES   100
#define SLOW_MODE_MAX_S  600
#define WORDS_EXPIRE_MS  10000

/* --- what a value may be --- */

static bool refuse(char *why, size_t why_size, const char *sentence)
{
    snprintf(why, why_size, "%s", sentence);
    return false;
}

static bool is_colour(const char *text)
{
    return text && strlen(text) == 7 && text[0] == '#' && strspn(text + 1, "0123456789abcdefABCDEF") == 6;
}

static bool validate_decoration(const json_t *value, char *why, size_t why_size)
{
    static const char *const frames[] = {"none", "gold", "silver", "sakura", "neon"};
    const char *frame = json_string_value(json_object_get(value, "frame"));

    if (json_object_size(value) != 2 || !is_colour(json_string_value(json_object_get(value, "background"))))
        return refuse(why, why_size, "background must be a colour like #1a2b3c, beside frame and nothing else");
    for (size_t i = 0; frame && i < sizeof(frames) / sizeof(frames[0]); i++)
        if (strcmp(frame, frames[i]) == 0)
            return true;
    return refuse(why, why_size, "frame must be one of none, gold, silver, sakura, neon");
}

static bool validate_empty(const json_t *value, char *why, size_t why_size)
{
    return (json_is_object(value) && json_object_size(value) == 0) || refuse(why, why_size, "this kind has no value");
}

static bool validate_mute(const json_t *value, char *why, size_t why_size)
{
    const json_t *until = json_object_get(value, "until_ms");

    return (json_is_integer(until) && json_integer_value(until) >= 0 && json_object_size(value) == 1) ||
           refuse(why, why_size, "until_ms must be a time in milliseconds, or 0 for the whole broadcast; nothing else");
}

static bool validate_slow_mode(const json_t *value, char *why, size_t why_size)
{
    const json_t *seconds = json_object_get(value, "seconds");

    return (json_is_integer(seconds) && json_integer_value(seconds) >= 1 &&
            json_integer_value(seconds) <= SLOW_MODE_MAX_S && json_object_size(value) == 1) ||
           refuse(why, why_size, "seconds must be a whole number from 1 to 600, and nothing else");
}

static bool validate_words(const json_t *value, char *why, size_t why_size)
{
    const json_t *words = json_object_get(value, "words");
    const json_t *word;
    size_t i;

    if (!json_is_array(words) || json_array_size(words) > WORDS_MAX || json_object_size(value) != 1)
        return refuse(why, why_size, "words must be a list of at most 200 words, and nothing else");
    json_array_foreach(words, i, word)
    {
        if (!json_is_string(word) || json_string_length(word) == 0 || json_string_length(word) > WORD_MAX_BYTES)
            return refuse(why, why_size, "a word must be 1 to 100 bytes of text");
    }
    return true;
}

static bool validate_notice(const json_t *value, char *why, size_t why_size)
{
    const json_t *text = json_object_get(value, "text");

    return (json_is_string(text) && json_string_length(text) > 0 && json_string_length(text) <= NOTICE_MAX_BYTES) ||
           refuse(why, why_size, "text must be 1 to 1000 bytes");
}

static const struct setting_kind kinds[SETTING_KINDS] = {
    {SETTING_DECORATION, "decoration", SETTING_SYNCED, 0, false, validate_decoration},
    {SETTING_BLOCK, "block", SETTING_SYNCED, 0, false, validate_empty},
    {SETTING_MUTE, "mute", SETTING_SYNCED, 0, true, validate_mute},
    {SETTING_BAN, "ban", SETTING_SYNCED, 0, true, validate_empty},
    {SETTING_SLOW_MODE, "slow_mode", SETTING_SYNCED, 0, true, validate_slow_mode},
    {SETTING_WORDS, "words", SETTING_LAZY, WORDS_EXPIRE_MS, false, validate_words},
    {SETTING_NOTICE, "notice", SETTING_SYNCED, 0, false, validate_notice},
};

const struct setting_kind *setting_kind_from_name(const char *name)
{
    for (size_t i = 0; name && i < SETTING_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

const struct setting_kind *setting_kind_of(enum setting_kind_id id)
{
    return &kinds[id];
}

/* --- the message --- */

/* An empty string is fine here: some kinds have no subject or no object. */
static int copy_member(const json_t *root, const char *name, char out[ID_SIZE])
{
    char text[ID_SIZE];

    if (json_member_string(root, name, text, sizeof(text)) != 0 || (text[0] && !id_is_valid(text)))
        return -1;
    strcpy(out, text);
    return 0;
}

int setting_event_parse(const char *message, size_t len_bytes, struct setting_event *event)
{
    int result = -1;
    json_t *root = json_loadb(message, len_bytes, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "type"));
    json_t *value = json_object_get(root, "value");

    memset(event, 0, sizeof(*event));
    if (!type || strcmp(type, "setting") != 0 ||
        json_member_whole(root, "version", 1, JSON_WHOLE_MAX, &event->version) != 0 ||
        (!json_is_object(value) && !json_is_null(value)))
        goto out;
    if (copy_member(root, "subject", event->subject) != 0 || copy_member(root, "object", event->object) != 0)
        goto out;
    event->kind = setting_kind_from_name(json_string_value(json_object_get(root, "kind")));
    (void)json_member_whole(root, "at_ms", 0, JSON_WHOLE_MAX, &event->at_ms);
    event->value = json_is_object(value) ? json_incref(value) : NULL;
    const char *request_id = json_string_value(json_object_get(root, "request_id"));
    if (request_id && request_id_is_valid(request_id))
        strcpy(event->request_id, request_id);
    result = 0;
out:
    json_decref(root);
    return result;
}

void setting_event_clear(struct setting_event *event)
{
    json_decref(event->value);
    event->value = NULL;
}

char *setting_event_encode(const struct setting_event *event)
{
    /* "O" takes a reference of its own. */
    json_t *root = json_pack("{s:s,s:I,s:s,s:s,s:s,s:I}", "type", "setting", "version", (json_int_t)event->version,
                             "kind", event->kind->name, "subject", event->subject, "object", event->object, "at_ms",
                             (json_int_t)event->at_ms);
    char *text;

    if (!root)
        return NULL;
    json_object_set_new(root, "value", event->value ? json_incref(event->value) : json_null());
    if (event->request_id[0])
        json_object_set_new(root, "request_id", json_string(event->request_id));
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}
