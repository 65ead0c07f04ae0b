/* The self-healing subscriber (SYSTEM.md section 5): one per process, a connection of its own.
 *
 * connecting → live → suspect → backing off. Silent for quiet_ms, it publishes a message to its own ping channel,
 * through a second connection to the master that Sentinel names now; not *received* within pong_ms, the subscription is
 * half-dead: drop, reconnect, resubscribe to all, and tell the owner that messages may have been missed, so that state
 * is re-read. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct metrics;
struct subscriber;

enum subscriber_state { SUBSCRIBER_CONNECTING, SUBSCRIBER_LIVE, SUBSCRIBER_SUSPECT, SUBSCRIBER_BACKING_OFF };

struct subscriber_options {
    const char *ping_channel;   /* this process's own; anything it hears there is a pong */
    int64_t quiet_ms;           /* 0: 5,000 */
    int64_t pong_ms;            /* 0: 2,000 */
    int64_t connect_timeout_ms; /* 0: 1,000 */
    int64_t backoff_min_ms;     /* 0: 50 */
    int64_t backoff_max_ms;     /* 0: 1,000, behind Sentinel 250; jittered also at the maximum */
    struct metrics *metrics;    /* may be NULL; hanabi_subscriber_heals_total, hanabi_subscriber_state */
    /* All channels are subscribed (first time, or again): whatever was published before may have been missed. */
    void (*on_resubscribed)(bool first, void *context);
    /* `message` is NUL-terminated and valid during the call. */
    void (*on_message)(const char *channel, const char *message, size_t len_bytes, void *context);
    void *context;
};

/* URLs as in redis_link.h. */
struct subscriber *subscriber_create(struct event_base *loop, const char *url,
                                     const struct subscriber_options *options);
void subscriber_destroy(struct subscriber *subscriber);
/* Any time; exact channel names. Adding while live subscribes at once. Twice is once. */
void subscriber_add(struct subscriber *subscriber, const char *channel);
/* Dropping a channel while live (UNSUBSCRIBE of that channel only). */
void subscriber_remove(struct subscriber *subscriber, const char *channel);
enum subscriber_state subscriber_get_state(const struct subscriber *subscriber);
const char *subscriber_state_name(enum subscriber_state state);
/* A service_ready_fn; `context` is the subscriber. */
bool subscriber_ready(void *subscriber, char *why, size_t why_size);
