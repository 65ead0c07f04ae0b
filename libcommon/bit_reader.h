/* Bits, most significant first, out of bytes that may be hostile: reading past the end gives zeros and sets `overrun`,
 * to be asked once after all fields are read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bit_reader {
    const uint8_t *data;
    size_t len_bits, position;
    bool overrun;
};

static inline void bit_reader_init(struct bit_reader *bits, const uint8_t *data, size_t len_bytes)
{
    *bits = (struct bit_reader){.data = data, .len_bits = len_bytes * 8};
}

static inline size_t bit_reader_left(const struct bit_reader *bits)
{
    return bits->len_bits - bits->position;
}

/* `count` 0-32. */
static inline uint32_t bit_reader_take(struct bit_reader *bits, int count)
{
    uint64_t value = 0;

    if ((size_t)count > bit_reader_left(bits)) {
        bits->overrun = true;
        bits->position = bits->len_bits;
        return 0;
    }
    for (int i = 0; i < count; i++, bits->position++)
        value = value << 1 | (bits->data[bits->position >> 3] >> (7 - (bits->position & 7)) & 1);
    return (uint32_t)value;
}

static inline bool bit_reader_flag(struct bit_reader *bits)
{
    return bit_reader_take(bits, 1) != 0;
}

/* ue(v) of ISO/IEC 14496-10, 9.1. More than 31 leading zeros are an overrun: no field is that large. */
static inline uint32_t bit_reader_ue(struct bit_reader *bits)
{
    int zeros = 0;

    while (!bits->overrun && !bit_reader_flag(bits))
        if (++zeros > 31)
            bits->overrun = true;
    if (bits->overrun)
        return 0;
    return (uint32_t)((UINT64_C(1) << zeros) - 1) + bit_reader_take(bits, zeros);
}

/* se(v), 9.1.1. */
static inline int32_t bit_reader_se(struct bit_reader *bits)
{
    int64_t code = bit_reader_ue(bits);

    return (int32_t)(code & 1 ? (code + 1) / 2 : -(code / 2));
}
