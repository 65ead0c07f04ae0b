/* The two clocks, in milliseconds. Deadlines use the monotonic one; anything that leaves the process the wall clock. */
#pragma once

#include <stdint.h>

int64_t clock_monotonic_ms(void);
int64_t clock_monotonic_us(void);
/* Milliseconds since 1970, UTC. */
int64_t clock_wall_ms(void);
