/* Reading members of JSON objects; see json_member.h. */
#include "libcommon/json_member.h"

#include <math.h>
#include <string.h>

int json_member_string(const json_t *object, const char *name, char *out, size_t out_size)
{
    const json_t *value = json_object_get(object, name);
    size_t len = json_string_length(value);

    if (!json_is_string(value) || len >= out_size || strlen(json_string_value(value)) != len)
        return -1;
    memcpy(out, json_string_value(value), len + 1);
    return 0;
}

int json_member_whole(const json_t *object, const char *name, int64_t min, int64_t max, int64_t *out)
{
    const json_t *value = json_object_get(object, name);
    double number;

    if (!json_is_number(value))
        return -1;
    number = json_number_value(value);
    /* Written so that a NaN fails too. Inside these bounds the cast is defined: a double of 1e300 has no int64_t. */
    if (!(number >= (double)min && number <= (double)max) || number != floor(number))
        return -1;
    *out = json_is_integer(value) ? json_integer_value(value) : (int64_t)number;
    return 0;
}
