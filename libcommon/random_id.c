/* Ids come from the kernel's generator by way of libsodium, which aborts rather than hand out weak bytes. */
#include "libcommon/random_id.h"

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>

/* Asking the kernel costs more than all the rest of an id, and every HTTP request has one: bytes come in portions. (A
 * process that forks and goes on would make the same ones twice; here whoever forks executes another program.) */
static uint8_t next_byte(void)
{
    static _Thread_local uint8_t portion[1024];
    static _Thread_local size_t left;

    if (left == 0) {
        randombytes_buf(portion, sizeof portion);
        left = sizeof portion;
    }
    uint8_t byte = portion[--left];
    portion[left] = 0; /* what was handed out is nowhere else */
    return byte;
}

void random_id(char out[RANDOM_ID_SIZE])
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    /* A byte above the largest multiple of 36 would favour the first characters: it is drawn again. */
    const uint8_t fair_limit = 256 / 36 * 36;
    for (size_t i = 0; i < RANDOM_ID_SIZE - 1;) {
        uint8_t byte = next_byte();
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
