/* Keeps the table equal to Redis: every event as it comes, and a snapshot whenever events may have been missed (first
 * of all at the start). Only puts in: while Redis is away, or empty, what is known stays. Loop thread only. */
#pragma once

#include "services/burst-status/status_table.h"

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct metrics;
struct state_feed;

/* NULL: the url is broken. */
struct state_feed *state_feed_create(struct event_base *loop, const char *redis_url, const char *instance,
                                     struct status_table *table, struct metrics *metrics);
void state_feed_destroy(struct state_feed *feed);
/* A snapshot has been complete at some time: an id that is not in the table does not exist. */
bool state_feed_knows_all(const struct state_feed *feed);
/* A service_ready_fn: subscribed, and nothing missed that has not been read since. */
bool state_feed_ready(void *feed, char *why, size_t why_size);
