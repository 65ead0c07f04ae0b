/* The scripts decide by Redis' clock and change the lease atomically; the client adds only its own, earlier, idea of
 * when the lease ends. Commands in flight keep the object alive (`references`), since their callbacks come after
 * lease_release. */
#include "libcommon/lease.h"

#include "libcommon/alloc.h"
#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/log.h"
#include "libcommon/redis_link.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdio.h>

#define DEFAULT_TTL_MS 3000
#define UNSEEN_MS      "300"

/* A lease is small and expires; without one nobody could make room in a Redis that is full. */
#define GOES_ON_WHEN_FULL "#!lua flags=allow-oom\n"

/* KEYS: lease, fence. ARGV: holder, alive channel, ttl. Returns the token, or false: somebody else holds it. */
static const struct redis_script acquire_script = {
    .name = "lease_acquire",
    .keys = 2,
    .lua = GOES_ON_WHEN_FULL "local t=redis.call('TIME') "
                             "local now=t[1]*1000+math.floor(t[2]/1000) "
                             "local l=redis.call('HMGET',KEYS[1],'holder','alive','unseen_at_ms') "
                             "if l[1] and l[1]~=ARGV[1] then "
                             "  if l[2] and redis.call('PUBSUB','NUMSUB',l[2])[2]>0 then "
                             "    redis.call('HDEL',KEYS[1],'unseen_at_ms') "
                             "    return false "
                             "  end "
                             "  if not l[3] then "
                             "    redis.call('HSET',KEYS[1],'unseen_at_ms',string.format('%.0f',now)) "
                             "    return false "
                             "  end "
                             "  if now-tonumber(l[3])<" UNSEEN_MS " then return false end "
                             "end "
                             "local token=redis.call('INCR',KEYS[2]) "
                             "if token<now then "
                             "  token=now "
                             "  redis.call('SET',KEYS[2],string.format('%.0f',now)) "
                             "end "
                             "token=string.format('%.0f',token) "
                             "redis.call('DEL',KEYS[1]) "
                             "redis.call('HSET',KEYS[1],'holder',ARGV[1],'alive',ARGV[2],'token',token) "
                             "redis.call('PEXPIRE',KEYS[1],ARGV[3]) "
                             "return token",
};

/* KEYS: lease. ARGV: holder, token, ttl. */
#define IS_MINE "redis.call('HGET',KEYS[1],'holder')==ARGV[1] and " LEASE_LUA_IS_HELD("KEYS[1]", "ARGV[2]")

static const struct redis_script renew_script = {
    .name = "lease_renew",
    .keys = 1,
    .answers_early = true, /* whoever waits for a replica loses the lease meanwhile */
    .lua = "if not (" IS_MINE ") then return 0 end "
           "redis.call('HDEL',KEYS[1],'unseen_at_ms') "
           "return redis.call('PEXPIRE',KEYS[1],ARGV[3])",
};

static const struct redis_script release_script = {
    .name = "lease_release",
    .keys = 1,
    .lua = "if not (" IS_MINE ") then return 0 end return redis.call('DEL',KEYS[1])",
};

enum lease_state { LEASE_ASKING, LEASE_HELD, LEASE_LOST };

struct lease {
    struct redis_link *link;
    char *key, *fence_key, *holder, *alive_channel;
    int64_t ttl_ms;
    void (*on_lost)(struct lease *lease, void *context);
    void *context;
    lease_acquired_fn on_acquired;
    void *acquired_context;
    enum lease_state state;
    char token[24];
    char ttl[24];
    int references; /* the owner, and every command in flight */
    bool released;
    bool renewing;
    int64_t asked_at_ms; /* when the command in flight was sent */
    int64_t safe_until_ms;
    struct event *renew_timer;
    struct event *expiry_timer;
};

static void arm(struct event *timer, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(timer, &delay);
}

static void lease_unref(struct lease *lease)
{
    if (--lease->references > 0)
        return;
    event_free(lease->renew_timer);
    event_free(lease->expiry_timer);
    free(lease->key);
    free(lease->fence_key);
    free(lease->holder);
    free(lease->alive_channel);
    free(lease);
}

static void lose(struct lease *lease, const char *why)
{
    if (lease->state != LEASE_HELD || lease->released)
        return;
    lease->state = LEASE_LOST;
    event_del(lease->renew_timer);
    event_del(lease->expiry_timer);
    log_warn("lease.lost", log_str("key", lease->key), log_str("token", lease->token), log_str("why", why));
    if (lease->on_lost)
        lease->on_lost(lease, lease->context);
}

/* Redis began to count when the command arrived, so an end counted from when it was sent is never later than Redis'
 * own; the tenth covers clocks of different speed and the work that a caller does between asking and writing. */
