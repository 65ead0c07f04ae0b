/* Answers that are held back until what they tell of stands on a replica too, so that a failover does not take back
 * what was acknowledged. For redis_link.c, which sends and receives: here are only the list and the decisions.
 *
 * WAIT, sent behind a command on the same connection, is answered when a replica has everything that the master had
 * then, others' writes included. It makes the connection stand still, so one is under way at a time and answers for all
 * that came before it. Order is kept: an answer that could go out at once waits behind those that may not.
 *
 * Without a replica at all (the former master has just died, say) nothing is held. One that falls silent is waited for
 * REDIS_SETTLE_GRACE_MS: time enough for Sentinel to depose a master that was cut off from it, and for the link to
 * notice. Is the master then still the master, it goes on alone, and answers are as safe as itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct redisReply;

#define REDIS_SETTLE_ASK_MS   1000 /* how long one WAIT waits; less than the deadline of what is sent behind it */
#define REDIS_SETTLE_GRACE_MS 3000

struct redis_held {
    STAILQ_ENTRY(redis_held) entry;
    void *owner; /* the link's own record of the command */
    int code;
    struct redisReply *reply; /* owned */
    bool must_settle;
};
STAILQ_HEAD(redis_held_list, redis_held);

struct redis_settle {
    bool is_wanted;
    bool has_replica;
    int following;              /* replicas that kept up with the master between its last two answers to ROLE */
    long long master_offset;    /* the master's own at the last ROLE */
    bool is_asking;             /* a WAIT is under way */
    struct redis_held *newest;  /* of those held */
    struct redis_held *covered; /* the last one that the WAIT answers for */
    int64_t short_since_ms;     /* 0: the last WAIT was answered by a replica */
    struct redis_held_list held;
};

void redis_settle_init(struct redis_settle *settle, bool is_wanted);
/* What the server said of itself and its replicas (the reply to ROLE). True: this is news. */
bool redis_settle_hear_role(struct redis_settle *settle, const struct redisReply *role);
/* Whether an answer has to be handed to redis_settle_hold. */
bool redis_settle_holds(const struct redis_settle *settle, bool must_settle);
/* Takes the reply. */
void redis_settle_hold(struct redis_settle *settle, void *owner, int code, struct redisReply *reply, bool must_settle);
/* True: send WAIT now; it counts as under way. */
bool redis_settle_must_ask(struct redis_settle *settle);
/* WAIT was answered: so many replicas. `free_to_go` gets what is not held any more, oldest first. True: the replicas
 * were given up, the master goes on alone. */
bool redis_settle_answered(struct redis_settle *settle, long long replicas, int64_t now_ms,
                           struct redis_held_list *free_to_go);
/* The connection is gone, and with it what is known of replicas: everything that was held. */
void redis_settle_lose(struct redis_settle *settle, struct redis_held_list *lost);
