/* AMF0, the encoding of RTMP commands and metadata: a reader over memory (no allocation, bounded depth) and a writer
 * into a bounded buffer. Not AMF3: what is needed of it is the 0 byte that precedes AMF0 in messages of types 15
 * and 17. Any thread.
 *
 *     struct amf0_reader reader; struct amf0_value name;
 *     amf0_reader_init(&reader, body, len);
 *     if (amf0_read(&reader, &name) == 0 && name.type == AMF0_STRING) …
 *
 * After an object or ECMA array was read, its members follow: amf0_read_member() until it returns 0, each followed by
 * amf0_read() or amf0_skip(). A strict array's elements follow likewise, `count` of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;

enum amf0_type {
    AMF0_NUMBER,
    AMF0_BOOLEAN,
    AMF0_STRING, /* short and long strings, XML */
    AMF0_OBJECT, /* objects, typed objects and ECMA arrays */
    AMF0_NULL,   /* null, undefined, unsupported */
    AMF0_REFERENCE,
    AMF0_STRICT_ARRAY,
    AMF0_DATE,
};

struct amf0_value {
    enum amf0_type type;
    double number; /* also of a date: ms since 1970 */
    bool boolean;
    const char *string; /* points into the input, not terminated */
    size_t string_len;
    uint32_t count; /* of a strict array */
};

struct amf0_reader {
    const uint8_t *at, *end;
};

void amf0_reader_init(struct amf0_reader *reader, const void *bytes, size_t len_bytes);
/* The next value. 0, or -1: the input ends or is broken. */
int amf0_read(struct amf0_reader *reader, struct amf0_value *value) __attribute__((warn_unused_result));
/* The next value with all that is in it. 0 or -1 (also deeper than 16). */
int amf0_skip(struct amf0_reader *reader) __attribute__((warn_unused_result));
/* 1: a member's name (into the input), its value comes next; 0: the object is over; -1: broken. */
int amf0_read_member(struct amf0_reader *reader, const char **name, size_t *name_len)
    __attribute__((warn_unused_result));
/* A string value into `out`, cut to fit and terminated. 0, or -1: the value is no string (out is then empty). */
int amf0_copy_string(const struct amf0_value *value, char *out, size_t out_size);
bool amf0_string_is(const char *string, size_t len, const char *expected);

/* Writers fail silently when the buffer is at its maximum: the replies of this server are far below it. */
void amf0_write_number(struct buffer *out, double number);
void amf0_write_boolean(struct buffer *out, bool boolean);
void amf0_write_string(struct buffer *out, const char *string);
void amf0_write_null(struct buffer *out);
void amf0_write_object_begin(struct buffer *out);
void amf0_write_name(struct buffer *out, const char *name); /* of a member; its value is written next */
void amf0_write_object_end(struct buffer *out);
