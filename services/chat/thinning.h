/* What a viewer gets of a waterfall: so many events a second, shared fairly among those who speak. Pure.
 *
 * The clock is the events' own (the milliseconds of their ids) and nothing counts beyond one of its seconds, so any two
 * processes that hear the same room decide alike from the first whole second on: friends side by side see the same
 * comments. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define THINNING_SENDERS 512

struct thinning {
    int64_t budget_per_s; /* 0: everything passes */
    int64_t second;
    int64_t shown; /* in this second */
    struct {
        uint32_t sender;
        int64_t second;
        int64_t shown;
    } recent[THINNING_SENDERS];
};
void thinning_init(struct thinning *thinning, int64_t budget_per_s);
/* True: to be shown. `sender`: thinning_sender(). Not to be asked about gifts, the broadcaster or the system: these
 * always pass and cost the others nothing. */
bool thinning_admit(struct thinning *thinning, uint32_t sender, int64_t at_ms);
uint32_t thinning_sender(const char *user_id);
