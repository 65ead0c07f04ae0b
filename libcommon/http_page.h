/* Pages of a list that is read from its newest end: ?limit= and ?cursor= of a request, and the cursor of the next page.
 * A list's order is a number (a time, a sequence) and, where that is not unique, a key beside it. Loop thread only. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_request;

#define HTTP_PAGE_LIMIT_MAX 100
#define HTTP_PAGE_KEY_SIZE  65

/* Where a page begins: behind this place, in the list's order. */
struct http_page {
    size_t limit;
    int64_t before;                      /* a time or a number, by the list; INT64_MAX: from the start */
    char before_key[HTTP_PAGE_KEY_SIZE]; /* [0-9A-Za-z_-]; "": the number says it all */
};

/* `limit` 20 and the start where nothing is said. False: 400 has been answered. */
bool http_page_parse(struct http_request *request, struct http_page *page);
/* {"<name>": `list`, "next"?: …}; the reference to `list` is taken. `more`: there is another page, behind the place
 * (`last`, `last_key`). */
json_t *http_page_to_json(const char *name, json_t *list, bool more, int64_t last, const char *last_key);
