/* An opening goes key -> id (Redis, else MySQL) -> session_open, with broadcast_create in between where Redis does not
 * know the broadcast. It retries until its patience ends; whoever cancelled it is forgotten, but an answer that is
 * still to come keeps it alive (`is_asking`).
 *
 * MySQL says which stream key is a broadcast's, and numbers them; Redis takes none that is older than the one it has.
 * So a key that Redis takes for another one's is looked up in MySQL, as is one that it does not know. */
#include "services/ingest/session_registry.h"

#include "services/ingest/stream_key_row.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/redis_link.h"
#include "proto/keys.h"
#include "proto/scripts.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>

#define PATIENCE_MS 2500
#define RETRY_MS    200

struct session_registry {
    struct event_base *loop;
    struct redis_link *state;
    struct db *db;
    char instance[128];
};

enum opening_step { STEP_FIND_KEY, STEP_FIND_ROW, STEP_OPEN, STEP_CREATE };

struct session_opening {
    struct session_registry *registry;
    struct session session;
    enum opening_step step;
    session_opened_fn callback; /* NULL: cancelled */
    void *context;
    int64_t deadline_ms;
    struct event *timer;
    bool is_asking;   /* an answer will come */
    bool is_restore;  /* of a session that was allowed in already */
    bool was_created; /* once is enough: Redis that loses it twice is not well */
};

#define COPY(field, value) snprintf((field), sizeof(field), "%s", (value) ? (value) : "")

struct session_registry *session_registry_create(struct event_base *loop, struct redis_link *state, struct db *db,
                                                 const char *instance)
{
    struct session_registry *registry = alloc_zero(1, sizeof(*registry));

    registry->loop = loop;
    registry->state = state;
    registry->db = db;
    COPY(registry->instance, instance);
    return registry;
}

void session_registry_destroy(struct session_registry *registry)
{
    free(registry);
}

/* --- opening --- */

static void take_step(struct session_opening *opening);

static void free_opening(struct session_opening *opening)
{
    event_free(opening->timer);
    free(opening);
}

static void finish(struct session_opening *opening, enum close_reason reason)
{
    if (opening->callback)
        opening->callback(reason, reason == CLOSE_NONE ? &opening->session : NULL, opening->context);
    else if (reason == CLOSE_NONE)
        session_close(opening->registry, &opening->session, "publisher_gone");
    free_opening(opening);
}

/* Once more in a moment, or, with the patience at its end, `reason`. Always through the loop, so that no callback runs
 * inside the call that began it. */
static void retry_or(struct session_opening *opening, enum close_reason reason, int64_t wait_ms)
{
    int64_t left_ms = opening->deadline_ms - clock_monotonic_ms();

    if (!opening->callback || left_ms <= 0) {
        finish(opening, reason);
        return;
    }
    if (wait_ms > left_ms)
        wait_ms = left_ms;
    const struct timeval delay = {wait_ms / 1000, wait_ms % 1000 * 1000};
    evtimer_add(opening->timer, &delay);
}

static void on_timer(evutil_socket_t fd, short events, void *context)
{
    take_step(context);
}

/* True: the opening is over (it was cancelled and nothing has come of it). */
static bool answered(struct session_opening *opening, bool worth_finishing)
{
    opening->is_asking = false;
    if (opening->callback || worth_finishing)
        return false;
    free_opening(opening);
    return true;
}

static void go_to(struct session_opening *opening, enum opening_step step)
{
    opening->step = step;
    take_step(opening);
}

static void on_key(int code, const struct redisReply *reply, void *context)
{
    struct session_opening *opening = context;

    if (answered(opening, false))
        return;
    if (code != 0) {
        retry_or(opening, CLOSE_UNAVAILABLE, RETRY_MS);
    } else if (reply->type == REDIS_REPLY_STRING && id_is_valid(reply->str)) {
        COPY(opening->session.id, reply->str);
        go_to(opening, STEP_OPEN);
    } else {
        go_to(opening, STEP_FIND_ROW);
    }
}

static void on_row(enum stream_key_found found, const struct session *session, void *context)
{
    struct session_opening *opening = context;

    if (answered(opening, false))
        return;
    if (found == STREAM_KEY_UNKNOWN) {
        finish(opening, CLOSE_BAD_KEY);
    } else if (found == STREAM_KEY_NOT_ANSWERED) {
        retry_or(opening, CLOSE_UNAVAILABLE, RETRY_MS);
    } else {
        opening->session = *session;
        go_to(opening, STEP_CREATE);
    }
}

static void on_created(int code, const struct redisReply *reply, void *context)
{
    struct session_opening *opening = context;

    if (answered(opening, false))
        return;
    if (code != 0) {
        retry_or(opening, CLOSE_UNAVAILABLE, RETRY_MS);
        return;
    }
    opening->was_created = true;
    go_to(opening, STEP_OPEN);
}

