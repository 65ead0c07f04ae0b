#include "page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "<number>.<id>" or "<number>." */
static bool parse_cursor(const char *text, struct page *page)
{
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    page->before = strtoll(text, &end, 10);
    if (*end != '.' || (end[1] && !id_is_valid(end + 1)))
        return false;
    strcpy(page->before_id, end + 1);
    return true;
}

bool page_parse(struct http_request *request, struct page *page)
{
    const char *limit = http_request_query(request, "limit"), *cursor = http_request_query(request, "cursor");
    char *end = NULL;

    *page = (struct page){.limit = 20, .before = INT64_MAX};
    if (limit)
        page->limit = strtoul(limit, &end, 10);
    if (limit && (*limit < '0' || *limit > '9' || *end || page->limit < 1 || page->limit > PAGE_LIMIT_MAX))
        http_reply_error(request, 400, "invalid_value", "limit must be a whole number from 1 to 100");
    else if (cursor && !parse_cursor(cursor, page))
        http_reply_error(request, 400, "invalid_value", "cursor must be the `next` of an earlier answer");
    else
        return true;
    return false;
}

json_t *page_to_json(const char *name, json_t *list, bool more, int64_t last, const char *last_id)
{
    json_t *body = json_pack("{s:o}", name, list);
    char next[ID_SIZE + 24];

    snprintf(next, sizeof(next), "%" PRId64 ".%s", last, last_id);
    if (more)
        json_object_set_new(body, "next", json_string(next));
    return body;
}
