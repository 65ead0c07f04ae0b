#include "thinning.h"

#include <string.h>

/* While it is crowded, who was shown less than this long ago waits for those who were not. */
#define TURN_MS 5000

void thinning_init(struct thinning *thinning, int64_t budget_per_s)
{
    memset(thinning, 0, sizeof(*thinning));
    thinning->budget_per_s = budget_per_s;
    thinning->millitokens = budget_per_s * 1000;
}

uint32_t thinning_sender(const char *user_id)
{
    uint32_t hash = 2166136261u;

    for (; *user_id; user_id++)
        hash = (hash ^ (unsigned char)*user_id) * 16777619u;
    return hash ? hash : 1;
}

bool thinning_admit(struct thinning *thinning, uint32_t sender, int64_t at_ms)
{
    int64_t capacity = thinning->budget_per_s * 1000;
    int64_t elapsed_ms = at_ms - thinning->at_ms;
    size_t slot = (sender * 2654435761u) % THINNING_SENDERS;

    if (thinning->budget_per_s == 0)
        return true;
    if (elapsed_ms > 0) {
        thinning->millitokens += elapsed_ms > 1000 ? capacity : elapsed_ms * thinning->budget_per_s;
        if (thinning->millitokens > capacity)
            thinning->millitokens = capacity;
        thinning->at_ms = at_ms;
    }
    if (thinning->millitokens < 1000)
        return false;
    /* The emptier the budget, the more it matters whose turn it is. */
    if (thinning->millitokens < capacity / 2 && thinning->recent[slot].sender == sender &&
        at_ms - thinning->recent[slot].shown_ms < TURN_MS)
        return false;
    thinning->millitokens -= 1000;
    thinning->recent[slot].sender = sender;
    thinning->recent[slot].shown_ms = at_ms;
    return true;
}
