/* GET /api/v1/wallet: what the caller has. POST /api/v1/wallet/topups: coins for nothing, in local mode only; elsewhere
 * they come through handle_payment_webhook.c. */
#include "wallet.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"

#include <stdio.h>
#include <stdlib.h>

struct wallet_job {
    struct http_request *request;
    struct access_token caller;
    char reference[8 + RANDOM_ID_SIZE];
    int64_t topup; /* 0: only look */
    int64_t coins;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct wallet_job *job = context;
    struct credit credit = {
        .kind = "topup", .reference = job->reference, .user_id = job->caller.subject, .coins = job->topup};

    if (job->topup > 0) {
        job->code = wallet_row_credit(connection, &credit);
        job->coins = credit.balance;
    } else {
        job->code = wallet_row_load(connection, job->caller.subject, &job->coins);
    }
}

static void done(int code, void *context)
{
    struct wallet_job *job = context;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
    } else {
        if (job->topup > 0)
            log_info("wallet.topped_up", log_str("user", job->caller.subject), log_int("coins", job->topup));
        http_reply_json(job->request, job->topup > 0 ? 201 : 200, json_pack("{s:I}", "coins", (json_int_t)job->coins));
    }
    free(job);
}

static void submit(struct live_api *api, struct http_request *request, const struct access_token *caller, int64_t topup)
{
    struct wallet_job *job = alloc_zero(1, sizeof(*job));
    char id[RANDOM_ID_SIZE];

    random_id(id);
    job->request = request;
    job->caller = *caller;
    job->topup = topup;
    snprintf(job->reference, sizeof(job->reference), "topup:%s", id);
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}

void handle_wallet_get(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;

    if (http_auth_require(request, api->config.jwt_secret, &caller))
        submit(api, request, &caller, 0);
}

void handle_wallet_topup(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct access_token caller;
    const json_t *body, *coins;

    if (!http_auth_require(request, api->config.jwt_secret, &caller))
        return;
    if (!api->config.local_mode) {
        http_reply_error(request, 403, "not_in_local_mode", "coins come from a payment provider, not from here");
        return;
    }
    if (!(body = http_request_json(request)))
        return;
    coins = json_object_get(body, "coins");
    if (!json_is_integer(coins) || json_integer_value(coins) < 1 || json_integer_value(coins) > COINS_MAX) {
        http_reply_error(request, 400, "invalid_value", "coins must be a whole number from 1 to 1000000");
        return;
    }
    submit(api, request, &caller, json_integer_value(coins));
}
