/* What a client sends with its taps: {"batch_id","count"}, and perhaps {"token"}. Nearly all bodies are the first two
 * and nothing else, and to read JSON in general would be a tenth of what a batch costs here: so that form is read in
 * place, and anything else is left to jansson, which also says what is wrong with it. No state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define LOVE_BATCH_ID_MAX 64
#define LOVE_COUNT_MAX    1000 /* taps in a batch: nobody taps more between two of them */

struct love_body {
    char batch_id[LOVE_BATCH_ID_MAX + 1];
    int count;
};

/* True: `body` is what jansson would have found in these `len_bytes`, within its limits. False: ask jansson. */
bool love_body_read(const char *text, size_t len_bytes, struct love_body *body);
