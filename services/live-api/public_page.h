/* What other sites are told of a broadcast's page: oEmbed and link previews answer from it. */
#pragma once

#include "live_api.h"

#define PUBLIC_ORIGIN_SIZE 300

struct public_page {
    struct live_api *api;
    struct http_request *request; /* to be answered by public_page_fn */
    char origin[PUBLIC_ORIGIN_SIZE];
    struct broadcast_view view;
    char thumbnail[PUBLIC_ORIGIN_SIZE + PLAYBACK_URL_SIZE]; /* its address; "": it was never on air */
};

typedef void (*public_page_fn)(const struct public_page *page, void *context);

/* Where the public finds us: HANABI_PUBLIC_URL, else as the caller found us. */
void public_origin(const struct live_api *api, struct http_request *request, char out[PUBLIC_ORIGIN_SIZE]);
/* Calls `answer` when there is such a broadcast. Otherwise 404 or 503 has been answered, and `context` is given to
 * `dispose`; a private recording is not told from none. */
void public_page_load(struct live_api *api, struct http_request *request, const char *id, public_page_fn answer,
                      void (*dispose)(void *context), void *context);
/* `text` for HTML, attributes included, cut where it does not fit. */
void html_escape(const char *text, char *out, size_t out_size);
