#include "libcommon/redis_settle.h"

#include "libcommon/alloc.h"

#include <hiredis/hiredis.h>

void redis_settle_init(struct redis_settle *settle, bool is_wanted)
{
    *settle = (struct redis_settle){.is_wanted = is_wanted};
    STAILQ_INIT(&settle->held);
}

/* A replica that is cut off stays in its master's list for a minute, so those count that have got as far as the master
 * was when it was last asked. */
static int count_following(const struct redisReply *replicas, long long master_offset)
{
    int following = 0;

    for (size_t i = 0; i < replicas->elements; i++) {
        const struct redisReply *replica = replicas->element[i]; /* host, port, offset */

        if (replica->type == REDIS_REPLY_ARRAY && replica->elements >= 3 && replica->element[2]->str &&
            atoll(replica->element[2]->str) >= master_offset)
            following++;
    }
    return following;
}

bool redis_settle_hear_role(struct redis_settle *settle, const struct redisReply *role)
{
    bool had_replica = settle->has_replica;

    /* A replica answers otherwise. */
    if (role->type != REDIS_REPLY_ARRAY || role->elements < 3 || role->element[2]->type != REDIS_REPLY_ARRAY)
        return false;
    settle->following = count_following(role->element[2], settle->master_offset);
    settle->master_offset = role->element[1]->integer;
    /* Whether one that is gone is missed is for WAIT to find out: a deposed master has none either. */
    if (settle->is_wanted && settle->following > 0)
        settle->has_replica = true;
    return settle->has_replica != had_replica;
}

bool redis_settle_holds(const struct redis_settle *settle, bool must_settle)
{
    return (must_settle && settle->has_replica) || !STAILQ_EMPTY(&settle->held);
}

void redis_settle_hold(struct redis_settle *settle, void *owner, int code, struct redisReply *reply, bool must_settle)
{
    struct redis_held *held = alloc_zero(1, sizeof(*held));

    held->owner = owner;
    held->code = code;
    held->reply = reply;
    held->must_settle = must_settle;
    STAILQ_INSERT_TAIL(&settle->held, held, entry);
    settle->newest = held;
}

bool redis_settle_must_ask(struct redis_settle *settle)
{
    if (settle->is_asking || STAILQ_EMPTY(&settle->held))
        return false;
    settle->is_asking = true;
    settle->covered = settle->newest;
    return true;
}

static void move_first(struct redis_settle *settle, struct redis_held_list *to)
{
    struct redis_held *held = STAILQ_FIRST(&settle->held);

    STAILQ_REMOVE_HEAD(&settle->held, entry);
    STAILQ_INSERT_TAIL(to, held, entry);
}

bool redis_settle_answered(struct redis_settle *settle, long long replicas, int64_t now_ms,
                           struct redis_held_list *free_to_go)
{
    struct redis_held *covered = settle->covered;
    bool is_given_up = false;

    settle->is_asking = false;
    settle->covered = NULL;
    if (replicas > 0) {
        settle->short_since_ms = 0;
        while (covered && STAILQ_FIRST(&settle->held) != covered)
            move_first(settle, free_to_go);
        if (covered)
            move_first(settle, free_to_go);
    } else if (settle->short_since_ms == 0) {
        settle->short_since_ms = now_ms - REDIS_SETTLE_ASK_MS;
    }
    if (replicas <= 0 && now_ms - settle->short_since_ms >= REDIS_SETTLE_GRACE_MS) {
        is_given_up = settle->has_replica;
        settle->has_replica = false;
        settle->short_since_ms = 0;
    }
    while (!STAILQ_EMPTY(&settle->held) && (!settle->has_replica || !STAILQ_FIRST(&settle->held)->must_settle))
        move_first(settle, free_to_go);
    return is_given_up;
}

void redis_settle_lose(struct redis_settle *settle, struct redis_held_list *lost)
{
    STAILQ_CONCAT(lost, &settle->held);
    redis_settle_init(settle, settle->is_wanted);
}
