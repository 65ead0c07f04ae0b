/* Keeps MySQL's rows up with Redis' states: drains KEY_BROADCASTS_UNSAVED, when an event says that a state changed and
 * once a second. Any number of live-api processes may do it: a row is only ever written with a higher version. Also
 * announces the first `live`. */
#pragma once

struct live_api;
struct state_saver;

struct state_saver *state_saver_create(struct live_api *api);
void state_saver_destroy(struct state_saver *saver);
/* Something has changed: look soon. */
void state_saver_wake(struct state_saver *saver);
