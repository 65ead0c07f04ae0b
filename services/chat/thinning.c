/* In each second of the events' clock half of the budget may be used at once and the rest as the second goes by: a
 * burst of laughter passes whole, and a flood does not leave nine tenths of every second empty. The fuller the second
 * is, the less somebody may have been shown in it to be shown again. */
#include "thinning.h"

#include <string.h>

void thinning_init(struct thinning *thinning, int64_t budget_per_s)
{
    memset(thinning, 0, sizeof(*thinning));
    thinning->budget_per_s = budget_per_s;
}

uint32_t thinning_sender(const char *user_id)
{
    uint32_t hash = 2166136261u;

    for (; *user_id; user_id++)
        hash = (hash ^ (unsigned char)*user_id) * 16777619u;
    return hash ? hash : 1;
}

/* The sender's count of this second. Of two with the same slot the one before is forgotten. */
static size_t slot_of(struct thinning *thinning, uint32_t sender)
{
    size_t slot = (sender * 2654435761u) % THINNING_SENDERS;

    if (thinning->recent[slot].sender != sender || thinning->recent[slot].second != thinning->second) {
        thinning->recent[slot].sender = sender;
        thinning->recent[slot].second = thinning->second;
        thinning->recent[slot].shown = 0;
    }
    return slot;
}

bool thinning_admit(struct thinning *thinning, uint32_t sender, int64_t at_ms)
{
    int64_t phase_ms = at_ms % 1000, allowed, left, lately, patience;
    size_t slot;

    if (thinning->budget_per_s == 0)
        return true;
    if (at_ms / 1000 != thinning->second) {
        thinning->second = at_ms / 1000;
        thinning->shown = 0;
    }
    /* All in thousandths of a comment. */
    allowed = thinning->budget_per_s * (500 + phase_ms / 2);
    if (allowed < 1000)
        allowed = 1000;
    left = allowed - thinning->shown * 1000;
    if (left < 1000)
        return false;
    slot = slot_of(thinning, sender);
    lately = thinning->recent[slot].shown * 1000;
    patience = thinning->budget_per_s > 6 ? thinning->budget_per_s * 333 : 2000;
    /* lately / (lately + patience) <= left / allowed */
    if (lately * allowed > left * (lately + patience))
        return false;
    thinning->shown++;
    thinning->recent[slot].shown++;
    return true;
}
