/* Ids come from the kernel's generator by way of libsodium, which aborts rather than hand out weak bytes. */
#include "libcommon/random_id.h"

#include <sodium.h>
#include <stdint.h>

void random_id(char out[RANDOM_ID_SIZE])
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    /* A byte above the largest multiple of 36 would favour the first characters: it is drawn again. */
    const uint8_t fair_limit = 256 / 36 * 36;
    uint8_t pool[RANDOM_ID_SIZE * 2];
    size_t used = sizeof pool;
    for (size_t i = 0; i < RANDOM_ID_SIZE - 1;) {
        if (used == sizeof pool) {
            randombytes_buf(pool, sizeof pool);
            used = 0;
        }
        uint8_t byte = pool[used++];
        if (byte < fair_limit)
            out[i++] = alphabet[byte % 36];
    }
    out[RANDOM_ID_SIZE - 1] = '\0';
}

void random_hex(char *out, size_t bytes)
{
    uint8_t chunk[32];
    for (size_t done = 0; done < bytes;) {
        size_t count = bytes - done < sizeof chunk ? bytes - done : sizeof chunk;
        randombytes_buf(chunk, count);
        sodium_bin2hex(out + 2 * done, 2 * count + 1, chunk, count);
        done += count;
    }
    out[2 * bytes] = '\0';
}
