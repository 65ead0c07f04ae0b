/* GET /api/v1/items: what can be given, and what it costs. */
#include "wallet.h"

#include "libcommon/alloc.h"
#include "libcommon/db.h"

#include <stdio.h>
#include <stdlib.h>

#define ITEMS_MAX 200

struct item_job {
    struct http_request *request;
    json_t *items;
    int code;
};

static void take_item(struct item_job *job, const struct db_result *result, size_t row)
{
    struct item item = {.price = db_result_int(result, row, 2)};

    snprintf(item.id, sizeof(item.id), "%s", db_result_value(result, row, 0));
    snprintf(item.name, sizeof(item.name), "%s", db_result_value(result, row, 1));
    snprintf(item.icon, sizeof(item.icon), "%s", db_result_value(result, row, 3));
    snprintf(item.colour, sizeof(item.colour), "%s", db_result_value(result, row, 4));
    json_array_append_new(job->items, item_to_json(&item));
}

static void run(struct db_connection *connection, void *context)
{
    struct item_job *job = context;
    struct db_result *result = NULL;

    job->code = db_query(connection,
                         "SELECT id, name, price, icon, colour FROM items WHERE on_sale = 1 ORDER BY position, id "
                         "LIMIT ?",
                         DB_PARAMS(db_int(ITEMS_MAX)), ITEMS_MAX, &result);
    for (size_t row = 0; job->code == 0 && row < db_result_rows(result); row++)
        take_item(job, result, row);
    db_result_free(result);
}

static void done(int code, void *context)
{
    struct item_job *job = context;

    if (code != 0 || job->code != 0)
        reply_unavailable(job->request, "the database");
    else
        http_reply_json(job->request, 200, json_pack("{s:O}", "items", job->items));
    json_decref(job->items);
    free(job);
}

void handle_item_list(struct http_request *request, void *context)
{
    struct item_job *job = alloc_zero(1, sizeof(*job));

    job->request = request;
    job->items = json_array();
    if (live_api_submit(context, run, done, job) != 0)
        done(DB_FULL, job);
}
