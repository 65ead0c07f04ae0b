/* One purchase, one transaction. The buyer's wallet is locked first, so that all purchases of one buyer come one after
 * the other: the last coin is spent once, and of two with the same key the second finds the first. The broadcast's row
 * is locked for sharing, so that once it says "ended" no gift comes after (outbox.h). */
#include "wallet.h"

#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "outbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct making {
    struct purchase *purchase;
    enum on_air on_air;
    int64_t platform_percent;
    int64_t coins; /* in the wallet */
    char owner_id[ID_SIZE];
    enum purchase_outcome outcome;
};

static void copy(char *out, size_t out_size, const char *text)
{
    snprintf(out, out_size, "%s", text ? text : "");
}

#define COPY(field, text) copy(field, sizeof(field), text)

static int lock_wallet(struct db_connection *connection, struct making *making)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT coins FROM wallets WHERE user_id = ? FOR UPDATE",
                        DB_PARAMS(db_str(making->purchase->user_id)), 1, &result);

    making->coins = code == 0 && db_result_rows(result) == 1 ? db_result_int(result, 0, 0) : 0;
    db_result_free(result);
    return code;
}

/* With the same body, the purchase becomes what was made then. */
static void compare(struct making *making, const struct db_result *row)
{
    struct purchase *purchase = making->purchase;
    const char *message = db_result_value(row, 0, 5);

    if (strcmp(purchase->item.id, db_result_value(row, 0, 3)) != 0 ||
        strcmp(purchase->broadcast_id, db_result_value(row, 0, 4)) != 0 ||
        strcmp(purchase->message, message ? message : "") != 0) {
        making->outcome = PURCHASE_OTHER_BODY;
        return;
    }
    making->outcome = PURCHASE_REPEATED;
    COPY(purchase->id, db_result_value(row, 0, 0));
    purchase->created_at_ms = db_result_int(row, 0, 1);
    purchase->item.price = db_result_int(row, 0, 2);
    COPY(purchase->item.name, db_result_value(row, 0, 6));
    COPY(purchase->item.icon, db_result_value(row, 0, 7));
    COPY(purchase->item.colour, db_result_value(row, 0, 8));
}

static int find_earlier(struct db_connection *connection, struct making *making)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection,
                 "SELECT p.id, p.created_at_ms, p.price, p.item_id, p.broadcast_id, p.message, i.name, i.icon, "
                 "i.colour FROM purchases p JOIN items i ON i.id = p.item_id WHERE p.user_id = ? AND "
                 "p.idempotency_key = ?",
                 DB_PARAMS(db_str(making->purchase->user_id), db_str(making->purchase->idempotency_key)), 1, &result);

    if (code == 0 && db_result_rows(result) == 1)
        compare(making, result);
    db_result_free(result);
    return code;
}

static int load_item(struct db_connection *connection, struct making *making)
{
    struct item *item = &making->purchase->item;
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT name, icon, colour, price FROM items WHERE id = ? AND on_sale = 1",
                        DB_PARAMS(db_str(item->id)), 1, &result);

    if (code == 0 && db_result_rows(result) == 1) {
        COPY(item->name, db_result_value(result, 0, 0));
        COPY(item->icon, db_result_value(result, 0, 1));
        COPY(item->colour, db_result_value(result, 0, 2));
        item->price = db_result_int(result, 0, 3);
    } else {
        making->outcome = PURCHASE_NO_ITEM;
    }
    db_result_free(result);
    return code;
}

/* Redis says whether it is on air; the row may lag behind it, but where it says "over" it is. */
static int lock_broadcast(struct db_connection *connection, struct making *making)
{
    struct db_result *result = NULL;
    int code = db_query(connection, "SELECT owner_id, state FROM broadcasts WHERE id = ? LOCK IN SHARE MODE",
                        DB_PARAMS(db_str(making->purchase->broadcast_id)), 1, &result);

    if (code != 0 || db_result_rows(result) == 0) {
        making->outcome = PURCHASE_NO_BROADCAST;
    } else {
        enum broadcast_state state = broadcast_state_from_name(db_result_value(result, 0, 1));

        COPY(making->owner_id, db_result_value(result, 0, 0));
        if (state == BROADCAST_ENDED || state == BROADCAST_ARCHIVED || making->on_air == ON_AIR_NO)
            making->outcome = PURCHASE_OFF_AIR;
    }
    db_result_free(result);
    return code;
}

