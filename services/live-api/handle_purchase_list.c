/* GET /api/v1/purchases: the caller's own, newest first; with ?broadcast_id= all of that broadcast, for its owner and
 * operators. */
#include "broadcast_row.h"
#include "wallet.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"
#include "libcommon/http_auth.h"
#include "libcommon/http_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS                                                                                                        \
    "p.id, p.user_id, p.broadcast_id, p.price, p.message, p.created_at_ms, i.id, i.name, i.icon, i.colour, "           \
    "p.user_name"
#define BEHIND "(p.created_at_ms < ? OR (p.created_at_ms = ? AND p.id < ?)) ORDER BY p.created_at_ms DESC, p.id DESC"

struct list_job {
    struct http_request *request;
    struct access_token caller;
    struct http_page page;
    struct broadcast_view broadcast; /* id "": the caller's own purchases */
    bool found;
    json_t *list;
    bool more;
    struct purchase last;
    int code;
};

static void take_row(struct list_job *job, const struct db_result *result, size_t row)
{
    struct purchase *purchase = &job->last;
    const char *message = db_result_value(result, row, 4);
    json_t *object;

    memset(purchase, 0, sizeof(*purchase));
    snprintf(purchase->id, sizeof(purchase->id), "%s", db_result_value(result, row, 0));
    snprintf(purchase->user_id, sizeof(purchase->user_id), "%s", db_result_value(result, row, 1));
    snprintf(purchase->broadcast_id, sizeof(purchase->broadcast_id), "%s", db_result_value(result, row, 2));
    snprintf(purchase->message, sizeof(purchase->message), "%s", message ? message : "");
    purchase->item.price = db_result_int(result, row, 3);
    purchase->created_at_ms = db_result_int(result, row, 5);
    snprintf(purchase->item.id, sizeof(purchase->item.id), "%s", db_result_value(result, row, 6));
    snprintf(purchase->item.name, sizeof(purchase->item.name), "%s", db_result_value(result, row, 7));
    snprintf(purchase->item.icon, sizeof(purchase->item.icon), "%s", db_result_value(result, row, 8));
    snprintf(purchase->item.colour, sizeof(purchase->item.colour), "%s", db_result_value(result, row, 9));
    object = purchase_to_json(purchase);
    json_object_set_new(object, "user_name", json_string(db_result_value(result, row, 10)));
    json_array_append_new(job->list, object);
}

static bool may_see(const struct list_job *job)
{
    return job->found &&
           (strcmp(job->broadcast.owner_id, job->caller.subject) == 0 || strcmp(job->caller.role, "operator") == 0);
}

static void run(struct db_connection *connection, void *context)
{
    struct list_job *job = context;
    const char *by_broadcast = "SELECT " COLUMNS " FROM purchases p JOIN items i ON i.id = p.item_id WHERE "
                               "p.broadcast_id = ? AND " BEHIND " LIMIT ?";
    const char *by_user = "SELECT " COLUMNS " FROM purchases p JOIN items i ON i.id = p.item_id WHERE p.user_id = ? "
                          "AND " BEHIND " LIMIT ?";
    bool is_own = !job->broadcast.id[0];
    char id[ID_SIZE];
    struct db_result *result = NULL;

    strcpy(id, job->broadcast.id);
    if (!is_own)
        job->code = broadcast_row_load(connection, id, &job->broadcast, &job->found);
    if (job->code != 0 || (!is_own && !may_see(job)))
        return;
    job->code = db_query(connection, is_own ? by_user : by_broadcast,
                         DB_PARAMS(db_str(is_own ? job->caller.subject : id), db_int(job->page.before),
                                   db_int(job->page.before), db_str(job->page.before_key),
                                   db_int((int64_t)job->page.limit + 1)),
                         job->page.limit + 1, &result);
    size_t count = job->code == 0 ? db_result_rows(result) : 0;
    job->more = count > job->page.limit;
    for (size_t row = 0; row < count && row < job->page.limit; row++)
        take_row(job, result, row);
    db_result_free(result);
}

static void done(int code, void *context)
{
    struct list_job *job = context;
    bool is_own = !job->broadcast.id[0];

    if (code != 0 || job->code != 0)
        reply_unavailable(job->request, "the database");
    else if (!is_own && !job->found)
        http_reply_error(job->request, 404, "no_such_broadcast", "there is no broadcast with this id");
    else if (is_own || require_owner(job->request, &job->caller, job->broadcast.owner_id, true))
        http_reply_json(
            job->request, 200,
            http_page_to_json("purchases", json_incref(job->list), job->more, job->last.created_at_ms, job->last.id));
    json_decref(job->list);
    free(job);
}

void handle_purchase_list(struct http_request *request, void *context)
{
    struct live_api *api = context;
    const char *broadcast = http_request_query(request, "broadcast_id");
    struct access_token caller;
    struct http_page page;

    if (!http_auth_require(request, api->config.jwt_secret, &caller) || !http_page_parse(request, &page))
        return;
    if (broadcast && !id_is_valid(broadcast)) {
        http_reply_error(request, 404, "no_such_broadcast", "there is no broadcast with this id");
        return;
    }
    struct list_job *job = alloc_zero(1, sizeof(*job));
    job->request = request;
    job->caller = caller;
    job->page = page;
    job->list = json_array();
    strcpy(job->broadcast.id, broadcast ? broadcast : "");
    if (live_api_submit(api, run, done, job) != 0)
        done(DB_FULL, job);
}
