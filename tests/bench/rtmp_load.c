/* Many RTMP publishers from one small process, for tests/bench/ingest.mjs: each connection does the handshake, connect
 * and publish, then sends the same FLV file in real time. The file is turned into RTMP chunks once; a connection is an
 * offset into those bytes, so the load costs little beside the server it measures.
 *
 *     rtmp_load HOST PORT APP FILE.flv SECONDS KEY…      one publisher per key
 *     rtmp_load HOST PORT APP FILE.flv SECONDS -n N PREFIX   keys PREFIX0 … PREFIX<N-1>
 *
 * Prints one JSON object: publishers accepted, refused, lost before the end, bytes sent, the longest delay behind real
 * time. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_SIZE 60000
#define HANDSHAKE  1536
#define RAMP_US    4000 /* between two connects */
#define SEND_MARKS 1000000

struct bytes {
    uint8_t *data;
    size_t len, capacity;
};

/* Where in the chunked stream a message of this time begins. */
struct mark {
    uint32_t time_ms;
    size_t offset;
};

enum phase { CONNECTING, HANDSHAKING, WAIT_CONNECT, WAIT_STREAM, WAIT_PUBLISH, PUBLISHING, REFUSED, LOST };

struct publisher {
    int fd;
    enum phase phase;
    char key[128];
    uint8_t in[8192];
    size_t in_len;
    size_t handshake_left;
    int64_t start_us;
    size_t sent;
};

static struct bytes stream;
static struct mark *marks;
static size_t marks_count;
static int64_t longest_delay_ms;
static uint64_t bytes_sent;

static int64_t now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void put(struct bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->capacity) {
        b->capacity = (b->len + len) * 2;
        b->data = realloc(b->data, b->capacity);
        if (!b->data)
            abort();
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void put_be(struct bytes *b, uint32_t value, int count)
{
    uint8_t out[4];
    for (int i = 0; i < count; i++)
        out[i] = (uint8_t)(value >> (8 * (count - 1 - i)));
    put(b, out, (size_t)count);
}

/* A message on chunk stream `csid`, in chunks of at most `chunk` bytes. */
static void put_message(struct bytes *b, int csid, int type, uint32_t stream_id, uint32_t time_ms, const uint8_t *body,
                        size_t len, size_t chunk)
{
    uint8_t basic = (uint8_t)csid;
    put(b, &basic, 1);
    put_be(b, time_ms, 3);
    put_be(b, (uint32_t)len, 3);
    put_be(b, (uint32_t)type, 1);
    uint8_t id[4] = {(uint8_t)stream_id, 0, 0, 0};
    put(b, id, 4);
    for (size_t at = 0; at < len; at += chunk) {
        size_t part = len - at < chunk ? len - at : chunk;
        if (at) {
            uint8_t next = (uint8_t)(0xc0 | csid);
            put(b, &next, 1);
        }
        put(b, body + at, part);
    }
}

static void put_string(struct bytes *b, const char *text)
{
    put_be(b, 2, 1);
    put_be(b, (uint32_t)strlen(text), 2);
    put(b, text, strlen(text));
}

static void put_number(struct bytes *b, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put_be(b, 0, 1);
    put_be(b, (uint32_t)(bits >> 32), 4);
    put_be(b, (uint32_t)bits, 4);
}

static void put_member(struct bytes *b, const char *name, const char *value)
{
    put_be(b, (uint32_t)strlen(name), 2);
    put(b, name, strlen(name));
    put_string(b, value);
}

static void load_flv(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || fstat(fileno(file), &st) != 0) {
        fprintf(stderr, "rtmp_load: %s: %s\n", path, strerror(errno));
        exit(2);
    }
    uint8_t *data = malloc((size_t)st.st_size);
    size_t len = fread(data, 1, (size_t)st.st_size, file);
    fclose(file);
    marks = calloc(SEND_MARKS, sizeof(*marks));
    for (size_t at = 13; at + 15 <= len && marks_count < SEND_MARKS;) {
        uint32_t size = (uint32_t)data[at + 1] << 16 | (uint32_t)data[at + 2] << 8 | data[at + 3];
        uint32_t time_ms =
            (uint32_t)data[at + 4] << 16 | (uint32_t)data[at + 5] << 8 | data[at + 6] | (uint32_t)data[at + 7] << 24;
        if (at + 11 + size > len)
            break;
        marks[marks_count++] = (struct mark){time_ms, stream.len};
        put_message(&stream, data[at] == 9 ? 6 : 4, data[at], 1, time_ms, data + at + 11, size, CHUNK_SIZE);
        at += 11 + size + 4;
    }
    free(data);
}

