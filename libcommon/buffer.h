/* A growable byte buffer with a declared maximum: an append that would pass it fails and leaves the buffer as it was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
    uint8_t *data;
    size_t len, capacity, max;
};

void buffer_init(struct buffer *buffer, size_t max_bytes);
void buffer_clear(struct buffer *buffer); /* frees; usable again with the same maximum */
void buffer_reset(struct buffer *buffer); /* empties, keeps the memory */
/* 0, or -1: over the maximum or out of memory. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t len_bytes) __attribute__((warn_unused_result));
/* Room for `len_bytes` more; returns where they go, to be claimed with buffer_commit(). NULL as for append. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t len_bytes);
void buffer_commit(struct buffer *buffer, size_t len_bytes);
/* Drops the first bytes (moves the rest to the front). */
void buffer_consume(struct buffer *buffer, size_t len_bytes);
/* Hands the memory over, to be freed with free(); the buffer is empty afterwards. */
uint8_t *buffer_take(struct buffer *buffer, size_t *len_bytes);
