/* Events for analysis: comments, gifts, hearts, … leave as files of lines of JSON. Each source goes its own way, batch
 * after batch (export_batch.h); a lease keeps two processes from doing the same work, correctness does not need it.
 * Loop thread only. */
#pragma once

#include "archive.h"

struct exporter;

/* NULL when HANABI_EXPORT is off; the functions below take NULL. */
struct exporter *exporter_create(struct archive *archive);
/* Begins nothing new; exporter_is_idle() when what is under way has come to the end of its step. */
void exporter_drain(struct exporter *exporter);
bool exporter_is_idle(const struct exporter *exporter);
/* After exporter_drain(), and after the store, the database and the links have called back. */
void exporter_destroy(struct exporter *exporter);
