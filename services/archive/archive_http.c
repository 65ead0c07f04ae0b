#include "archive_http.h"

#include <stdio.h>

const char *archive_require_id(struct http_request *request)
{
    const char *id = http_request_param(request, "id");

    if (id_is_valid(id))
        return id;
    archive_reply_missing(request);
    return NULL;
}

void archive_reply_missing(struct http_request *request)
{
    http_reply_error(request, 404, "no_such_archive", "there is no archive with this id");
}

void archive_reply_unavailable(struct http_request *request, const char *what)
{
    char message[120];

    snprintf(message, sizeof(message), "%s cannot be reached right now: try again", what);
    http_reply_header(request, "Retry-After", "2");
    http_reply_error(request, 503, "unavailable", message);
}
