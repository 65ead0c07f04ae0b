/* Gives Redis back the broadcasts that are not over, from MySQL, whenever it may have lost some: at the start, after a
 * reconnect, and when its mark says that it came back empty (looked at once a second). What Redis still knows is left
 * as it is, but for a stream key that is older than MySQL's; one that was on air comes back as suspended, and its
 * publisher makes it live again. Repeats itself until it has got through. Loop thread only. */
#pragma once

struct live_api;
struct reseeder;

struct reseeder *reseeder_create(struct live_api *api);
/* The link and the database are down already. */
void reseeder_destroy(struct reseeder *reseeder);
/* Something may be missing: look now. */
void reseeder_wake(struct reseeder *reseeder);
