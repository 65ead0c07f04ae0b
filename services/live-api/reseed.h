/* Redis came back, perhaps empty: gives it the broadcasts that are not over from MySQL. What Redis still knows is left
 * as it is; one that was on air is restored as suspended, and its publisher makes it live again. */
#pragma once

struct live_api;

void reseed_start(struct live_api *api);
