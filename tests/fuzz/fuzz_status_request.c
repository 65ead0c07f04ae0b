/* Bytes off a socket as burst-status' server reads them: one request after the other, whole and cut in two. What is
 * said about an input must not depend on how it came in pieces. */
#include "services/burst-status/status_request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status_request request, again;
    size_t at = 0;

    while (at < size) {
        /* A copy of just these bytes, so that the sanitizer sees a read beyond them. */
        size_t len = size - at;
        char *bytes = malloc(len);
        check(bytes != NULL);
        memcpy(bytes, data + at, len);
        enum status_request_result result = status_request_parse(bytes, len, &request);

        if (result == STATUS_REQUEST_INCOMPLETE) {
            check(len <= STATUS_REQUEST_HEAD_MAX);
            free(bytes);
            break;
        }
        check(request.len > 0 && request.len <= len);
        check(!request.id || (request.id >= bytes && request.id + request.id_len <= bytes + len));
        if (request.error == 0) {
            check(status_request_parse(bytes, request.len - 1, &again) == STATUS_REQUEST_INCOMPLETE);
            check(status_request_parse(bytes, request.len, &again) == STATUS_REQUEST_COMPLETE);
            check(again.error == 0 && again.id == request.id && again.keep_alive == request.keep_alive);
        }
        free(bytes);
        at += request.len;
        if (!request.keep_alive)
            break;
    }
    return 0;
}
