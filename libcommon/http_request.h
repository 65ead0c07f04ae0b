/* What the two halves of the HTTP server share: http_server.c (the daemon, its connections, routing) and http_request.c
 * (what handlers read and answer). Not for anyone else. Loop thread only. */
#pragma once

#include "libcommon/buffer.h"
#include "libcommon/http_route.h"
#include "libcommon/http_server.h"
#include "libcommon/request_scope.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <sys/queue.h>

#define HTTP_MAX_STATUS 600

struct http_route {
    STAILQ_ENTRY(http_route) entry;
    char *method;
    char *pattern;
    http_handler_fn handler;
    void *context;
    struct metric *by_status[HTTP_MAX_STATUS]; /* made when a status first appears */
    struct metric *seconds;
};

/* A request only ever moves to a later state; http_request.c and http_server.c do so in one function each. */
enum http_request_state {
    HTTP_RECEIVING, /* the headers or the body are still coming */
    HTTP_HANDLING,  /* the handler is on the stack */
    HTTP_WAITING,   /* the handler has returned without an answer: the connection is suspended */
    HTTP_ANSWERED,  /* there is an answer; it waits for MHD or MHD has it */
};

struct http_pair {
    char *name;
    char *value;
};

/* One client's socket. It is watched while we wait for the client, and not while the client waits for us. */
struct http_connection {
    TAILQ_ENTRY(http_connection) entry;
    int fd;
    bool is_watched;
    int64_t since_ms;
};

struct http_request {
    LIST_ENTRY(http_request) entry;
    struct http_server *server;
    struct MHD_Connection *connection;
    struct http_connection *client;
    enum http_request_state state;
    char *uri; /* as sent; the path is cut off at the '?' */
    char *query;
    const char *method;
    struct http_route *route;
    struct http_route_match match;
    char *params[HTTP_ROUTE_MAX_PARAMS]; /* decoded */
    struct http_pair *queries;           /* decoded; made when first asked for */
    size_t queries_count;
    struct buffer body;
    uint64_t body_dropped; /* bytes beyond the limit */
    json_t *json;
    char id[REQUEST_ID_SIZE];
    struct http_pair headers[8]; /* of the reply */
    size_t headers_count;
    struct MHD_Response *response; /* the answer, until MHD has it */
    unsigned status;
    int64_t began_us;
};

/* Decodes the {name} segments. False when one holds a broken escape or is no UTF-8. */
bool http_request_decode_params(struct http_request *request);
/* Frees what the accessors made. */
void http_request_clear(struct http_request *request);

/* For http_request.c: the server's part of an answer. */
struct metrics *http_server_metrics(const struct http_server *server);
bool http_server_is_quiesced(const struct http_server *server);
/* The Date header's value, made once a second. */
const char *http_server_date(struct http_server *server);
/* Continues a request that was waiting. */
void http_server_resume(struct http_request *request);
