/* Who makes which archive: looks for broadcasts that are over, asks whether everything of them stands in MySQL, takes
 * the lease and has archive_making.c make it. State decides, no message is needed: MySQL is asked once a second. Loop
 * thread only.
 */
#pragma once

#include "archive.h"

struct archiver;

struct archiver *archiver_create(struct archive *archive);
/* Begins nothing new; archiver_is_idle() when what is under way has come to the end of its step. */
void archiver_drain(struct archiver *archiver);
bool archiver_is_idle(const struct archiver *archiver);
/* After archiver_drain(), and after the store, the database and the links have called back. NULL is fine. */
void archiver_destroy(struct archiver *archiver);
