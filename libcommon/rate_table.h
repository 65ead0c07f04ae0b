/* How often each of many callers may do something: a token bucket a key, in a table whose memory is taken at the start.
 * A key may be in one of four slots; when these are taken, the fullest bucket makes room, the one whose key loses least
 * by being forgotten. What nobody may choose is whom a key shares its slots with. The clock is handed in.
 *
 *     table = rate_table_create(16384, 30, 10);
 *     if (!rate_table_take(table, user_id, clock_monotonic_ms(), &retry_after_ms))
 *
 * Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_TABLE_KEY_SIZE 65 /* with its NUL: an id */

struct rate_table;

/* `slots`: a power of two, about 96 bytes each. Each key may take `burst` at once, then `per_10s` in ten seconds, both
 * 1 or more. */
struct rate_table *rate_table_create(size_t slots, int64_t burst, int64_t per_10s);
/* NULL is fine. */
void rate_table_destroy(struct rate_table *table);
/* Takes one; false: there is none for `key` (shorter than RATE_TABLE_KEY_SIZE), and `*retry_after_ms` says when. */
bool rate_table_take(struct rate_table *table, const char *key, int64_t now_ms, int64_t *retry_after_ms);
/* Keys that were forgotten before their bucket was full again: the table is too small for those who call. */
uint64_t rate_table_forgotten(const struct rate_table *table);
