/* TLS towards a server that we call: its certificate has to be signed by a CA we trust and be made out to the name or
 * address that we call it by. Nothing is kept between connections, so that a replaced CA file counts from the next one
 * on. Any thread. */
#pragma once

#include <stddef.h>

struct ssl_st; /* OpenSSL's SSL */

/* A session to `host` (a name or an IP address), not yet on a socket; the caller's, also after the file has changed.
 * `ca_path`: PEM file; empty: what the system trusts. NULL with a sentence in `why`: the file cannot be used. */
struct ssl_st *tls_client_session(const char *ca_path, const char *host, char *why, size_t why_size);
/* Could a session be made with this file? 0, or -1 with a sentence in `why`. */
int tls_client_check_ca(const char *ca_path, char *why, size_t why_size);
/* What OpenSSL, or the system under it, says of an error of its queue; `otherwise` when that is nothing. */
const char *tls_error_reason(unsigned long error, const char *otherwise);
/* Why a hand-shake or a line failed, as a phrase for logs; `error` is the oldest of OpenSSL's queue, 0: none. */
void tls_client_explain(const struct ssl_st *session, unsigned long error, char *why, size_t why_size);
