/* Reads one HTTP/1.1 request's head from bytes that came off a socket. Pure: no I/O, no memory, nothing is copied.
 *
 * It understands what this service answers (GET, HEAD, OPTIONS of /status/v1/broadcasts/{id}) and refuses everything
 * whose framing it does not follow, since a wrong guess about where a request ends would answer somebody else's
 * question. It is strict: CRLF line ends, no folded lines, exactly one Host in HTTP/1.1, no body. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define STATUS_REQUEST_LINE_MAX 2048 /* bytes of the first line */
#define STATUS_REQUEST_HEAD_MAX 8192 /* bytes up to and with the empty line */

enum status_method { STATUS_GET, STATUS_HEAD, STATUS_OPTIONS, STATUS_OTHER_METHOD };

struct status_request {
    enum status_method method;
    const char *id; /* the last part of the path, into `bytes`; NULL: the path is not this service's */
    size_t id_len;
    bool keep_alive;
    size_t len; /* bytes of the request: the next one begins there */
    /* 0, or the status to refuse it with: 400, 405, 414, 431, 505. With 405 alone the connection may go on, see
     * keep_alive. */
    unsigned error;
};

enum status_request_result {
    STATUS_REQUEST_INCOMPLETE, /* read on; at most STATUS_REQUEST_HEAD_MAX bytes are ever asked for */
    STATUS_REQUEST_COMPLETE,   /* `request` is filled, also when its `error` says to refuse it */
};

enum status_request_result status_request_parse(const char *bytes, size_t len_bytes, struct status_request *request);
