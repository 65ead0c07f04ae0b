/* Allocation for objects of a known, small size: running out of memory there leaves nothing sensible to do, so it ends
 * the process loudly. Whatever grows with outside input has its own limit and its own policy (buffer.h). Any thread. */
#pragma once

#include <stdlib.h>
#include <string.h>

/* `count` zeroed elements; never NULL. */
static inline void *alloc_zero(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        abort();
    return memory;
}

/* A copy of `string` to be freed with free(); NULL stays NULL. */
static inline char *alloc_string(const char *string)
{
    char *copy = string ? strdup(string) : NULL;

    if (string && !copy)
        abort();
    return copy;
}
