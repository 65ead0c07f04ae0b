/* One connection to Redis for commands, on the libevent loop: deadlines for connecting and for every command, reconnect
 * with jittered back-off, Sentinel. Not for SUBSCRIBE: see subscriber.h. Loop thread only.
 *
 * Every callback is called exactly once: with the reply, or with NULL and a negative code. It may be called before the
 * command function returns only when the link is down (REDIS_LINK_DOWN). There is no queue while down: callers keep
 * what must not be lost.
 *
 * Behind Sentinel, a script's answer comes when a replica has what it tells of (redis_settle.h), so that what was
 * acknowledged survives a failover. Answers keep the order of their commands.
 *
 * URLs: redis://[:password@]host:port[/db], redis-sentinel://[:password@]host:port[,host:port…]/master-name[/db],
 * redis-unix://path. rediss:// and rediss-sentinel:// are the same in TLS (Sentinel's port, too), with ?ca=/ca.pem at
 * the end where the servers' certificates are signed by a CA that the system does not know. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct redis_link;
struct redisReply; /* hiredis; valid during the callback only */
struct metrics;

enum redis_link_error {
    REDIS_LINK_DOWN = -1,    /* not connected, nothing was sent */
    REDIS_LINK_LOST = -2,    /* the connection broke or the deadline passed: the command may have been carried out */
    REDIS_LINK_REFUSED = -3, /* Redis answered with an error; `reply` is given and holds the text */
    REDIS_LINK_FULL = -4,    /* more than max_pending_bytes unanswered, nothing was sent */
};
const char *redis_link_strerror(int code);

struct redis_link_options {
    const char *name;             /* for logs, metrics and CLIENT SETNAME: "state", "media" */
    int64_t connect_timeout_ms;   /* 0: 1,000 */
    int64_t command_timeout_ms;   /* 0: 2,000. A passed deadline drops the connection (replies would be out of step) */
    int64_t backoff_min_ms;       /* 0: 50 */
    int64_t backoff_max_ms;       /* 0: 1,000, behind Sentinel 250 */
    int64_t reply_pause_ms;       /* replies are read this often at most, for many commands whose answer is not urgent.
                                     0: at once */
    size_t max_pending_bytes;     /* of arguments sent and not yet answered. 0: 32 MiB */
    struct metrics *metrics;      /* may be NULL */
    void (*on_up)(void *context); /* connected (again): re-read what may have changed */
    void (*on_down)(void *context); /* once per loss */
    void *context;
};

/* Copies the url and the options; begins to connect at once. NULL: the url is broken (see redis_link_check_url). */
struct redis_link *redis_link_create(struct event_base *loop, const char *url,
                                     const struct redis_link_options *options);
/* Pending callbacks are called with REDIS_LINK_LOST first. Not from inside one of its own callbacks. */
void redis_link_destroy(struct redis_link *link);
/* 0, or -1 with a sentence (without the password) in `error`: the URL is broken, or the CA file that it names. */
int redis_link_check_url(const char *url, char *error, size_t error_size);
extern const char *const redis_link_schemes[];
/* What the config_rows of such URLs have in common. */
#define REDIS_LINK_URL .choices = redis_link_schemes, .check = redis_link_check_url, .secret = true
bool redis_link_is_up(const struct redis_link *link);
/* "host:port" of the server it is connected to (behind Sentinel: the master), empty while down; valid until the next
 * loss. */
const char *redis_link_address(const struct redis_link *link);
/* A service_ready_fn; `context` is the link. */
bool redis_link_ready(void *link, char *why, size_t why_size);
/* Bytes of arguments sent and not yet answered. */
size_t redis_link_pending_bytes(const struct redis_link *link);

/* `code` is 0 with a reply, or a redis_link_error. */
typedef void (*redis_link_fn)(int code, const struct redisReply *reply, void *context);

/* Binary-safe: `count` arguments of `lens[i]` bytes (lens NULL: strings). `callback` may be NULL (fire and forget). */
void redis_link_command(struct redis_link *link, redis_link_fn callback, void *context, int count,
                        const char *const *args, const size_t *lens);
/* The same with a deadline of its own; for blocking commands (XREAD BLOCK), on a link that nothing else uses. */
void redis_link_command_within(struct redis_link *link, int64_t timeout_ms, redis_link_fn callback, void *context,
                               int count, const char *const *args, const size_t *lens);
/* The same for a read whose answer becomes something outside of this Redis (a row, an object): it comes, like a
 * script's, when a replica has what it tells of. */
void redis_link_command_settled(struct redis_link *link, redis_link_fn callback, void *context, int count,
                                const char *const *args, const size_t *lens);
/* printf-like with %s, %lld, %b (pointer, size_t) as hiredis formats them. */
void redis_link_commandf(struct redis_link *link, redis_link_fn callback, void *context, const char *format, ...);

/* A large command that its caller wrote in the protocol's form (RESP): `len_bytes` from `offset` of `memory`, which is
 * taken (made by malloc) in every case. Nothing is copied. */
void redis_link_command_memory(struct redis_link *link, redis_link_fn callback, void *context, void *memory,
                               size_t offset, size_t len_bytes);

/* A Lua script: sent as EVALSHA, once more as EVAL where Redis does not know it. Names and texts of scripts live in
 * proto/. */
struct redis_script {
    const char *name;
    const char *lua;
    int keys; /* how many of the arguments are keys */
    /* Its answer is not worth waiting for a replica: what a failover takes back is soon said again. */
    bool answers_early;
};
/* `args`: first the keys, then the arguments. */
void redis_link_script(struct redis_link *link, const struct redis_script *script, redis_link_fn callback,
                       void *context, int count, const char *const *args, const size_t *lens);
