/* POST /api/v1/payments/webhook {"payment_id","user_id","coins"}: a payment provider (or whoever stands between it and
 * us) says that somebody has paid. Signed, see payment_signature.h; the same payment again changes nothing. */
#include "payment_signature.h"
#include "wallet.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/db.h"
#include "libcommon/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct payment_job {
    struct http_request *request;
    char payment_id[PAYMENT_ID_SIZE];
    char user_id[ID_SIZE];
    char reference[sizeof("payment:") + PAYMENT_ID_SIZE];
    struct credit credit;
    int code;
};

static void run(struct db_connection *connection, void *context)
{
    struct payment_job *job = context;

    job->code = wallet_row_credit(connection, &job->credit);
}

static void done(int code, void *context)
{
    struct payment_job *job = context;
    const struct credit *credit = &job->credit;

    if (code != 0 || job->code != 0) {
        reply_unavailable(job->request, "the database");
    } else if (credit->is_other) {
        log_warn("payment.contradicted", log_str("payment", job->payment_id), log_str("user", job->user_id),
                 log_int("coins", credit->coins));
        http_reply_error(job->request, 409, "payment_id_used", "this payment_id belongs to another payment");
    } else {
        if (!credit->is_repeated)
            log_info("payment.taken", log_str("payment", job->payment_id), log_str("user", job->user_id),
                     log_int("coins", credit->coins));
        http_reply_json(job->request, credit->is_repeated ? 200 : 201,
                        json_pack("{s:s,s:s,s:I}", "payment_id", job->payment_id, "user_id", job->user_id, "coins",
                                  (json_int_t)credit->coins));
    }
    free(job);
}

static bool check_signature(struct live_api *api, struct http_request *request)
{
    static struct log_limiter limiter = LOG_LIMITER(1000);
    size_t len;
    const char *body = http_request_body(request, &len);
    int error;

    if (!api->config.payment_secret[0]) {
        http_reply_error(request, 403, "payments_off", "no payment provider is configured");
        return false;
    }
    error = payment_signature_check(api->config.payment_secret, http_request_header(request, PAYMENT_TIMESTAMP_HEADER),
                                    http_request_header(request, PAYMENT_SIGNATURE_HEADER), body ? body : "",
                                    body ? len : 0, clock_wall_ms() / 1000);
    if (error == 0)
        return true;
    log_limited(&limiter, LOG_LEVEL_WARN, "payment.refused",
                log_str("why", error == PAYMENT_SIGNATURE_OLD ? "old" : "forged"));
    if (error == PAYMENT_SIGNATURE_OLD)
        http_reply_error(request, 401, "signature_expired", "the timestamp is more than five minutes from now");
    else
        http_reply_error(request, 401, "signature_invalid", "the signature is not ours");
    return false;
}

void handle_payment_webhook(struct http_request *request, void *context)
{
    struct live_api *api = context;
    const json_t *body, *coins;
    const char *payment, *user;

    if (!check_signature(api, request) || !(body = http_request_json(request)))
        return;
    payment = json_string_value(json_object_get(body, "payment_id"));
    user = json_string_value(json_object_get(body, "user_id"));
    coins = json_object_get(body, "coins");
    if (!payment || !payment[0] || strlen(payment) >= PAYMENT_ID_SIZE || !user || !user[0] || strlen(user) >= ID_SIZE ||
        !json_is_integer(coins) || json_integer_value(coins) < 1 || json_integer_value(coins) > COINS_MAX) {
        http_reply_error(request, 400, "invalid_value",
                         "payment_id (100 bytes), user_id (64 bytes) and coins (1 to 1000000) are needed");
        return;
    }
    struct payment_job *job = alloc_zero(1, sizeof(*job));
    job->request = request;
    strcpy(job->payment_id, payment);
    strcpy(job->user_id, user);
    snprintf(job->reference, sizeof(job->reference), "payment:%s", payment);
    job->credit = (struct credit){
        .kind = "payment", .reference = job->reference, .user_id = job->user_id, .coins = json_integer_value(coins)};
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
