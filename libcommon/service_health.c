/* See service_health.h. */
#include "libcommon/service_health.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char request[] = "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n";

static const char *reachable_host(const char *host)
{
    if (strcmp(host, "0.0.0.0") == 0)
        return "127.0.0.1";
    return strcmp(host, "::") == 0 ? "::1" : host;
}

/* A connected socket whose calls end after `timeout_ms`, or -1 with errno. */
static int dial(const char *host, uint16_t port, int timeout_ms)
{
    const struct timeval timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    char service[6];
    int fd;

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &addresses) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    fd = socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(fd, addresses->ai_addr, addresses->ai_addrlen) != 0) {
            int error = errno;

            close(fd);
            errno = error;
            fd = -1;
        }
    }
    freeaddrinfo(addresses);
    return fd;
}

int service_health_check(const struct config_listen *admin, int timeout_ms)
{
    char answer[256];
    size_t len = 0;
    ssize_t got = 0;
    int fd;

    if (admin->port == 0) {
        fprintf(stderr, "--health needs HANABI_ADMIN_LISTEN with a port\n");
        return 2;
    }
    fd = dial(reachable_host(admin->host), admin->port, timeout_ms);
    if (fd < 0 || send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof(request) - 1)) {
        fprintf(stderr, "the admin port %u: %s\n", admin->port, strerror(errno));
        if (fd >= 0)
            close(fd);
        return 1;
    }
    while (len < sizeof(answer) - 1 && (got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
        len += (size_t)got;
    close(fd);
    answer[len] = '\0';
    if (len > 12 && strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200", 4) == 0)
        return 0;
    fprintf(stderr, "the admin port %u answered: %.*s\n", admin->port, len ? (int)strcspn(answer, "\r\n") : 7,
            len ? answer : "nothing");
    return 1;
}
