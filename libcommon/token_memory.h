/* Access tokens that were found good, so that a client who comes again and again costs one signature check: a small
 * table, one token to a slot, each in one of four; when these are taken, a newer one takes the place of another. What
 * is remembered is the whole text; expiry is looked at each time. Its memory is taken at the start: about 1 KiB a slot.
 *
 *     memory = token_memory_create(secret, 4096);
 *     if (token_memory_verify(memory, text, now_s, &token) == 0)
 *
 * Loop thread only. */
#pragma once

#include "libcommon/access_token.h"

#include <stddef.h>

struct token_memory;

/* `secret` is the HMAC key, of the caller, valid as long as the memory; `slots` a power of two. */
struct token_memory *token_memory_create(const char *secret, size_t slots);
/* NULL is fine. */
void token_memory_destroy(struct token_memory *memory);
/* As access_token_verify(). */
int token_memory_verify(struct token_memory *memory, const char *text, int64_t now_s, struct access_token *token);