static void extend(struct lease *lease)
{
    int64_t now_ms = clock_monotonic_ms();

    lease->safe_until_ms = lease->asked_at_ms + lease->ttl_ms - lease->ttl_ms / 10;
    arm(lease->expiry_timer, lease->safe_until_ms > now_ms ? lease->safe_until_ms - now_ms : 0);
}

static void arm_renewal(struct lease *lease, int64_t period_ms)
{
    /* Between 3/4 of the period and all of it, so that the leases of one process do not beat together. */
    arm(lease->renew_timer, period_ms * 3 / 4 + random_below((uint32_t)(period_ms / 4 + 1)));
}

static void on_renewed(int code, const struct redisReply *reply, void *context)
{
    struct lease *lease = context;

    lease->renewing = false;
    if (lease->state == LEASE_HELD && !lease->released) {
        if (code == 0 && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1) {
            extend(lease);
            arm_renewal(lease, lease->ttl_ms / 3);
        } else if (code == 0) {
            lose(lease, "expired or taken");
        } else {
            /* Redis did not answer: more eagerly, until the local end. */
            arm_renewal(lease, lease->ttl_ms / 12 + 1);
        }
    }
    lease_unref(lease);
}

static void on_renew_timer(evutil_socket_t fd, short events, void *context)
{
    struct lease *lease = context;

    if (lease->renewing)
        return;
    lease->renewing = true;
    lease->references++;
    lease->asked_at_ms = clock_monotonic_ms();
    redis_link_script(lease->link, &renew_script, on_renewed, lease, 4,
                      (const char *[]){lease->key, lease->holder, lease->token, lease->ttl}, NULL);
}

static void on_expiry_timer(evutil_socket_t fd, short events, void *context)
{
    lose(context, "not renewed in time");
}

static void on_acquire_answer(int code, const struct redisReply *reply, void *context)
{
    struct lease *lease = context;
    lease_acquired_fn callback = lease->on_acquired;

    if (code != 0 || reply->type != REDIS_REPLY_STRING || reply->len >= sizeof(lease->token)) {
        callback(NULL, code, lease->acquired_context);
        lease_unref(lease);
        return;
    }
    /* The reference of the command becomes the owner's. */
    memcpy(lease->token, reply->str, reply->len + 1);
    lease->state = LEASE_HELD;
    extend(lease);
    arm_renewal(lease, lease->ttl_ms / 3);
    callback(lease, 0, lease->acquired_context);
}

void lease_try_acquire(struct event_base *loop, struct redis_link *link, const struct lease_options *options,
                       lease_acquired_fn callback, void *context)
{
    struct lease *lease = alloc_zero(1, sizeof(*lease));

    lease->link = link;
    lease->key = alloc_string(options->key);
    lease->fence_key = alloc_string(options->fence_key);
    lease->holder = alloc_string(options->holder);
    lease->alive_channel = alloc_string(options->alive_channel);
    lease->ttl_ms = options->ttl_ms > 0 ? options->ttl_ms : DEFAULT_TTL_MS;
    snprintf(lease->ttl, sizeof(lease->ttl), "%lld", (long long)lease->ttl_ms);
    lease->on_lost = options->on_lost;
    lease->context = options->context;
    lease->on_acquired = callback;
    lease->acquired_context = context;
    lease->references = 1;
    lease->renew_timer = evtimer_new(loop, on_renew_timer, lease);
    lease->expiry_timer = evtimer_new(loop, on_expiry_timer, lease);
    if (!lease->renew_timer || !lease->expiry_timer)
        abort();
    lease->asked_at_ms = clock_monotonic_ms();
    redis_link_script(link, &acquire_script, on_acquire_answer, lease, 5,
                      (const char *[]){lease->key, lease->fence_key, lease->holder, lease->alive_channel, lease->ttl},
                      NULL);
}

const char *lease_token(const struct lease *lease)
{
    return lease->token;
}

bool lease_is_safe(const struct lease *lease)
{
    return lease->state == LEASE_HELD && clock_monotonic_ms() < lease->safe_until_ms;
}

int64_t lease_safe_until_ms(const struct lease *lease)
{
    return lease_is_safe(lease) ? lease->safe_until_ms : 0;
}

void lease_release(struct lease *lease)
{
    if (!lease || lease->released)
        return;
    lease->released = true;
    event_del(lease->renew_timer);
    event_del(lease->expiry_timer);
    /* Fire and forget: if it does not arrive, the lease ends by itself. Also for a lost one, whose entry may still be
     * there. */
    redis_link_script(lease->link, &release_script, NULL, NULL, 3,
                      (const char *[]){lease->key, lease->holder, lease->token}, NULL);
    lease_unref(lease);
}
