#include "libcommon/redis_pending.h"

#include "libcommon/alloc.h"
#include "libcommon/metrics.h"
#include "libcommon/redis_script.h"
#include "libcommon/request_scope.h"

#include <hiredis/hiredis.h>

void redis_pending_init(struct redis_pending *pending, size_t max_bytes, bool holds_answers)
{
    *pending = (struct redis_pending){.max_bytes = max_bytes};
    STAILQ_INIT(&pending->unanswered);
    redis_settle_init(&pending->settle, holds_answers);
}

bool redis_pending_has_room(const struct redis_pending *pending, size_t bytes)
{
    return bytes <= pending->max_bytes && pending->bytes <= pending->max_bytes - bytes;
}

static void set_bytes(struct redis_pending *pending, size_t bytes)
{
    pending->bytes = bytes;
    if (pending->bytes_gauge)
        metric_set(pending->bytes_gauge, (double)bytes);
}

struct redis_command *redis_pending_push(struct redis_pending *pending, int64_t deadline_ms, size_t bytes,
                                         redis_link_fn callback, void *context)
{
    struct redis_command *command = alloc_zero(1, sizeof(*command));

    command->callback = callback;
    command->context = context;
    command->bytes = bytes;
    command->request_id = request_scope_copy();
    redis_pending_push_again(pending, command, deadline_ms);
    return command;
}

void redis_pending_push_again(struct redis_pending *pending, struct redis_command *command, int64_t deadline_ms)
{
    command->deadline_ms = deadline_ms;
    STAILQ_INSERT_TAIL(&pending->unanswered, command, entry);
    set_bytes(pending, pending->bytes + command->bytes);
}

const struct redis_command *redis_pending_oldest(const struct redis_pending *pending)
{
    return STAILQ_FIRST(&pending->unanswered);
}

struct redis_command *redis_pending_take_oldest(struct redis_pending *pending)
{
    struct redis_command *command = STAILQ_FIRST(&pending->unanswered);

    if (!command)
        return NULL;
    STAILQ_REMOVE_HEAD(&pending->unanswered, entry);
    set_bytes(pending, pending->bytes - command->bytes);
    return command;
}

void redis_pending_answer(struct redis_pending *pending, struct redis_command *command, int code,
                          const struct redisReply *reply)
{
    redis_script_call_free(command->script);
    if (command->callback) {
        const char *outer_scope = request_scope_enter(command->request_id);

        pending->depth++;
        command->callback(code, reply, command->context);
        pending->depth--;
        request_scope_leave(outer_scope);
    }
    free(command->request_id);
    free(command);
}

static bool must_settle(const struct redis_command *command, int code)
{
    return command->must_settle && code == 0;
}

bool redis_pending_must_hold(const struct redis_pending *pending, const struct redis_command *command, int code)
{
    return command->callback && !command->is_prompt && redis_settle_holds(&pending->settle, must_settle(command, code));
}

void redis_pending_hold(struct redis_pending *pending, struct redis_command *command, int code,
                        struct redisReply *reply)
{
    redis_settle_hold(&pending->settle, command, code, reply, must_settle(command, code));
}

static void answer_held(struct redis_pending *pending, struct redis_held_list *list, bool is_lost)
{
    struct redis_held *held;

    while ((held = STAILQ_FIRST(list))) {
        STAILQ_REMOVE_HEAD(list, entry);
        redis_pending_answer(pending, held->owner, is_lost ? REDIS_LINK_LOST : held->code,
                             is_lost ? NULL : held->reply);
        freeReplyObject(held->reply);
        free(held);
    }
}

void redis_pending_answer_held(struct redis_pending *pending, struct redis_held_list *free_to_go)
{
    answer_held(pending, free_to_go, false);
}

/* The lists are taken over first: a callback may send again once the link is back, or ask for the state. */
void redis_pending_lose_all(struct redis_pending *pending)
{
    struct redis_command_list lost = STAILQ_HEAD_INITIALIZER(lost);
    struct redis_held_list held = STAILQ_HEAD_INITIALIZER(held);
    struct redis_command *command;

    redis_settle_lose(&pending->settle, &held);
    STAILQ_CONCAT(&lost, &pending->unanswered);
    set_bytes(pending, 0);
    answer_held(pending, &held, true);
    while ((command = STAILQ_FIRST(&lost))) {
        STAILQ_REMOVE_HEAD(&lost, entry);
        redis_pending_answer(pending, command, REDIS_LINK_LOST, NULL);
    }
}
