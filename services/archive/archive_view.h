/* An archive as callers see it: the rows of a broadcast and of its archive, and how they look as JSON. */
#pragma once

#include "archive.h"
#include "libcommon/access_token.h"
#include "libcommon/http_page.h"

#include <jansson.h>

#define ARCHIVE_TOKEN_SIZE 256 /* of a sealed token over an id */

enum archive_row_state { ARCHIVE_ROW_NONE, ARCHIVE_ROW_MAKING, ARCHIVE_ROW_ARCHIVED, ARCHIVE_ROW_DELETING };

struct archive_view {
    char id[ID_SIZE], title[801], owner_id[ID_SIZE], owner_name[404];
    enum broadcast_state broadcast_state;
    int64_t created_at_ms, live_at_ms, ended_at_ms; /* 0: not known */
    enum archive_row_state row_state;
    bool is_private, has_storyboard;
    int64_t duration_ms, segments, events, archived_at_ms;
    bool has_audience; /* false: it was not counted yet */
    int64_t peak, unique_viewers;
};

struct archive_query {
    bool all_visibilities;
    char owner_id[ID_SIZE]; /* "": anyone's */
    struct http_page page;  /* by archived_at_ms and id */
};

/* --- on a database worker; 0 or a db_error --- */

int archive_view_load(struct db_connection *connection, const char *id, struct archive_view *view, bool *found);
/* `views` has room for limit + 1: the one too many says that there is a next page. */
int archive_view_list(struct db_connection *connection, const struct archive_query *query, struct archive_view *views,
                      size_t *count);

/* --- on the loop --- */

/* There is an archive, or there will be one. */
bool archive_view_exists(const struct archive_view *view);
bool archive_view_is_owner(const struct archive_view *view, const struct access_token *caller, bool or_operator);
/* `token`: what opens a private one; NULL for a public one. `for_owner`: with the link to share. */
json_t *archive_view_to_json(const struct archive *archive, const struct archive_view *view, const char *token,
                             bool for_owner);

/* --- archive_token.c: the sealed URLs of private archives --- */

/* The same for all within a window, good for one to two of them. */
void archive_token_make(const struct archive *archive, const char *id, char token[ARCHIVE_TOKEN_SIZE]);
/* 0 and the id, or a sealed_token_error. */
int archive_token_open(const struct archive *archive, const char *token, char id[ID_SIZE]);
