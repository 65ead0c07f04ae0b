/* SQL of channels. On a database worker; 0, a db_error, or what is said. */
#pragma once

#include "channel_definition.h"
#include "libcommon/http_page.h"

struct db_connection;

#define CHANNEL_TITLE_MAX_CHARS 200
#define CHANNEL_MAX_PER_OWNER   100

struct channel_row {
    char id[ID_SIZE], owner_id[ID_SIZE];
    char owner_name[101 * 4], title[CHANNEL_TITLE_MAX_CHARS * 4 + 1];
    struct channel_definition definition;
    int64_t duration_ms, created_at_ms;
    bool is_withdrawn; /* one of its archives has become private, and is not the channel's owner's */
};

struct channel_query {
    char owner_id[ID_SIZE]; /* "": all */
    struct http_page page;  /* by created_at_ms and id */
};

enum channel_insert_outcome {
    CHANNEL_INSERTED,
    CHANNEL_ITEM_MISSING, /* no such archive, or a private one of somebody else */
    CHANNEL_ITEM_MAKING,  /* its files do not all stand yet */
    CHANNEL_TOO_MANY,
};

/* With `duration_ms` filled in. Unless CHANNEL_INSERTED, `item` is the index of the first one that will not do. */
int channel_row_insert(struct db_connection *connection, struct channel_row *row, enum channel_insert_outcome *outcome,
                       int *item);
int channel_row_load(struct db_connection *connection, const char *id, struct channel_row *row, bool *found);
/* limit + 1 of them, so that it is known whether there are more. */
int channel_row_list(struct db_connection *connection, const struct channel_query *query, struct channel_row *rows,
                     size_t *count);
int channel_row_delete(struct db_connection *connection, const char *id);
/* A recording's segments; `item` is NULL when there is none of it (any more). To be freed with playout_item_destroy().
 */
int channel_item_load(struct db_connection *connection, const char *id, struct playout_item **item);
