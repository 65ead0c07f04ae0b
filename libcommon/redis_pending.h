/* The commands of one link whose callers have no answer yet, for redis_link.c, which sends and receives. A command
 * waits for Redis' reply in a first-in-first-out list, since Redis answers in order; behind Sentinel its answer may
 * then be held until a replica has what it tells of (redis_settle.h says which, and for how long). It leaves by exactly
 * one call of its callback, in the request scope that it was sent in. No I/O and no clock of its own. Loop thread only.
 */
#pragma once

#include "libcommon/redis_link.h"
#include "libcommon/redis_settle.h"

#include <sys/queue.h>

struct metric;

struct redis_command {
    STAILQ_ENTRY(redis_command) entry;
    redis_link_fn callback; /* NULL: nobody wants the answer */
    void *context;
    int64_t deadline_ms;
    size_t bytes;                     /* of its arguments */
    struct redis_script_call *script; /* owned; NULL when it is not an EVALSHA */
    bool must_settle;                 /* the answer is held until a replica has what it tells of */
    bool is_prompt;                   /* the answer waits for no other */
    char *request_id;                 /* of the scope it was sent in; NULL: none */
};
STAILQ_HEAD(redis_command_list, redis_command);

struct redis_pending {
    struct redis_command_list unanswered;
    size_t bytes; /* of the arguments of what is unanswered; what is held does not count */
    size_t max_bytes;
    struct metric *bytes_gauge; /* may be NULL */
    struct redis_settle settle; /* the held answers */
    int depth;                  /* callbacks on the stack */
};

void redis_pending_init(struct redis_pending *pending, size_t max_bytes, bool holds_answers);
bool redis_pending_has_room(const struct redis_pending *pending, size_t bytes);
/* A command that is sent now. The caller fills in what is special about it. */
struct redis_command *redis_pending_push(struct redis_pending *pending, int64_t deadline_ms, size_t bytes,
                                         redis_link_fn callback, void *context);
/* One that was taken is sent once more; it has room. */
void redis_pending_push_again(struct redis_pending *pending, struct redis_command *command, int64_t deadline_ms);
/* NULL: nothing is unanswered. */
const struct redis_command *redis_pending_oldest(const struct redis_pending *pending);
/* The one that Redis' next reply is for. It goes on to exactly one of redis_pending_answer, _hold or _push_again. */
struct redis_command *redis_pending_take_oldest(struct redis_pending *pending);

/* Calls it back and frees it. */
void redis_pending_answer(struct redis_pending *pending, struct redis_command *command, int code,
                          const struct redisReply *reply);
/* Whether this answer has to wait for a replica, or for an older one that does. */
bool redis_pending_must_hold(const struct redis_pending *pending, const struct redis_command *command, int code);
/* Takes the reply. */
void redis_pending_hold(struct redis_pending *pending, struct redis_command *command, int code,
                        struct redisReply *reply);
/* What redis_settle_answered let go. */
void redis_pending_answer_held(struct redis_pending *pending, struct redis_held_list *free_to_go);
/* The connection is gone: every command, held or unanswered, is called back with REDIS_LINK_LOST, oldest first. */
void redis_pending_lose_all(struct redis_pending *pending);
