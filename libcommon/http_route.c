#include "libcommon/http_route.h"

#include "libcommon/url_part.h"

#include <assert.h>
#include <string.h>

static size_t segment_len(const char *text, const char *end)
{
    const char *slash = memchr(text, '/', (size_t)(end - text));

    return (size_t)((slash ? slash : end) - text);
}

bool http_route_matches(const char *pattern, const char *path, size_t path_len, struct http_route_match *match)
{
    const char *pattern_end = pattern + strlen(pattern);
    const char *path_end = path + path_len;

    match->params_count = 0;
    for (;;) {
        if (pattern == pattern_end || path == path_end)
            return pattern == pattern_end && path == path_end;
        if (*pattern != '/' || *path != '/')
            return false;
        pattern++;
        path++;
        size_t wanted = segment_len(pattern, pattern_end);
        size_t given = segment_len(path, path_end);

        if (wanted >= 2 && pattern[0] == '{' && pattern[wanted - 1] == '}') {
            assert(match->params_count < HTTP_ROUTE_MAX_PARAMS);
            if (given == 0)
                return false;
            match->params[match->params_count++] = (struct http_route_param){pattern + 1, wanted - 2, path, given};
        } else if (wanted != given || memcmp(pattern, path, wanted) != 0) {
            return false;
        }
        pattern += wanted;
        path += given;
    }
}

bool http_percent_decode(const char *text, size_t len, bool is_query, char *out)
{
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (c == '%') {
            int byte = url_part_escape(text + i, text + len);

            if (byte < 0)
                return false;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        *out++ = c;
    }
    *out = '\0';
    return true;
}
