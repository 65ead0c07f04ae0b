/* A lease with fencing in Redis: one holder at a time, and a token that rises with every grant, so that a write of a
 * former holder can be refused by whoever checks the token (the Lua scripts of proto/ do).
 *
 * In Redis a lease is a hash {holder, token} at the caller's key with a time to live. A holder is an instance name; its
 * ping channel (`alive_channel`) has a subscriber for as long as its process lives, so that the lease of a *killed*
 * process can be taken at once (no subscriber: the kernel closed its socket), and the time to live is only for a
 * process that hangs. Loop thread only. One object holds many leases' timers; a lease object is one key. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct lease;
struct redis_link;

/* For scripts in C strings: LEASE_LUA_IS_HELD("KEYS[1]", "ARGV[2]"), a condition in Lua. */
#define LEASE_LUA_IS_HELD(key, token) "redis.call('HGET'," key ",'token')==" token

struct lease_options {
    const char *key;
    const char *fence_key;     /* counter that gives the tokens */
    const char *holder;        /* this instance */
    const char *alive_channel; /* this instance's ping channel; kept in the lease for others to check */
    int64_t ttl_ms;            /* 0: 3,000; renewed every third of it */
    /* The lease could not be renewed: expired, taken, or Redis unreachable for ttl_ms. Stop the work. Called once. */
    void (*on_lost)(struct lease *lease, void *context);
    void *context;
};

/* `lease` is NULL when somebody else holds it or Redis did not answer (`code` < 0: a redis_link_error; 0: it is held).
 */
typedef void (*lease_acquired_fn)(struct lease *lease, int code, void *context);

/* Tries once. `options` are copied. The link must outlive the attempt and the lease. */
void lease_try_acquire(struct event_base *loop, struct redis_link *link, const struct lease_options *options,
                       lease_acquired_fn callback, void *context);
/* A decimal string, as scripts want it; valid as long as the lease. */
const char *lease_token(const struct lease *lease);
/* By the local clock: false when the last good renewal (counted from when it was sent) is so old that another may hold
 * it now. True is no proof: only the token, checked where the write is done, is. */
bool lease_is_safe(const struct lease *lease);
/* Until when (monotonic clock) it stays so without another renewal; 0 when it is not safe. For work handed to others.
 */
int64_t lease_safe_until_ms(const struct lease *lease);
/* Gives it back (if still held) and frees it. Also to free a lost one, also inside on_lost. */
void lease_release(struct lease *lease);
