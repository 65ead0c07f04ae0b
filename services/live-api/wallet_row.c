#include "wallet.h"

#include "libcommon/backoff.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

#define ATTEMPTS     8
#define PAUSE_MAX_MS 20

int wallet_transaction(struct db_connection *connection, int (*body)(struct db_connection *, void *), void *context)
{
    int code = DB_CONFLICT;

    for (int i = 0; i < ATTEMPTS && code == DB_CONFLICT; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){0, (1 + random_below(PAUSE_MAX_MS)) * 1000000L}, NULL);
        code = db_begin_read_committed(connection);
        if (code == 0)
            code = body(connection, context);
        if (code == 0)
            code = db_commit(connection);
        if (code != 0)
            db_rollback(connection);
    }
    return code;
}

int wallet_row_load(struct db_connection *connection, const char *user_id, int64_t *coins)
{
    struct db_result *result = NULL;
    int code =
        db_query(connection, "SELECT coins FROM wallets WHERE user_id = ?", DB_PARAMS(db_str(user_id)), 1, &result);

    *coins = code == 0 && db_result_rows(result) == 1 ? db_result_int(result, 0, 0) : 0;
    db_result_free(result);
    return code;
}

int ledger_row_insert(struct db_connection *connection, const char *kind, const char *reference, int64_t now_ms,
                      const struct ledger_entry *entries, size_t count)
{
    int code = db_exec(connection, "INSERT INTO ledger_transactions (kind, reference, created_at_ms) VALUES (?, ?, ?)",
                       DB_PARAMS(db_str(kind), db_str(reference), db_int(now_ms)));
    int64_t id = db_insert_id(connection), sum = 0;

    for (size_t i = 0; i < count && code == 0; i++) {
        sum += entries[i].coins;
        if (entries[i].coins != 0)
            code = db_exec(connection, "INSERT INTO ledger_entries (transaction_id, account, coins) VALUES (?, ?, ?)",
                           DB_PARAMS(db_int(id), db_str(entries[i].account), db_int(entries[i].coins)));
    }
    assert(code != 0 || sum == 0);
    return code;
}

static int credit_in_transaction(struct db_connection *connection, void *context)
{
    const struct credit *credit = context;
    char user[80], source[40];
    const struct ledger_entry entries[] = {{user, credit->coins}, {source, -credit->coins}};

    snprintf(user, sizeof(user), "user:%s", credit->user_id);
    snprintf(source, sizeof(source), "source:%s", credit->kind);
    int code = ledger_row_insert(connection, credit->kind, credit->reference, clock_wall_ms(), entries, 2);
    if (code == 0)
        code = db_exec(connection,
                       "INSERT INTO wallets (user_id, coins) VALUES (?, ?) ON DUPLICATE KEY UPDATE coins = coins + ?",
                       DB_PARAMS(db_str(credit->user_id), db_int(credit->coins), db_int(credit->coins)));
    return code;
}

/* It is there: is it the same? */
static int compare_credit(struct db_connection *connection, struct credit *credit)
{
    struct db_result *result = NULL;
    char user[80];

    snprintf(user, sizeof(user), "user:%s", credit->user_id);
    int code = db_query(connection,
                        "SELECT e.coins FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id "
                        "WHERE t.reference = ? AND t.kind = ? AND e.account = ?",
                        DB_PARAMS(db_str(credit->reference), db_str(credit->kind), db_str(user)), 1, &result);

    credit->is_repeated = true;
    credit->is_other = code == 0 && (db_result_rows(result) != 1 || db_result_int(result, 0, 0) != credit->coins);
    db_result_free(result);
    return code;
}

int wallet_row_credit(struct db_connection *connection, struct credit *credit)
{
    int code = wallet_transaction(connection, credit_in_transaction, credit);

    if (code == DB_DUPLICATE)
        code = compare_credit(connection, credit);
    return code ? code : wallet_row_load(connection, credit->user_id, &credit->balance);
}
