/* Which handler a path belongs to: patterns of literal and `{name}` segments. Knows nothing of sockets. Loop thread
 * only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_ROUTE_MAX_PARAMS 4

/* A piece of the path that stood where the pattern has {name}; still percent-encoded. */
struct http_route_param {
    const char *name; /* of the pattern; not NUL-terminated */
    size_t name_len;
    const char *value; /* of the path; not NUL-terminated */
    size_t value_len;
};

struct http_route_match {
    struct http_route_param params[HTTP_ROUTE_MAX_PARAMS];
    size_t params_count;
};

/* True when `path` (of `path_len` bytes, without the query) fits `pattern`. An empty segment never fits a {name}. */
bool http_route_matches(const char *pattern, const char *path, size_t path_len, struct http_route_match *match);

/* Percent-decodes into `out` (room for len + 1 bytes; `plus` as space when `is_query`). False for a broken escape or a
 * NUL byte. */
bool http_percent_decode(const char *text, size_t len, bool is_query, char *out);
