/* A token bucket with the clock handed in: `burst` at once, then so many per 10 s. No I/O, no thread of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct token_bucket {
    int64_t millitokens;
    int64_t at_ms;
};
void token_bucket_init(struct token_bucket *bucket, int64_t burst, int64_t now_ms);
/* What has flowed in since; at most the burst. */
void token_bucket_refill(struct token_bucket *bucket, int64_t burst, int64_t per_10s, int64_t now_ms);
/* Takes one; false: there is none, and `*retry_after_ms` says when. */
bool token_bucket_take(struct token_bucket *bucket, int64_t burst, int64_t per_10s, int64_t now_ms,
                       int64_t *retry_after_ms);
