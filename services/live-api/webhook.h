/* Webhooks: other applications hear of a broadcaster's broadcasts. A delivery is a row of the transaction that tells
 * MySQL of the event (webhook_row.c); webhook_sender.c sends it, signed, until it is answered 2xx or given up;
 * handle_webhook.c is the API. At least once: receivers know a delivery by its id. Nothing promises an order. */
#pragma once

#include "live_api.h"

#define WEBHOOK_URL_MAX         500
#define WEBHOOK_SECRET_MIN      16
#define WEBHOOK_SECRET_SIZE     65
#define WEBHOOK_EVENTS_SIZE     80
#define WEBHOOKS_PER_OWNER      10
#define WEBHOOKS_OF_ALL         20 /* operators', together: each is a row per event of every broadcast */
#define WEBHOOK_DELIVERY_AGE_MS (7LL * 86400 * 1000)

enum webhook_error { WEBHOOK_TOO_MANY = -310, WEBHOOK_NOT_FOUND = -311 };

struct db_connection;
struct db_result;
struct webhook_sender;

struct webhook {
    char id[ID_SIZE];
    char owner_id[ID_SIZE];
    bool all_owners;
    char url[WEBHOOK_URL_MAX + 1];
    uint8_t secret_sealed[SECRET_SEALED_MAX];
    size_t secret_sealed_len;
    char events[WEBHOOK_EVENTS_SIZE]; /* "broadcast.live,broadcast.ended" */
    int64_t created_at_ms, failing_since_ms, disabled_at_ms, dropped, pending;
};

struct webhook_delivery {
    int64_t id;
    char event[32];
    char broadcast_id[ID_SIZE];
    char state[16];
    int attempts, status;
    int64_t next_at_ms, created_at_ms, done_at_ms;
    char error[201];
};

/* One to be sent now; taken by this process until its time is over. */
struct webhook_task {
    struct webhook webhook;
    struct webhook_delivery delivery;
    char *body; /* owned */
};

/* What became of an attempt. */
struct webhook_outcome {
    bool ok;
    int status; /* 0: no answer */
    const char *why;
};

/* --- webhook_row.c, on database workers; 0, a db_error or a webhook_error --- */

int webhook_row_insert(struct db_connection *connection, const struct webhook *webhook);
int webhook_row_delete(struct db_connection *connection, const char *id, const char *owner_id);
/* `webhooks` has room for WEBHOOKS_PER_OWNER + WEBHOOKS_OF_ALL. */
int webhook_row_list(struct db_connection *connection, const char *owner_id, struct webhook *webhooks, size_t *count);
/* The latest first, those before `before`; room for limit + 1. */
int webhook_row_deliveries(struct db_connection *connection, const char *id, const char *owner_id, int64_t before,
                           size_t limit, struct webhook_delivery *deliveries, size_t *count);
/* In the transaction that tells of the event: a delivery for everyone who wants it, where the queue is not full. */
int webhook_row_enqueue(struct db_connection *connection, const struct live_api *api, const char *event,
                        const struct broadcast_view *view, int64_t now_ms);
/* Takes at most `max` that are due, one of each webhook. */
int webhook_row_take(struct db_connection *connection, int64_t now_ms, int64_t lease_ms, struct webhook_task *tasks,
                     size_t max, size_t *count);
/* `retry_ms`: negative to give the delivery up. */
int webhook_row_settle(struct db_connection *connection, const struct webhook_task *task,
                       const struct webhook_outcome *outcome, int64_t now_ms, int64_t retry_ms, int64_t disable_ms);
/* Drops what is over for WEBHOOK_DELIVERY_AGE_MS. */
int webhook_row_prune(struct db_connection *connection, int64_t now_ms);

/* --- webhook_sender.c, loop thread --- */

struct webhook_sender *webhook_sender_create(struct live_api *api);
/* After the database is down. */
void webhook_sender_destroy(struct webhook_sender *sender);
/* Something was queued: look soon. */
void webhook_sender_wake(struct webhook_sender *sender);
