/* The SQL of coins: wallets, the ledger, purchases. On database workers only; each function returns 0 or a db_error and
 * runs in a transaction of its own, again when another's locks were in its way.
 *
 * Every movement of coins is a transaction of the ledger whose entries sum to zero; a wallet's row is changed with its
 * entry. proto/sql/0006_wallet.sql has the tables, and the view ledger_faults that holds all of it against each other.
 */
#pragma once

#include "libcommon/random_id.h"
#include "live_api.h"

struct db_connection;

#define COINS_MAX            1000000 /* of one top-up */
#define ITEM_ID_SIZE         33
#define IDEMPOTENCY_KEY_SIZE 65
#define GIFT_MESSAGE_SIZE    (200 * 4 + 1)
#define PAYMENT_ID_SIZE      101

struct item {
    char id[ITEM_ID_SIZE];
    char name[50 * 4 + 1];
    char icon[16 * 4 + 1];
    char colour[8];
    int64_t price;
};
json_t *item_to_json(const struct item *item);

/* --- wallet_row.c --- */

/* 0 for whoever never had any. */
int wallet_row_load(struct db_connection *connection, const char *user_id, int64_t *coins);

struct credit {
    const char *kind;      /* "topup" or "payment" */
    const char *reference; /* unique: the same again changes nothing */
    const char *user_id;
    int64_t coins;    /* to add */
    int64_t balance;  /* out */
    bool is_repeated; /* out: it was there already */
    bool is_other;    /* out: it was there with another user or amount */
};
int wallet_row_credit(struct db_connection *connection, struct credit *credit);

struct ledger_entry {
    const char *account;
    int64_t coins;
};
/* Inside the caller's transaction; asserts that the entries sum to zero. Entries of 0 coins are left out. */
int ledger_row_insert(struct db_connection *connection, const char *kind, const char *reference, int64_t now_ms,
                      const struct ledger_entry *entries, size_t count);

/* Calls `body` until it is done with something else than DB_CONFLICT, a few times at most; before each further time it
 * has been rolled back. */
int wallet_transaction(struct db_connection *connection, int (*body)(struct db_connection *, void *), void *context);

/* --- purchase_row.c --- */

struct purchase {
    char id[RANDOM_ID_SIZE];
    char user_id[ID_SIZE];
    char user_name[sizeof(((struct access_token *)0)->name)];
    char role[32]; /* of the token */
    char idempotency_key[IDEMPOTENCY_KEY_SIZE];
    char broadcast_id[ID_SIZE];
    char message[GIFT_MESSAGE_SIZE]; /* "": none */
    struct item item;                /* the id is given, the rest is read */
    int64_t created_at_ms;
};
json_t *purchase_to_json(const struct purchase *purchase);

enum on_air { ON_AIR_NO, ON_AIR_YES, ON_AIR_UNKNOWN /* Redis cannot be asked, or has lost it */ };

enum purchase_outcome {
    PURCHASE_MADE,
    PURCHASE_REPEATED,   /* the key is known, with the same body: *purchase is what it made */
    PURCHASE_OTHER_BODY, /* the key is known, with another body */
    PURCHASE_NO_ITEM,
    PURCHASE_NO_BROADCAST,
    PURCHASE_OFF_AIR,
    PURCHASE_TOO_FEW_COINS,
    PURCHASE_MUTED,   /* or banned */
    PURCHASE_BLOCKED, /* by the broadcaster, or a word of the message is */
    PURCHASE_UNSURE,  /* ON_AIR_UNKNOWN, and it would have been made */
};

/* Price, wallet, ledger, ranking, purchase and the outbox's row, or nothing. `platform_percent` of the price is not the
 * broadcaster's. */
int purchase_row_make(struct db_connection *connection, struct purchase *purchase, enum on_air on_air,
                      int64_t platform_percent, enum purchase_outcome *outcome);

/* --- gift_event.c --- */

/* What the settings in `result` (rows of kind and value) say about a gift: PURCHASE_MADE, _MUTED or _BLOCKED. */
struct db_result;
enum purchase_outcome gift_check_settings(const struct db_result *result, const struct purchase *purchase,
                                          bool is_owner, int64_t now_ms);
/* The payload of the outbox: the gift as an event of proto/chat.h, a JSON object without id and time. To be freed with
 * free(). */
char *gift_event_compose(const struct purchase *purchase, const struct db_result *settings, bool is_owner);
