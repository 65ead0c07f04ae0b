/* The replay of a broadcast's chat as files: {"events":[…]}, a minute of the recording each, and the index that names
 * them. Pure: events in the order of the recording go in, one file after the other comes out. Any thread, one at a
 * time.
 *
 * Every minute has a file, an empty one too. A minute with more than REPLAY_FILE_MAX_BYTES of events is cut into
 * several, so that neither this process nor a phone has to hold a waterfall at once. The same events give the same
 * bytes. */
#pragma once

#include "libcommon/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPLAY_MINUTE_MS      60000
#define REPLAY_FILE_MAX_BYTES (2 << 20)
#define REPLAY_FILE_NAME_SIZE 32

struct replay_file {
    /* Its events lie in [from_ms, to_ms). The last file of all includes its end, and where a minute was cut, what was
     * said at that very moment may be on both sides. */
    int64_t from_ms, to_ms;
    int64_t count;
};

struct replay {
    int64_t duration_ms;
    struct buffer text;       /* of the file that is being filled */
    struct replay_file *made; /* the index so far, the file that is being filled last */
    size_t files, capacity;
    int64_t events;
};

void replay_init(struct replay *replay, int64_t duration_ms);
void replay_clear(struct replay *replay);

/* True when `media_ms` (within the duration) or `len_bytes` more do not fit into the file that is being filled: take it
 * with replay_close_file(), and ask again. */
bool replay_is_full(const struct replay *replay, int64_t media_ms, size_t len_bytes);
/* `event`: a JSON object as text; `media_ms` is added to it. 0, or -1: no object, or out of memory; nothing was added.
 */
int replay_add(struct replay *replay, const char *event, size_t len_bytes, int64_t media_ms)
    __attribute__((warn_unused_result));
/* Ends the file that is being filled and begins the next, which starts at `next_ms` (of the event that did not fit).
 * The text, to be freed with free(); its number is `replay->files` - 2 afterwards. NULL when memory is out. */
char *replay_close_file(struct replay *replay, int64_t next_ms, size_t *len_bytes);
/* True when a minute follows the file that is being filled. */
bool replay_has_next_minute(const struct replay *replay);
/* Ends the last one. */
char *replay_close_last(struct replay *replay, size_t *len_bytes);
/* "00042.json", relative to the index. */
void replay_file_name(char out[REPLAY_FILE_NAME_SIZE], size_t number);
/* The index as JSON, to be freed with free(); NULL when memory is out. */
char *replay_index(const struct replay *replay, size_t *len_bytes);
