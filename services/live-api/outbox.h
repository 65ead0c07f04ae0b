/* The outbox: what has to reach somewhere outside of MySQL once the transaction that it tells of is committed.
 *
 *     in the transaction:  outbox_insert(connection, "gift", broadcast, payload);
 *     after its commit:    outbox_relay_wake(relay);      (or within poll_ms, by this process or another)
 *     the relay:           deliver(batch) → outbox_entry_settle(batch, i, OUTBOX_DELIVERED | _RETRY) for each
 *
 * A relay takes what is due of its kind, in any number of processes: a row that was taken is nobody else's for
 * lease_ms, so one whose process dies comes up again. It is deleted once delivered. So everything arrives *at least*
 * once: the receiver must know an id that it has seen already, for as long as the row may exist; on_gone says when that
 * is over. Rows of one subject usually arrive in their order, but nothing promises it.
 *
 * A process that hung may wake with a batch that others have delivered meanwhile: a deliverer that cannot bear that
 * asks outbox_batch_left_ms() and takes care that nothing of it arrives later than that.
 *
 * None of a broadcast's gifts is still under way when (in SQL; archive asks before it seals a log)
 *     broadcasts.state IN ('ended', 'archived')
 *     AND NOT EXISTS (SELECT 1 FROM outbox WHERE kind = 'gift' AND subject = broadcasts.id)
 * holds, since purchases lock the broadcast's row and refuse when it says that it is over.
 *
 * Loop thread, but for outbox_insert(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db_connection;
struct live_api;
struct outbox_relay;

/* On a database worker, inside the caller's transaction. `kind` at most 32 bytes, `subject` 64. 0 or a db_error. */
int outbox_insert(struct db_connection *connection, const char *kind, const char *subject, const char *payload)
    __attribute__((warn_unused_result));

enum outbox_result {
    OUTBOX_PENDING,   /* not settled yet */
    OUTBOX_DELIVERED, /* the row goes */
    OUTBOX_RETRY,     /* later, the more often the later: retry_min_ms · 2^attempts, at most retry_max_ms */
    OUTBOX_DROPPED,   /* it can never be delivered; the deliverer has said why. The row goes */
};

struct outbox_entry {
    int64_t id;   /* rises; the same at every attempt */
    int attempts; /* this one included */
    int64_t created_at_ms;
    char *subject, *payload;
    size_t payload_len;
    enum outbox_result result;
};

struct outbox_batch {
    struct outbox_relay *relay;
    struct outbox_entry *entries;
    size_t count;
    size_t unsettled;
    int64_t taken_ms; /* monotonic clock, before they were taken */
};

/* How long nobody else can have these entries, at least; 0 or less: perhaps somebody has. */
int64_t outbox_batch_left_ms(const struct outbox_batch *batch);
/* Each entry once, at any time, in any order, also inside `deliver`. With the last one the batch is gone. */
void outbox_entry_settle(struct outbox_batch *batch, size_t index, enum outbox_result result);
/* All that are not settled yet. */
void outbox_batch_settle(struct outbox_batch *batch, enum outbox_result result);

struct outbox_options {
    const char *kind;                   /* a constant */
    size_t batch;                       /* 0: 50; at most 100 */
    int64_t lease_ms;                   /* 0: 10,000: longer than a delivery takes */
    int64_t poll_ms;                    /* 0: 500 */
    int64_t retry_min_ms, retry_max_ms; /* 0: 200 and 5,000 */
    void (*deliver)(struct outbox_batch *batch, void *context);
    /* These entries (all DELIVERED or DROPPED) have no rows any more: their ids may be forgotten. May be NULL. */
    void (*on_gone)(const struct outbox_entry *entries, size_t count, void *context);
    void *context;
};

/* One batch at a time. `options` are copied. */
struct outbox_relay *outbox_relay_create(struct live_api *api, const struct outbox_options *options);
/* Look soon: something was committed, or what deliveries need is there again. */
void outbox_relay_wake(struct outbox_relay *relay);
/* Nothing of it is under way: a drain waits for this. */
bool outbox_relay_is_idle(const struct outbox_relay *relay);
/* After the database and whatever delivers have called back for the last time; what was not settled by then comes up
 * again. NULL is fine. */
void outbox_relay_destroy(struct outbox_relay *relay);
