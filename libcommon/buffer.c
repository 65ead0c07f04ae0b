/* Invariant: len <= capacity <= max. */
#include "libcommon/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST_BYTES = 256 };

void buffer_init(struct buffer *buffer, size_t max_bytes)
{
    *buffer = (struct buffer){.max = max_bytes};
}

void buffer_clear(struct buffer *buffer)
{
    free(buffer->data);
    buffer_init(buffer, buffer->max);
}

void buffer_reset(struct buffer *buffer)
{
    buffer->len = 0;
}

/* Doubling, so that many small appends cost no more than one large one; never beyond the maximum. */
static size_t grown_capacity(const struct buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > buffer->max / 2 ? buffer->max : buffer->capacity * 2;
    if (capacity < SMALLEST_BYTES)
        capacity = SMALLEST_BYTES;
    if (capacity < needed)
        capacity = needed;
    return capacity < buffer->max ? capacity : buffer->max;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t len_bytes)
{
    if (len_bytes > buffer->max - buffer->len)
        return NULL;
    size_t needed = buffer->len + len_bytes;
    /* An empty reservation on an empty buffer must not look like a failure either. */
    if (needed > buffer->capacity || !buffer->data) {
        size_t capacity = grown_capacity(buffer, needed);
        uint8_t *data = realloc(buffer->data, capacity ? capacity : 1);
        if (!data)
            return NULL;
        buffer->data = data;
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->len;
}

void buffer_commit(struct buffer *buffer, size_t len_bytes)
{
    assert(len_bytes <= buffer->capacity - buffer->len);
    buffer->len += len_bytes;
}

int buffer_append(struct buffer *buffer, const void *bytes, size_t len_bytes)
{
    if (len_bytes == 0)
        return 0;
    uint8_t *end = buffer_reserve(buffer, len_bytes);
    if (!end)
        return -1;
    memcpy(end, bytes, len_bytes);
    buffer->len += len_bytes;
    return 0;
}

void buffer_consume(struct buffer *buffer, size_t len_bytes)
{
    assert(len_bytes <= buffer->len);
    if (len_bytes == 0)
        return;
    buffer->len -= len_bytes;
    memmove(buffer->data, buffer->data + len_bytes, buffer->len);
}

uint8_t *buffer_take(struct buffer *buffer, size_t *len_bytes)
{
    uint8_t *data = buffer->data;
    *len_bytes = buffer->len;
    buffer_init(buffer, buffer->max);
    return data;
}