static const char *element(const struct redisReply *reply, size_t i)
{
    return i < reply->elements && reply->element[i]->type == REDIS_REPLY_STRING ? reply->element[i]->str : "";
}

static void read_session(struct session *session, const struct redisReply *reply)
{
    session->number = strtoll(element(reply, 1), NULL, 10);
    enum broadcast_state state = broadcast_state_from_name(element(reply, 2));
    COPY(session->title, element(reply, 4));
    COPY(session->owner_id, element(reply, 5));
    COPY(session->owner_name, element(reply, 6));
    /* A broadcast that was restored has no key yet, see restore_key(). */
    if (element(reply, 7)[0]) {
        COPY(session->key_hash, element(reply, 7));
        COPY(session->key_version, element(reply, 11));
    }
    COPY(session->grace_ms, element(reply, 8));
    COPY(session->created_at_ms, element(reply, 9));
    COPY(session->live_at_ms, element(reply, 10)[0] ? element(reply, 10) : "0");
    session->was_live = state == BROADCAST_LIVE || state == BROADCAST_SUSPENDED;
}

static void create(struct session_registry *registry, const struct session *session, const char *key_hash,
                   const char *key_version, redis_link_fn callback, void *context)
{
    redis_link_script(registry->state, &script_broadcast_create, callback, context, 11,
                      (const char *[]){session->id, session->was_live ? "suspended" : "scheduled", session->title,
                                       session->owner_id, session->owner_name, key_hash,
                                       session->grace_ms[0] ? session->grace_ms : "60000",
                                       session->created_at_ms[0] ? session->created_at_ms : "0",
                                       session->live_at_ms[0] ? session->live_at_ms : "0", "restored", key_version},
                      NULL);
}

/* --- the stream key of a broadcast that was restored --- */

struct key_restore {
    struct session_registry *registry;
    struct session session;
};

static void on_newest_key(enum stream_key_found found, const struct session *newest, void *context)
{
    struct key_restore *restore = context;
    const struct session *session = found == STREAM_KEY_FOUND ? newest : &restore->session;

    /* MySQL away: what we knew opens lines until it is back, and live-api gives Redis what is newer. No such row, or
     * one that is over: no key. */
    if (found != STREAM_KEY_UNKNOWN && session->key_hash[0])
        create(restore->registry, session, session->key_hash, session->key_version, NULL, NULL);
    free(restore);
}

/* The one in memory may have been renewed since Redis told us last: it must not come back to life. Nobody waits for
 * this; a key that is presented meanwhile is looked up in MySQL. */
static void restore_key(struct session_registry *registry, const struct session *session)
{
    struct key_restore *restore = alloc_zero(1, sizeof(*restore));

    restore->registry = registry;
    restore->session = *session;
    if (stream_key_row_find_newest(registry->db, session->id, on_newest_key, restore) != 0)
        on_newest_key(STREAM_KEY_NOT_ANSWERED, NULL, restore);
}

/* --- what Redis answers to an opening --- */

static void on_opened(int code, const struct redisReply *reply, void *context)
{
    struct session_opening *opening = context;
    const char *result = code == 0 && reply->type == REDIS_REPLY_ARRAY ? element(reply, 0) : "";
    bool is_ok = strcmp(result, "ok") == 0;

    if (answered(opening, is_ok))
        return;
    if (is_ok) {
        read_session(&opening->session, reply);
        if (opening->is_restore)
            restore_key(opening->registry, &opening->session);
        finish(opening, CLOSE_NONE);
    } else if (strcmp(result, "busy") == 0) {
        int64_t silent_ms = strtoll(element(reply, 1), NULL, 10);
        retry_or(opening, CLOSE_KEY_IN_USE, silent_ms < RETRY_MS ? silent_ms + 1 : RETRY_MS);
    } else if (strcmp(result, "ended") == 0) {
        finish(opening, CLOSE_BROADCAST_ENDED);
    } else if (strcmp(result, "other_key") == 0) {
        if (opening->was_created)
            finish(opening, CLOSE_BAD_KEY); /* renewed while we asked */
        else
            go_to(opening, STEP_FIND_ROW);
    } else if (strcmp(result, "unknown") == 0 && !opening->was_created) {
        go_to(opening, opening->session.key_hash[0] && opening->session.owner_id[0] ? STEP_CREATE : STEP_FIND_ROW);
    } else {
        retry_or(opening, CLOSE_UNAVAILABLE, RETRY_MS);
    }
}

