/* What a viewer gets of a waterfall: so many events a second, shared fairly among those who speak. Pure.
 *
 * The clock is the events' own (the milliseconds of their ids), so two processes that hear the same room decide alike:
 * friends side by side see the same comments. A process that has just joined the room decides as the others after a
 * second or so, when its budget has become as empty as theirs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define THINNING_SENDERS 512

struct thinning {
    int64_t budget_per_s; /* 0: everything passes */
    int64_t millitokens;
    int64_t at_ms;
    struct {
        uint32_t sender;
        int64_t shown_ms;
    } recent[THINNING_SENDERS];
};
void thinning_init(struct thinning *thinning, int64_t budget_per_s);
/* True: to be shown. `sender` is any hash of the user's id. Not to be asked about gifts, the broadcaster or the system:
 * these always pass and cost the others nothing. */
bool thinning_admit(struct thinning *thinning, uint32_t sender, int64_t at_ms);
uint32_t thinning_sender(const char *user_id);
