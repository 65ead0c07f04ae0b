/* One accepted connection's bytes, plain or through TLS: non-blocking reads and writes that look the same for both. The
 * TLS handshake happens inside them. Loop thread only. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct line {
    int fd; /* -1: closed */
    SSL *ssl;
    bool read_wants_write; /* TLS: reading goes on when the socket is writable */
};

enum { LINE_AGAIN = -1, LINE_LOST = -2 };

/* Takes `fd`. `tls` NULL: plain. 0, or -1 (the fd is closed then). */
int line_open(struct line *line, int fd, SSL_CTX *tls);
void line_close(struct line *line);
/* No more will be written; the peer sees the end after all that was. */
void line_finish(struct line *line);
/* Bytes (> 0), 0 at the peer's end, LINE_AGAIN or LINE_LOST. */
ssize_t line_read(struct line *line, void *out, size_t size);
ssize_t line_write(struct line *line, const void *bytes, size_t len_bytes);
