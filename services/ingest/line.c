/* See line.h. */
#include "services/ingest/line.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

int line_open(struct line *line, int fd, SSL_CTX *tls)
{
    const int on = 1;

    *line = (struct line){.fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (!tls)
        return 0;
    line->ssl = SSL_new(tls);
    if (!line->ssl || SSL_set_fd(line->ssl, fd) != 1) {
        line_close(line);
        return -1;
    }
    SSL_set_accept_state(line->ssl);
    SSL_set_mode(line->ssl,
                 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    return 0;
}

void line_close(struct line *line)
{
    if (line->ssl)
        SSL_free(line->ssl);
    if (line->fd >= 0)
        close(line->fd);
    *line = (struct line){.fd = -1};
}

void line_finish(struct line *line)
{
    if (line->ssl && SSL_is_init_finished(line->ssl)) {
        ERR_clear_error();
        SSL_shutdown(line->ssl);
    }
    shutdown(line->fd, SHUT_WR);
}

static ssize_t tls_result(struct line *line, int result, bool is_read)
{
    int error = SSL_get_error(line->ssl, result);

    if (is_read)
        line->read_wants_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return LINE_AGAIN;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : LINE_LOST;
}

ssize_t line_read(struct line *line, void *out, size_t size)
{
    if (line->ssl) {
        ERR_clear_error(); /* another connection's errors would be taken for ours */
        int got = SSL_read(line->ssl, out, (int)size);
        return got > 0 ? got : tls_result(line, got, true);
    }
    ssize_t got = recv(line->fd, out, size, 0);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EINTR ? LINE_AGAIN : LINE_LOST;
}

ssize_t line_write(struct line *line, const void *bytes, size_t len_bytes)
{
    if (line->ssl) {
        ERR_clear_error();
        int sent = SSL_write(line->ssl, bytes, (int)len_bytes);
        return sent > 0 ? sent : tls_result(line, sent, false);
    }
    ssize_t sent = send(line->fd, bytes, len_bytes, MSG_NOSIGNAL);
    if (sent >= 0)
        return sent;
    return errno == EAGAIN || errno == EINTR ? LINE_AGAIN : LINE_LOST;
}
