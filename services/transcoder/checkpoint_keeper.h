/* The last checkpoint of each broadcast that this transcoder works on, as text, for the case that the state Redis comes
 * back without its data. It outlives the job, since the job's lease is lost with Redis as well. Plain memory, no I/O;
 * loop thread only. */
#pragma once

#include <stdint.h>

/* One that was not renewed for so long points at media that the ring does not hold any more. */
#define CHECKPOINT_KEEP_MS 90000

struct checkpoint_keeper;

/* `max`: broadcasts at most; above it the one renewed longest ago goes. */
struct checkpoint_keeper *checkpoint_keeper_create(int max);
void checkpoint_keeper_destroy(struct checkpoint_keeper *keeper);
/* Replaces what is kept of the broadcast; copies both texts. */
void checkpoint_keeper_keep(struct checkpoint_keeper *keeper, const char *broadcast, const char *text, int64_t now_ms);
/* The broadcast is over, or another transcoder has it and knows better. */
void checkpoint_keeper_forget(struct checkpoint_keeper *keeper, const char *broadcast);
/* Calls `each` for everything that is young enough; the rest is dropped. `each` must not change the keeper. */
void checkpoint_keeper_for_each(struct checkpoint_keeper *keeper, int64_t now_ms,
                                void (*each)(const char *broadcast, const char *text, void *context), void *context);
int checkpoint_keeper_count(const struct checkpoint_keeper *keeper);
