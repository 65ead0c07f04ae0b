/* Many HTTP requests at once on the libevent loop, by libcurl. Loop thread only. */
#pragma once

#include "libcommon/blob.h"

#include <stdbool.h>

struct event_base;
struct http_client;

struct http_client_request {
    const char *method; /* "PUT", "GET", "DELETE", "PURGE" */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    struct blob *body;          /* may be NULL; a reference is taken */
    const char *user_password;  /* "user:password" for `sigv4` */
    const char *sigv4;          /* libcurl's CURLOPT_AWS_SIGV4, or NULL */
    int64_t timeout_ms;
    size_t max_response_bytes;
    /* Of an answer only the status counts: one whose body is longer than max_response_bytes, or not over in time, is
     * cut and reported with its status, not as a failure. */
    bool only_status;
    bool only_public; /* refuse to connect to any address that is not public (public_address.h), after DNS */
};

/* `status` is that of the answer, or 0 with a phrase in `why` when there was none. `answer` is borrowed, and NULL when
 * there was none. Exactly once,
 * never before http_client_send returns. */
typedef void (*http_client_fn)(int status, const char *why, struct blob *answer, void *context);

struct http_client *http_client_create(struct event_base *loop, int max_connections);
/* What is under way is reported as cancelled. */
void http_client_destroy(struct http_client *client);
void http_client_send(struct http_client *client, const struct http_client_request *request, http_client_fn done,
                      void *context);
