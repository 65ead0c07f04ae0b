/* Host names without blocking the loop: getaddrinfo() on a short-lived thread, the answer on the loop. A dead DNS
 * server then costs a connection attempt, never the loop. Loop thread only. */
#pragma once

#include <netdb.h>

struct event_base;
struct resolver_request;

/* `code` is 0 or an EAI_ code (gai_strerror); `addresses` is NULL unless 0, and valid during the call only. */
typedef void (*resolver_fn)(int code, const struct addrinfo *addresses, void *context);

/* Never calls back before it returns. Exactly one callback unless cancelled. NULL: no thread or descriptor was to be
 * had. */
struct resolver_request *resolver_start(struct event_base *loop, const char *host, int port, resolver_fn callback,
                                        void *context);
/* No callback any more. NULL is fine. Not after the callback was called. */
void resolver_cancel(struct resolver_request *request);
