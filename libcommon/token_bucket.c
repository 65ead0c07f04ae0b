#include "libcommon/token_bucket.h"

void token_bucket_init(struct token_bucket *bucket, int64_t burst, int64_t now_ms)
{
    bucket->millitokens = burst * 1000;
    bucket->at_ms = now_ms;
}

void token_bucket_refill(struct token_bucket *bucket, int64_t burst, int64_t per_10s, int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - bucket->at_ms;

    if (elapsed_ms <= 0)
        return;
    /* A day fills any bucket; more would only overflow. */
    if (elapsed_ms > 86400000)
        elapsed_ms = 86400000;
    bucket->millitokens += elapsed_ms * per_10s / 10;
    if (bucket->millitokens > burst * 1000)
        bucket->millitokens = burst * 1000;
    bucket->at_ms = now_ms;
}

bool token_bucket_take(struct token_bucket *bucket, int64_t burst, int64_t per_10s, int64_t now_ms,
                       int64_t *retry_after_ms)
{
    token_bucket_refill(bucket, burst, per_10s, now_ms);
    *retry_after_ms = 0;
    if (bucket->millitokens >= 1000) {
        bucket->millitokens -= 1000;
        return true;
    }
    *retry_after_ms = (1000 - bucket->millitokens) * 10 / per_10s + 1;
    return false;
}