/* The wallet, the broadcaster, the platform: nothing is made or lost. */
static int pay(struct db_connection *connection, const struct making *making)
{
    const struct purchase *purchase = making->purchase;
    int64_t price = purchase->item.price, platform = price * making->platform_percent / 100;
    char user[80], revenue[80], reference[40];
    const struct ledger_entry entries[] = {{user, -price}, {revenue, price - platform}, {"platform", platform}};

    snprintf(user, sizeof(user), "user:%s", purchase->user_id);
    snprintf(revenue, sizeof(revenue), "revenue:%s", making->owner_id);
    snprintf(reference, sizeof(reference), "purchase:%s", purchase->id);
    int code = db_exec(connection, "UPDATE wallets SET coins = coins - ? WHERE user_id = ?",
                       DB_PARAMS(db_int(price), db_str(purchase->user_id)));
    return code ? code : ledger_row_insert(connection, "purchase", reference, purchase->created_at_ms, entries, 3);
}

static int record(struct db_connection *connection, const struct making *making)
{
    const struct purchase *p = making->purchase;
    int code = db_exec(connection,
                       "INSERT INTO purchases (id, user_id, user_name, idempotency_key, item_id, broadcast_id, price, "
                       "message, created_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       DB_PARAMS(db_str(p->id), db_str(p->user_id), db_str(p->user_name), db_str(p->idempotency_key),
                                 db_str(p->item.id), db_str(p->broadcast_id), db_int(p->item.price),
                                 db_str(p->message[0] ? p->message : NULL), db_int(p->created_at_ms)));

    if (code == 0)
        code = db_exec(
            connection,
            "INSERT INTO supporters (broadcast_id, user_id, user_name, coins, gifts) VALUES (?, ?, ?, ?, 1) "
            "ON DUPLICATE KEY UPDATE coins = coins + VALUES(coins), gifts = gifts + 1, user_name = "
            "VALUES(user_name)",
            DB_PARAMS(db_str(p->broadcast_id), db_str(p->user_id), db_str(p->user_name), db_int(p->item.price)));
    return code;
}

/* What chat would not let somebody say, they cannot say with a gift either; and nobody pays for what is not shown. */
static int announce(struct db_connection *connection, struct making *making)
{
    const struct purchase *purchase = making->purchase;
    bool is_owner = strcmp(purchase->user_id, making->owner_id) == 0;
    struct db_result *settings = NULL;
    int code = db_query(connection,
                        "SELECT kind, value FROM settings WHERE value IS NOT NULL AND ("
                        "(kind = 'block' AND subject = ? AND object = ?) OR "
                        "(kind IN ('ban', 'mute') AND subject = ? AND object = ?) OR "
                        "(kind = 'words' AND subject = ? AND object = '') OR "
                        "(kind = 'decoration' AND subject = ? AND object = ''))",
                        DB_PARAMS(db_str(making->owner_id), db_str(purchase->user_id), db_str(purchase->broadcast_id),
                                  db_str(purchase->user_id), db_str(making->owner_id), db_str(purchase->user_id)),
                        5, &settings);

    if (code == 0)
        making->outcome = gift_check_settings(settings, purchase, is_owner, clock_wall_ms());
    if (code == 0 && making->outcome == PURCHASE_MADE) {
        char *event = gift_event_compose(purchase, settings, is_owner);

        code = outbox_insert(connection, "gift", purchase->broadcast_id, event);
        free(event);
    }
    db_result_free(settings);
    return code;
}

static int make(struct db_connection *connection, void *context)
{
    struct making *making = context;
    int (*const checks[])(struct db_connection *, struct making *) = {lock_wallet, find_earlier, load_item,
                                                                      lock_broadcast};
    int code = 0;

    making->outcome = PURCHASE_MADE;
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && code == 0 && making->outcome == PURCHASE_MADE; i++)
        code = checks[i](connection, making);
    if (code == 0 && making->outcome == PURCHASE_MADE && making->on_air == ON_AIR_UNKNOWN)
        making->outcome = PURCHASE_UNSURE;
    if (code == 0 && making->outcome == PURCHASE_MADE && making->coins < making->purchase->item.price)
        making->outcome = PURCHASE_TOO_FEW_COINS;
    if (code == 0 && making->outcome == PURCHASE_MADE)
        code = announce(connection, making);
    /* From here on all of it, or the transaction is rolled back: nothing has been written yet but the outbox's row. */
    if (code == 0 && making->outcome == PURCHASE_MADE)
        code = pay(connection, making);
    if (code == 0 && making->outcome == PURCHASE_MADE)
        code = record(connection, making);
    return code;
}

int purchase_row_make(struct db_connection *connection, struct purchase *purchase, enum on_air on_air,
                      int64_t platform_percent, enum purchase_outcome *outcome)
{
    struct making making = {.purchase = purchase, .on_air = on_air, .platform_percent = platform_percent};

    random_id(purchase->id);
    purchase->created_at_ms = clock_wall_ms();
    int code = wallet_transaction(connection, make, &making);
    /* Without a wallet's row to lock, two with one key may meet here; then there was no purchase either way, or the
     * other one has made it. */
    if (code == DB_DUPLICATE)
        code = find_earlier(connection, &making);
    *outcome = making.outcome;
    return code;
}
