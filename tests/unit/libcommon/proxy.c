/* The proxy of real_server.h: a child process with a poll loop; orders are single bytes on a pipe, acknowledged on
 * another. */
#include "real_server.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PAIRS 64

struct proxy {
    pid_t pid;
    int port;
    int orders, answers;
};

struct pair {
    int client, server;
    bool frozen;
};

static int connect_to(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* False: one side has ended. */
static bool forward(int from, int to)
{
    char bytes[65536];
    ssize_t len = read(from, bytes, sizeof(bytes));

    for (ssize_t done = 0; done < len;) {
        ssize_t written = write(to, bytes + done, (size_t)(len - done));

        if (written <= 0)
            return false;
        done += written;
    }
    return len > 0;
}

static void pair_close(struct pair *pair)
{
    close(pair->client);
    if (pair->server >= 0)
        close(pair->server);
    pair->client = -1;
}

static void accept_pair(struct pair *pairs, int listener, int target, bool frozen)
{
    int client = accept(listener, NULL, NULL);

    for (int i = 0; i < MAX_PAIRS && client >= 0; i++) {
        if (pairs[i].client >= 0)
            continue;
        pairs[i] = (struct pair){client, frozen ? -1 : connect_to(target), frozen};
        if (!frozen && pairs[i].server < 0)
            pair_close(&pairs[i]);
        return;
    }
    close(client);
}

static void obey(char order, struct pair *pairs, bool *freeze_new)
{
    *freeze_new = order == 'A';
    for (int i = 0; i < MAX_PAIRS; i++)
        if (order == 'A' || order == 'P')
            pairs[i].frozen = true;
}

static void serve(int listener, int target, int orders, int answers)
{
    struct pair pairs[MAX_PAIRS];
    bool freeze_new = false;
    char order;

    for (int i = 0; i < MAX_PAIRS; i++)
        pairs[i] = (struct pair){-1, -1, false};
    for (;;) {
        struct pollfd fds[2 + 2 * MAX_PAIRS] = {{orders, POLLIN, 0}, {listener, POLLIN, 0}};

        for (int i = 0; i < MAX_PAIRS; i++) {
            bool is_open = pairs[i].client >= 0 && !pairs[i].frozen;

            fds[2 + 2 * i] = (struct pollfd){is_open ? pairs[i].client : -1, POLLIN, 0};
            fds[3 + 2 * i] = (struct pollfd){is_open ? pairs[i].server : -1, POLLIN, 0};
        }
        if (poll(fds, 2 + 2 * MAX_PAIRS, -1) < 0)
            _exit(1);
        if (fds[0].revents) {
            if (read(orders, &order, 1) != 1)
                _exit(0);
            obey(order, pairs, &freeze_new);
            if (write(answers, &order, 1) != 1)
                _exit(1);
            continue;
        }
        if (fds[1].revents)
            accept_pair(pairs, listener, target, freeze_new);
        for (int i = 0; i < MAX_PAIRS; i++)
            if ((fds[2 + 2 * i].revents && !forward(pairs[i].client, pairs[i].server)) ||
                (fds[3 + 2 * i].revents && !forward(pairs[i].server, pairs[i].client)))
                pair_close(&pairs[i]);
    }
}

struct proxy *proxy_start(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    struct proxy *proxy = calloc(1, sizeof(*proxy));
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int orders[2], answers[2];

    if (!proxy || bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0 || pipe(orders) != 0 || pipe(answers) != 0)
        abort();
    proxy->port = ntohs(address.sin_port);
    proxy->pid = fork();
    if (proxy->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        /* A test closes a connection to see what happens; a copy held here would keep it open. */
        for (int fd = 3; fd < 1024; fd++)
            if (fd != listener && fd != orders[0] && fd != answers[1])
                close(fd);
        serve(listener, port, orders[0], answers[1]);
    }
    close(listener);
    close(orders[0]);
    close(answers[1]);
    proxy->orders = orders[1];
    proxy->answers = answers[0];
    return proxy;
}

int proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

static void order_and_wait(struct proxy *proxy, char order)
{
    if (write(proxy->orders, &order, 1) != 1 || read(proxy->answers, &order, 1) != 1)
        abort();
}

void proxy_freeze_present(struct proxy *proxy)
{
    order_and_wait(proxy, 'P');
}

void proxy_freeze_all(struct proxy *proxy)
{
    order_and_wait(proxy, 'A');
}

void proxy_thaw(struct proxy *proxy)
{
    order_and_wait(proxy, 'T');
}

void proxy_destroy(struct proxy *proxy)
{
    if (!proxy)
        return;
    kill(proxy->pid, SIGKILL);
    waitpid(proxy->pid, NULL, 0);
    close(proxy->orders);
    close(proxy->answers);
    free(proxy);
}
