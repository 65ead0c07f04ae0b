/* The chunk reader on any bytes, in slices that the first byte chooses. */
#include "services/ingest/rtmp_chunk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rtmp_chunk_limits limits = {
        .max_message_bytes = 65536, .max_chunk_bytes = 65536, .max_buffered_bytes = 100000};
    struct rtmp_chunk_reader *reader = rtmp_chunk_reader_create(&limits);
    size_t slice = size > 0 ? data[0] + 1u : 1;
    enum rtmp_chunk_result result = RTMP_CHUNK_MORE;
    uint8_t touched = 0;

    for (size_t at = 1; at < size && result >= 0; at += slice) {
        size_t left = size - at < slice ? size - at : slice;
        uint8_t *copy = malloc(left);
        const uint8_t *from = copy;
        memcpy(copy, data + at, left);
        do {
            struct rtmp_message message;
            size_t taken;
            result = rtmp_chunk_read(reader, from, left, &taken, &message);
            if (taken > left || rtmp_chunk_buffered_bytes(reader) > limits.max_buffered_bytes ||
                rtmp_chunk_allocated_bytes(reader) > 2 * limits.max_buffered_bytes + 4 * 65536)
                abort();
            from += taken;
            left -= taken;
            for (size_t i = 0; result == RTMP_CHUNK_MESSAGE && i < message.len_bytes; i++)
                touched ^= message.body[i];
        } while (result == RTMP_CHUNK_MESSAGE);
        if (result == RTMP_CHUNK_MORE && left != 0)
            abort();
        free(copy);
    }
    rtmp_chunk_reader_destroy(reader);
    return touched == 0 && size == SIZE_MAX; /* always 0; every byte of every message is read for it */
}
