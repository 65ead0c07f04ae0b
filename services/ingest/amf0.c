/* See amf0.h; the layout is that of "Action Message Format -- AMF 0". */
#include "services/ingest/amf0.h"

#include "libcommon/buffer.h"

#include <string.h>

#define MAX_DEPTH 16

enum marker {
    MARKER_NUMBER = 0x00,
    MARKER_BOOLEAN = 0x01,
    MARKER_STRING = 0x02,
    MARKER_OBJECT = 0x03,
    MARKER_MOVIECLIP = 0x04,
    MARKER_NULL = 0x05,
    MARKER_UNDEFINED = 0x06,
    MARKER_REFERENCE = 0x07,
    MARKER_ECMA_ARRAY = 0x08,
    MARKER_OBJECT_END = 0x09,
    MARKER_STRICT_ARRAY = 0x0a,
    MARKER_DATE = 0x0b,
    MARKER_LONG_STRING = 0x0c,
    MARKER_UNSUPPORTED = 0x0d,
    MARKER_XML = 0x0f,
    MARKER_TYPED_OBJECT = 0x10,
};

void amf0_reader_init(struct amf0_reader *reader, const void *bytes, size_t len_bytes)
{
    reader->at = bytes;
    reader->end = reader->at + len_bytes;
}

static size_t left(const struct amf0_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static int read_uint(struct amf0_reader *reader, size_t size, uint64_t *value)
{
    if (left(reader) < size)
        return -1;
    *value = 0;
    while (size-- > 0)
        *value = *value << 8 | *reader->at++;
    return 0;
}

static int read_double(struct amf0_reader *reader, double *number)
{
    uint64_t bits;

    if (read_uint(reader, 8, &bits) != 0)
        return -1;
    memcpy(number, &bits, sizeof(*number));
    return 0;
}

static int read_text(struct amf0_reader *reader, size_t size_bytes, const char **text, size_t *text_len)
{
    uint64_t len;

    if (read_uint(reader, size_bytes, &len) != 0 || len > left(reader))
        return -1;
    *text = (const char *)reader->at;
    *text_len = (size_t)len;
    reader->at += len;
    return 0;
}

static int read_strict_array(struct amf0_reader *reader, struct amf0_value *value)
{
    uint64_t count;

    value->type = AMF0_STRICT_ARRAY;
    /* Every element takes a byte at least: a count beyond that lies. */
    if (read_uint(reader, 4, &count) != 0 || count > left(reader))
        return -1;
    value->count = (uint32_t)count;
    return 0;
}

static int read_date(struct amf0_reader *reader, struct amf0_value *value)
{
    uint64_t time_zone;

    value->type = AMF0_DATE;
    return read_double(reader, &value->number) != 0 ? -1 : read_uint(reader, 2, &time_zone);
}

int amf0_read(struct amf0_reader *reader, struct amf0_value *value)
{
    uint64_t integer;

    *value = (struct amf0_value){.type = AMF0_NULL};
    if (left(reader) == 0)
        return -1;
    switch (*reader->at++) {
    case MARKER_NUMBER:
        value->type = AMF0_NUMBER;
        return read_double(reader, &value->number);
    case MARKER_BOOLEAN:
        value->type = AMF0_BOOLEAN;
        if (read_uint(reader, 1, &integer) != 0)
            return -1;
        value->boolean = integer != 0;
        return 0;
    case MARKER_STRING:
        value->type = AMF0_STRING;
        return read_text(reader, 2, &value->string, &value->string_len);
    case MARKER_LONG_STRING:
    case MARKER_XML:
        value->type = AMF0_STRING;
        return read_text(reader, 4, &value->string, &value->string_len);
    case MARKER_TYPED_OBJECT: /* the class name has no use here */
        value->type = AMF0_OBJECT;
        return read_text(reader, 2, &value->string, &value->string_len);
    case MARKER_ECMA_ARRAY: /* the count is a hint that many encoders get wrong; the end marker counts */
        value->type = AMF0_OBJECT;
        return read_uint(reader, 4, &integer);
    case MARKER_OBJECT:
        value->type = AMF0_OBJECT;
        return 0;
    case MARKER_NULL:
    case MARKER_UNDEFINED:
    case MARKER_UNSUPPORTED:
        return 0;
    case MARKER_REFERENCE:
        value->type = AMF0_REFERENCE;
        return read_uint(reader, 2, &integer);
    case MARKER_STRICT_ARRAY:
        return read_strict_array(reader, value);
    case MARKER_DATE:
        return read_date(reader, value);
    default:
        return -1;
    }
}

int amf0_read_member(struct amf0_reader *reader, const char **name, size_t *name_len)
{
    /* Some encoders leave the end marker of the last object away. */
    if (left(reader) == 0)
        return 0;
    if (read_text(reader, 2, name, name_len) != 0)
        return -1;
    if (*name_len > 0)
        return 1;
    if (left(reader) > 0 && *reader->at == MARKER_OBJECT_END) {
        reader->at++;
        return 0;
    }
    return left(reader) > 0 ? 1 : -1; /* an empty name is legal */
}

static int skip_nested(struct amf0_reader *reader, int depth)
{
    struct amf0_value value;
    const char *name;
    size_t name_len;
    int more = 0;

    if (depth > MAX_DEPTH || amf0_read(reader, &value) != 0)
        return -1;
    if (value.type == AMF0_OBJECT) {
        while ((more = amf0_read_member(reader, &name, &name_len)) == 1) {
            if (skip_nested(reader, depth + 1) != 0)
                return -1;
        }
    }
    if (value.type == AMF0_STRICT_ARRAY) {
        for (uint32_t i = 0; i < value.count; i++) {
            if (skip_nested(reader, depth + 1) != 0)
                return -1;
        }
    }
    return more;
}

int amf0_skip(struct amf0_reader *reader)
{
    return skip_nested(reader, 0);
}

int amf0_copy_string(const struct amf0_value *value, char *out, size_t out_size)
{
    size_t len = value->string_len < out_size - 1 ? value->string_len : out_size - 1;

    out[0] = '\0';
    if (value->type != AMF0_STRING)
        return -1;
    if (len > 0)
        memcpy(out, value->string, len);
    out[len] = '\0';
    return 0;
}

bool amf0_string_is(const char *string, size_t len, const char *expected)
{
    return len == strlen(expected) && memcmp(string, expected, len) == 0;
}

static void put(struct buffer *out, const void *bytes, size_t len)
{
    if (buffer_append(out, bytes, len) != 0)
        return;
}

static void put_uint(struct buffer *out, uint64_t value, size_t size)
{
    uint8_t bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    put(out, bytes, size);
}

void amf0_write_number(struct buffer *out, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    put_uint(out, MARKER_NUMBER, 1);
    put_uint(out, bits, 8);
}

void amf0_write_boolean(struct buffer *out, bool boolean)
{
    put_uint(out, MARKER_BOOLEAN, 1);
    put_uint(out, boolean, 1);
}

void amf0_write_name(struct buffer *out, const char *name)
{
    put_uint(out, strlen(name) & 0xffff, 2);
    put(out, name, strlen(name) & 0xffff);
}

void amf0_write_string(struct buffer *out, const char *string)
{
    put_uint(out, MARKER_STRING, 1);
    amf0_write_name(out, string);
}

void amf0_write_null(struct buffer *out)
{
    put_uint(out, MARKER_NULL, 1);
}

void amf0_write_object_begin(struct buffer *out)
{
    put_uint(out, MARKER_OBJECT, 1);
}

void amf0_write_object_end(struct buffer *out)
{
    put_uint(out, MARKER_OBJECT_END, 3);
}
