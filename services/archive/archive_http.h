/* What callers of the archives' endpoints send, checked in one place and refused in the same words. Loop thread only.
 */
#pragma once

#include "archive.h"
#include "libcommon/access_token.h"
#include "libcommon/http_server.h"

/* The {id} of the path; NULL: 404 has been answered. */
const char *archive_require_id(struct http_request *request);
void archive_reply_missing(struct http_request *request);
/* 503 with Retry-After. */
void archive_reply_unavailable(struct http_request *request, const char *what);

void handle_archive_get(struct http_request *request, void *context);
void handle_archive_list(struct http_request *request, void *context);
void handle_archive_patch(struct http_request *request, void *context);
void handle_archive_delete(struct http_request *request, void *context);
void handle_archive_playlist(struct http_request *request, void *context);
void handle_archive_rendition(struct http_request *request, void *context);