static void send_all(struct publisher *p, const struct bytes *b)
{
    /* Commands are small and the socket is empty then. */
    if (send(p->fd, b->data, b->len, MSG_NOSIGNAL) != (ssize_t)b->len)
        p->phase = LOST;
}

static void send_command(struct publisher *p, struct bytes *body, uint32_t stream_id)
{
    struct bytes out = {0};
    put_message(&out, 3, 20, stream_id, 0, body->data, body->len, CHUNK_SIZE);
    send_all(p, &out);
    free(out.data);
    free(body->data);
}

static void send_connect(struct publisher *p, const char *app)
{
    struct bytes out = {0}, body = {0};
    uint8_t size[4] = {0, 0, CHUNK_SIZE >> 8, CHUNK_SIZE & 255};
    put_message(&out, 2, 1, 0, 0, size, 4, 128);
    send_all(p, &out);
    free(out.data);
    put_string(&body, "connect");
    put_number(&body, 1);
    put_be(&body, 3, 1);
    put_member(&body, "app", app);
    put_member(&body, "type", "nonprivate");
    put_member(&body, "flashVer", "FMLE/3.0 (compatible; load)");
    put_member(&body, "tcUrl", "rtmp://127.0.0.1/live");
    put_be(&body, 9, 3);
    send_command(p, &body, 0);
    p->phase = WAIT_CONNECT;
}

static void send_create_stream(struct publisher *p)
{
    struct bytes body = {0};
    put_string(&body, "createStream");
    put_number(&body, 2);
    put_be(&body, 5, 1);
    send_command(p, &body, 0);
    p->phase = WAIT_STREAM;
}

static void send_publish(struct publisher *p)
{
    struct bytes body = {0};
    put_string(&body, "publish");
    put_number(&body, 3);
    put_be(&body, 5, 1);
    put_string(&body, p->key);
    put_string(&body, "live");
    send_command(p, &body, 1);
    p->phase = WAIT_PUBLISH;
}

static int contains(const struct publisher *p, const char *text)
{
    return memmem(p->in, p->in_len, text, strlen(text)) != NULL;
}

/* The answers are recognised by their text: this is a load, not a client. */
static void on_readable(struct publisher *p, const char *app)
{
    uint8_t scratch[16384];
    ssize_t got = recv(p->fd, scratch, sizeof(scratch), 0);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            p->phase = p->phase == WAIT_PUBLISH || p->phase == REFUSED ? REFUSED : LOST;
        return;
    }
    size_t len = (size_t)got, skip = 0;
    if (p->phase == HANDSHAKING) {
        skip = len < p->handshake_left ? len : p->handshake_left;
        p->handshake_left -= skip;
        if (p->handshake_left > 0)
            return;
        uint8_t c2[HANDSHAKE] = {0};
        struct bytes out = {c2, sizeof(c2), sizeof(c2)};
        send_all(p, &out);
        send_connect(p, app);
    }
    size_t keep = len - skip;
    if (p->in_len + keep > sizeof(p->in))
        p->in_len = 0;
    if (keep > sizeof(p->in))
        return;
    memcpy(p->in + p->in_len, scratch + skip, keep);
    p->in_len += keep;
    if (p->phase == WAIT_CONNECT && contains(p, "NetConnection.Connect.Success")) {
        p->in_len = 0;
        send_create_stream(p);
    } else if (p->phase == WAIT_STREAM && contains(p, "_result")) {
        p->in_len = 0;
        send_publish(p);
    } else if (p->phase == WAIT_PUBLISH && contains(p, "NetStream.Publish.Start")) {
        p->phase = PUBLISHING;
        p->start_us = now_us();
        p->in_len = 0;
    } else if (p->phase == WAIT_PUBLISH && contains(p, "error")) {
        p->phase = REFUSED;
    }
}

