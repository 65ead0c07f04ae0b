/* Members of a JSON object that came from outside, read so that no value of theirs can surprise: a string that does not
 * fit or a number that is none leaves `out` as it was. */
#ifndef LIBCOMMON_JSON_MEMBER_H
#define LIBCOMMON_JSON_MEMBER_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The largest whole number that every JSON implementation keeps exactly (RFC 8259 section 6: I-JSON, 2^53 - 1). */
#define JSON_WHOLE_MAX ((1LL << 53) - 1)

/* Copies the string `name` with its end. Returns 0; -1 when it is absent, no string, has a NUL inside (which would make
 * two different strings look equal), or has out_size bytes or more. */
int json_member_string(const json_t *object, const char *name, char *out, size_t out_size);

/* Reads the whole number `name`, also in the form 2000.0 or 2e3: encoders of Lua and JavaScript write those.
 * Returns 0; -1 when it is absent, no number, has a fraction, or lies outside min..max (at most +-JSON_WHOLE_MAX). */
int json_member_whole(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out);

#endif
