#include "libcommon/http_page.h"

#include "libcommon/http_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_key(const char *text)
{
    size_t len = strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-");

    return !text[len] && len < HTTP_PAGE_KEY_SIZE;
}

/* "<number>.<key>" or "<number>." */
static bool parse_cursor(const char *text, struct http_page *page)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    page->before = strtoll(text, &end, 10);
    if (*end != '.' || !is_key(end + 1))
        return false;
    strcpy(page->before_key, end + 1);
    return true;
}

bool http_page_parse(struct http_request *request, struct http_page *page)
{
    const char *limit = http_request_query(request, "limit"), *cursor = http_request_query(request, "cursor");
    char *end = NULL;

    *page = (struct http_page){.limit = 20, .before = INT64_MAX};
    if (!cursor)
        cursor = http_request_query(request, "next"); /* the same, by the name it has in an answer */
    if (limit)
        page->limit = strtoul(limit, &end, 10);
    if (limit && (*limit < '0' || *limit > '9' || *end || page->limit < 1 || page->limit > HTTP_PAGE_LIMIT_MAX))
        http_reply_error(request, 400, "invalid_value", "limit must be a whole number from 1 to 100");
    else if (cursor && !parse_cursor(cursor, page))
        http_reply_error(request, 400, "invalid_value", "cursor must be the `next` of an earlier answer");
    else
        return true;
    return false;
}

json_t *http_page_to_json(const char *name, json_t *list, bool more, int64_t last, const char *last_key)
{
    json_t *body = json_pack("{s:o}", name, list);
    char next[HTTP_PAGE_KEY_SIZE + 24];

    snprintf(next, sizeof(next), "%" PRId64 ".%s", last, last_key);
    if (more)
        json_object_set_new(body, "next", json_string(next));
    return body;
}
