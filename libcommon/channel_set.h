/* A set of names, for subscriber.c: hashed, since a chat process listens to thousands of rooms. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct channel_set;

struct channel_set *channel_set_create(void);
void channel_set_destroy(struct channel_set *set);
/* False: it was there already. The name is copied. */
bool channel_set_add(struct channel_set *set, const char *name);
/* False: it was not there. */
bool channel_set_remove(struct channel_set *set, const char *name);
bool channel_set_has(const struct channel_set *set, const char *name);
size_t channel_set_count(const struct channel_set *set);
/* Fills `names` (room for channel_set_count) in no particular order; valid until the next change. */
void channel_set_list(const struct channel_set *set, const char **names);
