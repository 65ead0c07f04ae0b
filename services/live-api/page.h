/* Pages of a list: ?limit= and ?cursor= of a request, and the cursor of the next page. Loop thread only. */
#pragma once

#include "live_api.h"

#define PAGE_LIMIT_MAX 100

/* Where a page begins: behind this place, in the list's order. */
struct page {
    size_t limit;
    int64_t before; /* a time or a number, by the list; INT64_MAX: from the start */
    char before_id[ID_SIZE];
};

/* `limit` 20 and the start where nothing is said. False: 400 has been answered. */
bool page_parse(struct http_request *request, struct page *page);
/* {"<name>": `list`, "next"?: …}; the reference to `list` is taken. `more`: there is another page, behind the place
 * (`last`, `last_id`). */
json_t *page_to_json(const char *name, json_t *list, bool more, int64_t last, const char *last_id);
