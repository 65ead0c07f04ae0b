/* The certificate of RTMPS: read at start, again on SIGHUP and when its file changes. A new one that does not load
 * leaves the old one in use. Loop thread only. */
#pragma once

#include <openssl/ssl.h>

struct event_base;
struct tls;

/* NULL with a sentence in `error`. Copies the paths. */
struct tls *tls_create(struct event_base *loop, const char *cert_path, const char *key_path, char *error,
                       size_t error_size);
void tls_destroy(struct tls *tls); /* NULL is fine */
/* For new connections; those under way keep theirs. */
SSL_CTX *tls_context(const struct tls *tls);
