/* One publisher's TCP connection: joins a line (bytes), an RTMP session (protocol) and a publisher (media). Frees
 * itself when it is over. Loop thread only. */
#pragma once

#include "services/ingest/close_reason.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/socket.h>

struct ingest;

/* Takes `fd` (non-blocking). `tls` NULL: plain. The address must have been counted in ingest->addresses; the connection
 * gives it back. */
void connection_accept(struct ingest *ingest, int fd, const struct sockaddr *peer, SSL_CTX *tls);
/* Every connection is told why and closed: in the background, or with `at_once` before it returns. */
void connections_close_all(struct ingest *ingest, enum close_reason reason, bool at_once);
