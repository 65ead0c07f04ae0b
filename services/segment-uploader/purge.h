/* Tells the edges that a playlist has changed: PURGE <url>/<path> to each, fire and forget. An edge that does not hear
 * it shows the old playlist for a second (its cache time), so a purge is never tried again. Loop thread only. */
#pragma once

#include <stddef.h>

struct event_base;
struct metrics;
struct purge;

/* `urls`: comma-separated, "" for none. NULL with a sentence in `error`: one of them is not http(s). */
struct purge *purge_create(struct event_base *loop, const char *urls, struct metrics *metrics, char *error,
                           size_t error_size);
void purge_destroy(struct purge *purge);
/* `path`: "live/<id>/720p/index.m3u8" */
void purge_send(struct purge *purge, const char *path);
