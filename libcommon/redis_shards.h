/* Several independent Redis among which ids are spread: what belongs to an id is on one of them, whoever asks. For what
 * one Redis is too small for; where nothing else is configured there is one, and all is as without this.
 *
 *     redis_shards_open(&shards, loop, "redis://a redis://b", &options);
 *     redis_link_command(redis_shards_link(&shards, broadcast), …);
 *
 * Which one it is follows from the id and from the *position* in the list (rendezvous hashing): a Redis that is put to
 * the end takes over its share of the ids from each of the others and moves nothing else; passwords and addresses may
 * change. All processes must have the same list. Loop thread only. */
#pragma once

#include "libcommon/redis_link.h"

#define REDIS_SHARDS_MAX     16
#define REDIS_SHARD_URL_SIZE 1024

struct redis_shards {
    size_t count;
    struct redis_link *links[REDIS_SHARDS_MAX];
};

/* 0 … count - 1. */
size_t redis_shard_of(const char *id, size_t count);

/* The next of several URLs separated by spaces; NULL: there is none. `*list` moves behind it. `url` holds
 * REDIS_SHARD_URL_SIZE. */
const char *redis_shards_next_url(const char **list, char *url);
/* 0, or -1 with a sentence in `error`: none, too many, or one that is broken. */
int redis_shards_check(const char *urls, char *error, size_t error_size);
/* What the config_rows of such lists have in common. */
#define REDIS_SHARDS_URLS .choices = redis_link_schemes, .check = redis_shards_check, .secret = true

/* A link to each, all with these options; the first bears options->name, the others "<name>-1" and so on. 0, or -1 as
 * redis_shards_check; then nothing is open. */
int redis_shards_open(struct redis_shards *shards, struct event_base *loop, const char *urls,
                      const struct redis_link_options *options);
/* A list of one that belongs to somebody else: not to be closed. */
void redis_shards_borrow(struct redis_shards *shards, struct redis_link *link);
void redis_shards_close(struct redis_shards *shards);
struct redis_link *redis_shards_link(const struct redis_shards *shards, const char *id);
/* A service_ready_fn: every one of them is. `context` is the shards. */
bool redis_shards_ready(void *shards, char *why, size_t why_size);
