/* A websocket: its handshake, what it sends, the frames it gets. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE (1 << 20)
#define FRAME_MAX (1 << 24)

static char read_buffer[READ_SIZE];

/* --- sending --- */

static void end(struct viewer *viewer)
{
    if (viewer->phase == CLOSED)
        return;
    if (viewer->phase < OPEN) {
        totals.refused++;
        totals.under_way--;
    } else {
        totals.closed++;
    }
    close(viewer->fd);
    viewer->phase = CLOSED;
}

static void watch(struct viewer *viewer, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = viewer};

    epoll_ctl(epoll_fd, operation, viewer->fd, &event);
}

/* What the kernel does not take now waits; nothing may be sent behind it. */
static void transmit(struct viewer *viewer, const char *data, size_t len)
{
    ssize_t sent = send(viewer->fd, data, len, MSG_NOSIGNAL);

    if (sent == (ssize_t)len)
        return;
    if (sent < 0 && errno != EAGAIN) {
        end(viewer);
        return;
    }
    if (sent < 0)
        sent = 0;
    viewer->unsent_len = len - (size_t)sent;
    viewer->unsent = malloc(viewer->unsent_len);
    memcpy(viewer->unsent, data + sent, viewer->unsent_len);
    watch(viewer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

static void transmit_rest(struct viewer *viewer)
{
    char *data = viewer->unsent;
    size_t len = viewer->unsent_len;

    viewer->unsent = NULL;
    viewer->unsent_len = 0;
    watch(viewer, EPOLL_CTL_MOD, EPOLLIN);
    if (data)
        transmit(viewer, data, len);
    free(data);
}

/* A masked frame; the mask is zero, so that the text goes out as it is. */
void viewer_send(struct viewer *viewer, int opcode, const char *text, size_t len)
{
    char frame[4096 + 8];
    size_t head = len < 126 ? 2 : 4;

    if (viewer->unsent || len > 4000) {
        totals.stalled++;
        return;
    }
    frame[0] = (char)(0x80 | opcode);
    frame[1] = (char)(0x80 | (len < 126 ? len : 126));
    if (head == 4) {
        frame[2] = (char)(len >> 8);
        frame[3] = (char)len;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, text, len);
    transmit(viewer, frame, head + 4 + len);
}

void viewer_post(struct viewer *viewer)
{
    char text[3000], frame[4000], ref[48];
    long long now = now_ns();
    int len = snprintf(text, sizeof(text), "@%lld@%ld ", now, viewer->number);

    for (long i = 25; i < options.text && len < 2900; i++)
        text[len++] = (char)('a' + i % 26);
    text[len] = '\0';
    snprintf(ref, sizeof(ref), "%lld-%ld", now, viewer->number);
    len = options.protocol->compose(frame, sizeof(frame), ref, viewer->number, text);
    totals.offered++;
    if (viewer->phase == OPEN)
        viewer_send(viewer, 1, frame, (size_t)len);
    else
        totals.stalled++;
}

/* --- what arrives --- */

static void become_open(struct viewer *viewer)
{
    totals.under_way--;
    totals.opened++;
    viewer->phase = viewer->number < options.viewers ? OPEN : DEAF;
    if (viewer->phase == DEAF)
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, viewer->fd, NULL);
}

static void on_opening(struct viewer *viewer, const char *text, size_t len, int64_t now)
{
    const struct protocol *protocol = options.protocol;
    bool is_greeting = memmem(text, len, protocol->greeting, strlen(protocol->greeting)) == text;

    if (is_greeting && protocol->open)
        viewer_send(viewer, 1, protocol->open, strlen(protocol->open));
    else if (is_greeting || (protocol->opened && memmem(text, len, protocol->opened, strlen(protocol->opened)) == text))
        become_open(viewer);
    else
        count_frame(viewer, text, len, now);
}

static void take_frame(struct viewer *viewer, int opcode, const char *text, size_t len, int64_t now)
{
    if (opcode == 9)
        viewer_send(viewer, 10, text, len);
    else if (opcode == 8)
        end(viewer);
    else if (viewer->phase == OPENING)
        on_opening(viewer, text, len, now);
    else
        count_frame(viewer, text, len, now);
}

/* How long the frame at `data` is with its head; 0: not all of it is there. */
static size_t frame_length(const char *data, size_t len, size_t *head)
{
    const unsigned char *byte = (const unsigned char *)data;
    size_t payload;

    if (len < 2)
        return 0;
    payload = byte[1] & 127;
    *head = payload < 126 ? 2 : payload == 126 ? 4 : 10;
    if (len < *head)
        return 0;
    if (*head > 2)
        for (size_t i = payload = 0; i < *head - 2; i++)
            payload = payload << 8 | byte[2 + i];
    if (payload > FRAME_MAX)
        abort();
    return len >= *head + payload ? *head + payload : 0;
}

static void take_bytes(struct viewer *viewer, const char *data, size_t len)
{
    int64_t now = now_ns();
    size_t head, whole;

    while ((viewer->phase == OPENING || viewer->phase == OPEN) && (whole = frame_length(data, len, &head)) > 0) {
        take_frame(viewer, data[0] & 15, data + head, whole - head, now);
        data += whole;
        len -= whole;
    }
    if (len > viewer->left_capacity) {
        viewer->left_capacity = len;
        viewer->left = realloc(viewer->left, len); /* `data` is never in it: see on_readable */
    }
    if (len > 0)
        memcpy(viewer->left, data, len);
    viewer->left_len = len;
}

static void on_upgraded(struct viewer *viewer, const char *data, size_t len)
{
    static const char switching[] = "HTTP/1.1 101";
    const char *body = memmem(data, len, "\r\n\r\n", 4);

    if (!body) {
        take_bytes(viewer, data, len); /* not open: all of it is kept */
        return;
    }
    if (memcmp(data, switching, sizeof(switching) - 1) != 0) {
        end(viewer);
        return;
    }
    viewer->phase = OPENING;
    if (!options.protocol->greeting || viewer->number >= options.viewers)
        become_open(viewer);
    take_bytes(viewer, body + 4, len - (size_t)(body + 4 - data));
}

static void on_readable(struct viewer *viewer)
{
    size_t left = viewer->left_len;
    ssize_t got;

    if (left > READ_SIZE / 2)
        abort();
    if (left > 0)
        memcpy(read_buffer, viewer->left, left);
    got = recv(viewer->fd, read_buffer + left, READ_SIZE - left, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(viewer);
        return;
    }
    totals.bytes += (uint64_t)got;
    if (viewer->phase == HANDSHAKING)
        on_upgraded(viewer, read_buffer, left + (size_t)got);
    else
        take_bytes(viewer, read_buffer, left + (size_t)got);
}

/* --- connecting --- */

static void on_connected(struct viewer *viewer)
{
    char request[4096], token[1024] = "";
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(viewer->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        end(viewer);
        return;
    }
    if (options.secret[0])
        token_make(viewer->number, token);
    snprintf(request, sizeof(request),
             "GET %s%s%s HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             options.path, token[0] ? strchr(options.path, '?') ? "&token=" : "?token=" : "", token);
    viewer->phase = HANDSHAKING;
    watch(viewer, EPOLL_CTL_MOD, EPOLLIN);
    transmit(viewer, request, strlen(request));
}

void viewer_connect(long number)
{
    struct viewer *viewer = &viewers[number];
    const struct sockaddr_in *target = &options.targets[(size_t)number % options.target_count];
    struct linger at_once = {.l_onoff = 1}; /* no port is left in TIME_WAIT for the next run to stumble over */
    int small = 4096, one = 1;

    viewer->number = number;
    viewer->phase = CONNECTING;
    viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (viewer->fd < 0) {
        perror("chat_load: socket");
        exit(1);
    }
    totals.under_way++;
    setsockopt(viewer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    setsockopt(viewer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (number >= options.viewers)
        setsockopt(viewer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    watch(viewer, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(viewer->fd, (const struct sockaddr *)target, sizeof(*target)) != 0 && errno != EINPROGRESS)
        end(viewer);
}

void viewers_turn(int timeout_ms)
{
    struct epoll_event events[512];
    int count = epoll_wait(epoll_fd, events, 512, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct viewer *viewer = events[i].data.ptr;

        if (viewer->phase == CONNECTING)
            on_connected(viewer);
        else if (viewer->phase != CLOSED && events[i].events & EPOLLOUT)
            transmit_rest(viewer);
        if (viewer->phase >= HANDSHAKING && viewer->phase <= OPEN && events[i].events & (EPOLLIN | EPOLLHUP))
            on_readable(viewer);
    }
}
