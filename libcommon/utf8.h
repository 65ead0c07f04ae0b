/* Well-formed UTF-8 (RFC 3629): what JSON, Redis keys shown to people and the log may carry. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The bytes of the well-formed sequence at `text` (no overlong forms, no surrogates), or 0 when there is none. A NUL
 * counts as one byte and is never run over. */
size_t utf8_sequence_len(const char *text);
bool utf8_is_valid(const char *text);
