/* How full the Redis instances are in which archive makes room: while MySQL is away the comments wait in them, and one
 * that is full refuses what viewers send. A metric, and a line in the log above nine tenths. Loop thread only. */
#pragma once

#include "archive.h"

struct memory_watch;

struct memory_watch *memory_watch_create(struct archive *archive);
/* After the links have called back. NULL is fine. */
void memory_watch_destroy(struct memory_watch *watch);
