/* Opaque, unguessable ids. */
#pragma once

#include <stddef.h>

#define RANDOM_ID_SIZE 21 /* 20 characters of 0-9a-z (103 bits) and the NUL */

void random_id(char out[RANDOM_ID_SIZE]);
/* `bytes` random bytes as lowercase hex and a NUL: `out` has room for 2·bytes+1. */
void random_hex(char *out, size_t bytes);