static void ask_create(struct session_opening *opening)
{
    const struct session *session = &opening->session;

    if (opening->is_restore)
        create(opening->registry, session, "", "0", on_created, opening);
    else
        create(opening->registry, session, session->key_hash, session->key_version, on_created, opening);
}

static void take_step(struct session_opening *opening)
{
    struct session_registry *registry = opening->registry;
    char key[KEY_MAX];

    if (opening->step != STEP_FIND_ROW && !redis_link_is_up(registry->state)) {
        retry_or(opening, CLOSE_UNAVAILABLE, RETRY_MS);
        return;
    }
    opening->is_asking = true;
    switch (opening->step) {
    case STEP_FIND_KEY:
        redis_link_command(registry->state, on_key, opening, 2,
                           (const char *[]){"GET", key_of(key, KEY_STREAM_KEY, opening->session.key_hash)}, NULL);
        break;
    case STEP_FIND_ROW:
        if (stream_key_row_find(registry->db, opening->session.key_hash, on_row, opening) != 0) {
            opening->is_asking = false;
            retry_or(opening, CLOSE_UNAVAILABLE, RETRY_MS);
        }
        break;
    case STEP_CREATE:
        ask_create(opening);
        break;
    case STEP_OPEN:
        redis_link_script(registry->state, &script_session_open, on_opened, opening, 3,
                          (const char *[]){opening->session.id, registry->instance,
                                           opening->is_restore ? "" : opening->session.key_hash},
                          NULL);
        break;
    }
}

static struct session_opening *new_opening(struct session_registry *registry, session_opened_fn callback, void *context)
{
    static const struct timeval at_once = {0, 0};
    struct session_opening *opening = alloc_zero(1, sizeof(*opening));

    opening->registry = registry;
    opening->callback = callback;
    opening->context = context;
    opening->deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    opening->timer = evtimer_new(registry->loop, on_timer, opening);
    if (!opening->timer)
        abort();
    evtimer_add(opening->timer, &at_once);
    return opening;
}

struct session_opening *session_open(struct session_registry *registry, const char *stream_key,
                                     session_opened_fn callback, void *context)
{
    struct session_opening *opening = new_opening(registry, callback, context);
    unsigned char digest[SHA256_DIGEST_LENGTH];

    SHA256((const unsigned char *)stream_key, strlen(stream_key), digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(opening->session.key_hash + 2 * i, 3, "%02x", digest[i]);
    opening->step = STEP_FIND_KEY;
    return opening;
}

struct session_opening *session_restore(struct session_registry *registry, const struct session *session,
                                        session_opened_fn callback, void *context)
{
    struct session_opening *opening = new_opening(registry, callback, context);

    opening->session = *session;
    opening->step = STEP_CREATE;
    opening->is_restore = true;
    return opening;
}

void session_open_cancel(struct session_opening *opening)
{
    if (!opening)
        return;
    opening->callback = NULL;
    if (!opening->is_asking)
        free_opening(opening);
}

/* --- an open session --- */

struct touch {
    session_touched_fn callback;
    void *context;
};

static void on_touched(int code, const struct redisReply *reply, void *context)
{
    struct touch *touch = context;
    bool is_renewed = code == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3;
    const char *text = code == 0 && reply->type == REDIS_REPLY_STRING ? reply->str : "";
    enum session_touched result = SESSION_NOT_ANSWERED;
    struct session_key renewed;

    if (is_renewed) {
        text = element(reply, 0);
        renewed = (struct session_key){element(reply, 1), element(reply, 2)};
    }

    if (strcmp(text, "ok") == 0)
        result = SESSION_TOUCHED;
    else if (strcmp(text, "replaced") == 0)
        result = SESSION_REPLACED;
    else if (strcmp(text, "ended") == 0)
        result = SESSION_ENDED;
    else if (strcmp(text, "unknown") == 0)
        result = SESSION_UNKNOWN;
    touch->callback(result, is_renewed ? &renewed : NULL, touch->context);
    free(touch);
}

void session_touch(struct session_registry *registry, const struct session *session, session_touched_fn callback,
                   void *context)
{
    struct touch *touch = alloc_zero(1, sizeof(*touch));
    char number[24];

    touch->callback = callback;
    touch->context = context;
    snprintf(number, sizeof(number), "%" PRId64, session->number);
    redis_link_script(registry->state, &script_session_touch, on_touched, touch, 3,
                      (const char *[]){session->id, number, session->key_version}, NULL);
}

void session_close(struct session_registry *registry, const struct session *session, const char *reason)
{
    char number[24];

    snprintf(number, sizeof(number), "%" PRId64, session->number);
    redis_link_script(registry->state, &script_session_close, NULL, NULL, 3,
                      (const char *[]){session->id, number, reason}, NULL);
}
