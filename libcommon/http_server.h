/* HTTP/1.1 server with routing, on libmicrohttpd driven by the process's own libevent loop (external epoll): handlers
 * run on the loop thread. Not for WebSocket (that is chat's) and not a client.
 *
 *     server = http_server_create(loop, &listen, &options);
 *     http_server_route(server, "GET", "/api/v1/broadcasts/{id}", handle_broadcast_get, context);
 *
 * A handler answers at once or later, but exactly once per request: the request stays valid until one of the
 * http_reply_* functions was called, also when the client has gone meanwhile (the answer is then thrown away). Unknown
 * path: 404, known path with another method: 405, body over the limit: 413, each as {"error":{"code","message"}}. */
#pragma once

#include "libcommon/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct http_server;
struct http_request;
struct metrics;

struct http_server_options {
    size_t max_body_bytes;    /* 0: 64 KiB */
    unsigned max_connections; /* 0: 10,000 */
    unsigned idle_timeout_s;  /* 0: 30 */
    size_t connection_bytes;  /* per connection, for a request's head; 0: 16 KiB. It is cleared for each request */
    struct metrics *metrics;  /* NULL: none. hanabi_http_requests_total{route,status}, hanabi_http_seconds{route} */
};

typedef void (*http_handler_fn)(struct http_request *request, void *context);

/* Listens at once. NULL when the address is not to be had (errno says why). `options` may be NULL. */
struct http_server *http_server_create(struct event_base *loop, const struct config_listen *listen,
                                       const struct http_server_options *options);
/* The port really bound (for port 0). */
uint16_t http_server_port(const struct http_server *server);
/* `pattern`: literal segments and `{name}` segments. Routes are added before the loop runs. */
void http_server_route(struct http_server *server, const char *method, const char *pattern, http_handler_fn handler,
                       void *context);
/* Stops listening; open requests go on. */
void http_server_quiesce(struct http_server *server);
/* No request is waiting for its answer, or for its answer to be sent. */
bool http_server_is_idle(const struct http_server *server);
/* Every request must have been answered, or is answered 503 here. */
void http_server_destroy(struct http_server *server);

/* Valid until the reply. NULL when absent. */
const char *http_request_param(const struct http_request *request,
                               const char *name); /* of the {name} segment, percent-decoded */
const char *http_request_query(const struct http_request *request, const char *name);
const char *http_request_header(const struct http_request *request, const char *name);
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request);
const char *http_request_body(const struct http_request *request, size_t *len_bytes); /* NUL-terminated */
/* X-Request-Id of the edge, or one made here; goes into every log line about this request. */
const char *http_request_id(const struct http_request *request);
/* The body as a JSON object (borrowed, freed with the request), or NULL: then 400 invalid_json has been answered. */
json_t *http_request_json(struct http_request *request);

/* Added to the coming reply. */
void http_reply_header(struct http_request *request, const char *name, const char *value);
/* Takes the reference to `body`. */
void http_reply_json(struct http_request *request, unsigned status, json_t *body);
/* Copies `body`. */
void http_reply_bytes(struct http_request *request, unsigned status, const char *content_type, const void *body,
                      size_t len_bytes);
/* {"error":{"code":"snake_case","message":"…"}} */
void http_reply_error(struct http_request *request, unsigned status, const char *code, const char *message);
