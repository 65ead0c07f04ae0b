/* POST /api/v1/purchases: a gift is bought and given. Redis says whether the broadcast is on air; all else is one
 * transaction (purchase_row.c). The gift is shown when the outbox's relay has put it into the chat. */
#include "wallet.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/log.h"
#include "outbox.h"
#include "proto/chat.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct purchase_job {
    struct live_api *api;
    struct http_request *request;
    struct purchase purchase;
    struct broadcast_view view;
    enum on_air on_air;
    enum purchase_outcome outcome;
    int code;
};

static const struct {
    unsigned status;
    const char *code, *message;
} refusals[] = {
    [PURCHASE_OTHER_BODY] = {409, "idempotency_key_used", "this idempotency_key belongs to another purchase"},
    [PURCHASE_NO_ITEM] = {404, "no_such_item", "there is no item with this id"},
    [PURCHASE_NO_BROADCAST] = {404, "no_such_broadcast", "there is no broadcast with this id"},
    [PURCHASE_OFF_AIR] = {409, "not_on_air", "gifts can be given while a broadcast is on air"},
    [PURCHASE_TOO_FEW_COINS] = {402, "too_few_coins", "there are too few coins in the wallet"},
    [PURCHASE_MUTED] = {403, "muted", "you may not write in this broadcast's chat"},
    [PURCHASE_BLOCKED] = {403, "blocked", "the broadcaster does not take this"},
};

static void run(struct db_connection *connection, void *context)
{
    struct purchase_job *job = context;

    job->code =
        purchase_row_make(connection, &job->purchase, job->on_air, job->api->config.platform_percent, &job->outcome);
}

static void answer(struct purchase_job *job)
{
    const struct purchase *purchase = &job->purchase;

    if (job->outcome == PURCHASE_UNSURE) {
        reply_unavailable(job->request, "the broadcast's state");
    } else if (job->outcome == PURCHASE_MADE || job->outcome == PURCHASE_REPEATED) {
        http_reply_json(job->request, job->outcome == PURCHASE_MADE ? 201 : 200, purchase_to_json(purchase));
    } else {
        http_reply_error(job->request, refusals[job->outcome].status, refusals[job->outcome].code,
                         refusals[job->outcome].message);
    }
}

static void done(int code, void *context)
{
    struct purchase_job *job = context;

    if (code != 0 || job->code != 0) {
        /* Whether it was made is not known: the same key again says. */
        reply_unavailable(job->request, "the database");
    } else {
        if (job->outcome == PURCHASE_MADE) {
            log_info("purchase.made", log_str("purchase", job->purchase.id), log_str("user", job->purchase.user_id),
                     log_str("broadcast", job->purchase.broadcast_id), log_str("item", job->purchase.item.id),
                     log_int("coins", job->purchase.item.price));
            outbox_relay_wake(job->api->gifts);
        }
        answer(job);
    }
    free(job);
}

static void on_fetched(int code, const redisReply *reply, void *context)
{
    struct purchase_job *job = context;

    job->on_air = ON_AIR_UNKNOWN;
    if (code == 0 && broadcast_view_overlay(&job->view, reply))
        job->on_air =
            job->view.state == BROADCAST_LIVE || job->view.state == BROADCAST_SUSPENDED ? ON_AIR_YES : ON_AIR_NO;
    if (live_api_submit(job->api, run, done, job) != 0)
        done(DB_FULL, job);
}

/* --- what was sent --- */

static bool take_id(struct http_request *request, const json_t *body, const char *name, char *out, size_t out_size)
{
    const char *text = json_string_value(json_object_get(body, name));
    char message[80];

    if (text && text[0] && strlen(text) < out_size) {
        strcpy(out, text);
        return true;
    }
    snprintf(message, sizeof(message), "%s must be text of 1 to %zu bytes", name, out_size - 1);
    http_reply_error(request, 400, "invalid_value", message);
    return false;
}

static bool take_message(struct http_request *request, const json_t *body, struct purchase *purchase)
{
    const json_t *message = json_object_get(body, "message");
    const char *code = "invalid";

    if (!message || json_is_null(message))
        return true;
    if (json_is_string(message) && !(code = chat_text_check(json_string_value(message)))) {
        snprintf(purchase->message, sizeof(purchase->message), "%s", json_string_value(message));
        return true;
    }
    http_reply_error(request, 400, strcmp(code, "too_long") == 0 ? code : "invalid_value",
                     "message must be text of 1 to 200 characters");
    return false;
}

static bool take_body(struct http_request *request, struct purchase *purchase)
{
    const json_t *body = http_request_json(request);

    return body && take_id(request, body, "item_id", purchase->item.id, sizeof(purchase->item.id)) &&
           take_id(request, body, "broadcast_id", purchase->broadcast_id, sizeof(purchase->broadcast_id)) &&
           take_id(request, body, "idempotency_key", purchase->idempotency_key, sizeof(purchase->idempotency_key)) &&
           take_message(request, body, purchase);
}

void handle_purchase_post(struct http_request *request, void *context)
{
    struct live_api *api = context;
    struct purchase_job *job = alloc_zero(1, sizeof(*job));
    struct access_token caller;

    job->api = api;
    job->request = request;
    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !take_body(request, &job->purchase)) {
        free(job);
        return;
    }
    strcpy(job->purchase.user_id, caller.subject);
    strcpy(job->purchase.user_name, caller.name);
    strcpy(job->purchase.role, caller.role);
    if (id_is_valid(job->purchase.broadcast_id)) {
        broadcast_view_fetch(api, job->purchase.broadcast_id, on_fetched, job);
        return;
    }
    http_reply_error(request, 404, "no_such_broadcast", "there is no broadcast with this id");
    free(job);
}