/* Sends what is due by real time. */
static void pump(struct publisher *p, int64_t now)
{
    int64_t elapsed_ms = (now - p->start_us) / 1000;
    size_t low = 0, high = marks_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((int64_t)marks[middle].time_ms <= elapsed_ms)
            low = middle + 1;
        else
            high = middle;
    }
    size_t due = low < marks_count ? marks[low].offset : stream.len;
    if (due <= p->sent)
        return;
    ssize_t wrote = send(p->fd, stream.data + p->sent, due - p->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (wrote < 0) {
        if (errno != EAGAIN && errno != EINTR)
            p->phase = LOST;
        wrote = 0;
    }
    p->sent += (size_t)wrote;
    bytes_sent += (uint64_t)wrote;
    if (p->sent < due) {
        size_t at = 0;
        while (at + 1 < marks_count && marks[at + 1].offset <= p->sent)
            at++;
        int64_t delay = elapsed_ms - marks[at].time_ms;
        if (delay > longest_delay_ms)
            longest_delay_ms = delay;
    }
}

static void begin(struct publisher *p, int epoll, const struct sockaddr_in *address)
{
    uint8_t c0c1[1 + HANDSHAKE] = {3};
    p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (p->fd < 0 || connect(p->fd, (const struct sockaddr *)address, sizeof(*address)) != 0) {
        p->phase = LOST;
        return;
    }
    struct bytes out = {c0c1, sizeof(c0c1), sizeof(c0c1)};
    p->phase = HANDSHAKING;
    p->handshake_left = 1 + 2 * HANDSHAKE;
    send_all(p, &out);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
    epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &event);
}

int main(int argc, char **argv)
{
    if (argc < 7) {
        fprintf(stderr, "usage: rtmp_load HOST PORT APP FILE.flv SECONDS KEY… | -n N PREFIX\n");
        return 2;
    }
    int numbered = strcmp(argv[6], "-n") == 0;
    size_t count = numbered ? (size_t)atoi(argv[7]) : (size_t)(argc - 6);
    int64_t seconds = atoi(argv[5]);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    load_flv(argv[4]);

    struct publisher *all = calloc(count, sizeof(*all));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    size_t begun = 0;
    int64_t first = now_us(), next_begin = first, last_pump = 0;
    while (now_us() - first < seconds * 1000000) {
        int64_t now = now_us();
        while (begun < count && now >= next_begin) {
            struct publisher *p = &all[begun];
            if (numbered)
                snprintf(p->key, sizeof(p->key), "%s%zu", argv[8], begun);
            else
                snprintf(p->key, sizeof(p->key), "%s", argv[6 + begun]);
            begin(p, epoll, &address);
            begun++;
            next_begin += RAMP_US;
        }
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 2);
        for (int i = 0; i < ready; i++) {
            struct publisher *p = events[i].data.ptr;
            on_readable(p, argv[3]);
            if (p->phase == LOST || p->phase == REFUSED) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, p->fd, NULL);
                close(p->fd);
            }
        }
        if (now - last_pump >= 20000) { /* like a live encoder: whenever a frame or two are ready */
            last_pump = now;
            for (size_t i = 0; i < begun; i++)
                if (all[i].phase == PUBLISHING)
                    pump(&all[i], now);
        }
    }
    size_t publishing = 0, refused = 0, lost = 0;
    for (size_t i = 0; i < count; i++) {
        publishing += all[i].phase == PUBLISHING;
        refused += all[i].phase == REFUSED;
        lost += all[i].phase == LOST;
    }
    printf("{\"publishing\":%zu,\"refused\":%zu,\"lost\":%zu,\"bytes\":%llu,\"longest_delay_ms\":%lld}\n", publishing,
           refused, lost, (unsigned long long)bytes_sent, (long long)longest_delay_ms);
    return 0;
}
