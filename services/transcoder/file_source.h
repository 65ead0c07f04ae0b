/* An FLV file as ingest would write it into the ring: groups of up to 100 ms, the sequence headers in front of every
 * key frame. */
#pragma once

#include "services/transcoder/media_entry.h"

struct file_source;

/* NULL: cannot be read or is no FLV file. */
struct file_source *file_source_open(const char *path);
void file_source_close(struct file_source *source);
/* The next entry, the caller's; NULL at the end. The last entry is the end of the session. */
struct media_entry *file_source_next(struct file_source *source);
/* Goes back to the entry with this id, or to the one behind it. */
void file_source_seek(struct file_source *source, const char *id, bool inclusive);
