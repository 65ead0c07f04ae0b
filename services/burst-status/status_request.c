/* See status_request.h. RFC 9112 gives the grammar; section numbers below are its. */
#include "services/burst-status/status_request.h"

#include <string.h>
#include <strings.h>

#define PATH_PREFIX     "/status/v1/broadcasts/"
#define PATH_PREFIX_LEN (sizeof(PATH_PREFIX) - 1)

/* Token characters (RFC 9110, 5.6.2). */
static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool alphanumeric = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alphanumeric && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return len > 0;
}

static bool has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return true;
    return false;
}

static enum status_request_result refuse(struct status_request *request, unsigned error, size_t len_bytes)
{
    request->error = error;
    request->keep_alive = false;
    request->len = len_bytes;
    return STATUS_REQUEST_COMPLETE;
}

static enum status_method method_of(const char *text, size_t len)
{
    if (len == 3 && memcmp(text, "GET", 3) == 0)
        return STATUS_GET;
    if (len == 4 && memcmp(text, "HEAD", 4) == 0)
        return STATUS_HEAD;
    if (len == 7 && memcmp(text, "OPTIONS", 7) == 0)
        return STATUS_OPTIONS;
    return STATUS_OTHER_METHOD;
}

/* The first line without its CRLF. 0, or the status to refuse with. */
static unsigned parse_line(const char *line, size_t len, struct status_request *request)
{
    const char *space = memchr(line, ' ', len);
    size_t method_len = space ? (size_t)(space - line) : 0;

    if (!space || !is_token(line, method_len) || has_control(line, len))
        return 400;
    request->method = method_of(line, method_len);

    const char *target = space + 1;
    const char *end = memchr(target, ' ', len - method_len - 1);
    if (!end || end == target)
        return 400;
    const char *version = end + 1;
    size_t version_len = len - (size_t)(version - line);
    if (version_len != 8 || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.')
        return 400;
    if (version[5] != '1')
        return 505;
    request->keep_alive = version[7] != '0';

    size_t target_len = (size_t)(end - target);
    const char *query = memchr(target, '?', target_len);
    if (query)
        target_len = (size_t)(query - target);
    if (target_len > PATH_PREFIX_LEN && memcmp(target, PATH_PREFIX, PATH_PREFIX_LEN) == 0 &&
        !memchr(target + PATH_PREFIX_LEN, '/', target_len - PATH_PREFIX_LEN)) {
        request->id = target + PATH_PREFIX_LEN;
        request->id_len = target_len - PATH_PREFIX_LEN;
    }
    return 0;
}

static bool name_is(const char *line, size_t name_len, const char *name)
{
    return name_len == strlen(name) && strncasecmp(line, name, name_len) == 0;
}

/* True when the comma-separated list `value` has the option `close`. */
static bool lists_close(const char *value, size_t len)
{
    for (size_t i = 0; i + 5 <= len; i++)
        if (strncasecmp(value + i, "close", 5) == 0)
            return true;
    return false;
}

struct seen {
    unsigned hosts;
    bool body;
};

/* One header line without its CRLF; only what decides about the connection is looked at. 0 or 400. */
static unsigned parse_header(const char *line, size_t len, struct status_request *request, struct seen *seen)
{
    const char *colon = memchr(line, ':', len);
    size_t name_len = colon ? (size_t)(colon - line) : 0;

    /* Also refuses folded lines and a space in front of the colon (5.1, 5.2). */
    if (!colon || !is_token(line, name_len) || has_control(colon, len - name_len))
        return 400;
    const char *value = colon + 1;
    size_t value_len = len - name_len - 1;
    switch (line[0] | 0x20) {
    case 'h':
        seen->hosts += name_is(line, name_len, "host");
        break;
    case 't':
        seen->body |= name_is(line, name_len, "transfer-encoding");
        break;
    case 'c':
        if (name_is(line, name_len, "connection") && lists_close(value, value_len))
            request->keep_alive = false;
        else if (name_is(line, name_len, "content-length"))
            for (size_t i = 0; i < value_len; i++)
                seen->body |= !strchr(" \t0", value[i]);
        break;
    default:
        break;
    }
    return 0;
}

/* A line from `from`: its length without CRLF in `line_len`. 1 found, 0 not there yet, -1 bare CR or LF. */
static int find_line(const char *bytes, size_t from, size_t len, size_t *line_len)
{
    const char *newline = memchr(bytes + from, '\n', len - from);

    if (!newline)
        return 0;
    *line_len = (size_t)(newline - bytes) - from;
    if (*line_len == 0 || newline[-1] != '\r')
        return -1;
    *line_len -= 1;
    return memchr(bytes + from, '\r', *line_len) ? -1 : 1;
}

enum status_request_result status_request_parse(const char *bytes, size_t len_bytes, struct status_request *request)
{
    size_t at = 0, line_len = 0;
    struct seen seen = {0};

    *request = (struct status_request){0};
    /* Empty lines in front of a request are skipped (2.2). */
    while (at + 1 < len_bytes && at < 4 && bytes[at] == '\r' && bytes[at + 1] == '\n')
        at += 2;

    int found = find_line(bytes, at, len_bytes, &line_len);
    if (found == 0 ? len_bytes - at > STATUS_REQUEST_LINE_MAX : found > 0 && line_len > STATUS_REQUEST_LINE_MAX)
        return refuse(request, 414, len_bytes);
    if (found == 0)
        return STATUS_REQUEST_INCOMPLETE;
    unsigned error = found < 0 ? 400 : parse_line(bytes + at, line_len, request);
    if (error != 0)
        return refuse(request, error, len_bytes);
    bool is_1_0 = !request->keep_alive;

    for (at += line_len + 2;; at += line_len + 2) {
        found = find_line(bytes, at, len_bytes, &line_len);
        if (at + line_len + 2 > STATUS_REQUEST_HEAD_MAX || (found == 0 && len_bytes > STATUS_REQUEST_HEAD_MAX))
            return refuse(request, 431, len_bytes);
        if (found == 0)
            return STATUS_REQUEST_INCOMPLETE;
        if (found > 0 && line_len == 0)
            break;
        if (found < 0 || parse_header(bytes + at, line_len, request, &seen) != 0)
            return refuse(request, 400, len_bytes);
    }
    at += 2;

    if (seen.hosts != 1 && !(is_1_0 && seen.hosts == 0))
        return refuse(request, 400, len_bytes);
    if (seen.body && request->method != STATUS_OTHER_METHOD)
        return refuse(request, 400, len_bytes);
    if (seen.body)
        return refuse(request, 405, len_bytes);
    if (request->method == STATUS_OTHER_METHOD)
        request->error = 405;
    request->len = at;
    return STATUS_REQUEST_COMPLETE;
}
