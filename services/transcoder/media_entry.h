/* An entry of the media ring (proto/media_ring.h) in memory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define MEDIA_ENTRY_ID_SIZE 48

struct media_entry {
    struct media_entry *next;
    char id[MEDIA_ENTRY_ID_SIZE];
    int64_t arrival_ms;
    int64_t session;
    bool is_start, is_gap, is_end;
    size_t len_bytes;
    uint8_t bytes[]; /* FLV tags */
};

/* A copy of the bytes; never NULL. To be freed with free(). */
struct media_entry *media_entry_create(const char *id, int64_t arrival_ms, int64_t session, const uint8_t *bytes,
                                       size_t len_bytes);
