#include "love_body.h"

#include <string.h>

struct reader {
    const char *at, *end;
};

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && memchr(" \t\r\n", *reader->at, 4))
        reader->at++;
}

/* `c` and the space around it. */
static bool take(struct reader *reader, char c)
{
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != c)
        return false;
    reader->at++;
    skip_space(reader);
    return true;
}

static bool take_text(struct reader *reader, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(reader->end - reader->at) < len || memcmp(reader->at, text, len) != 0)
        return false;
    reader->at += len;
    return true;
}

static bool is_id_character(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

static bool take_batch_id(struct reader *reader, struct love_body *body)
{
    size_t len = 0;

    if (body->batch_id[0] || !take(reader, ':') || !take_text(reader, "\""))
        return false;
    while (reader->at < reader->end && len < LOVE_BATCH_ID_MAX && is_id_character(*reader->at))
        body->batch_id[len++] = *reader->at++;
    body->batch_id[len] = '\0';
    return len > 0 && take_text(reader, "\"");
}

/* A number without a sign, a leading zero, a fraction or an exponent. */
static bool take_count(struct reader *reader, struct love_body *body)
{
    if (body->count || !take(reader, ':'))
        return false;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        body->count = 10 * body->count + (*reader->at++ - '0');
        if (body->count < 1 || body->count > LOVE_COUNT_MAX)
            return false;
    }
    return body->count > 0;
}

bool love_body_read(const char *text, size_t len_bytes, struct love_body *body)
{
    struct reader reader = {text, text + len_bytes};

    body->batch_id[0] = '\0';
    body->count = 0;
    if (!take(&reader, '{'))
        return false;
    do {
        if (take_text(&reader, "\"batch_id\"") ? !take_batch_id(&reader, body)
                                               : !take_text(&reader, "\"count\"") || !take_count(&reader, body))
            return false;
    } while (take(&reader, ','));
    return take(&reader, '}') && reader.at == reader.end && body->batch_id[0] && body->count;
}
