/* Many viewers of one chat room from one cheap process, for benches and tests: connects them, lets some of them post at
 * a rate, counts what reaches all of them and how late.
 *
 *     websocket_load PROTOCOL HOST PORT PATH VIEWERS [-t FILE] [-r RATE] [-p POSTERS] [-l BYTES] [-w WARM_S] [-d S] [-k
 * AT_ONCE]
 *
 * PROTOCOL is hanabi, nchan (its "pubsub websocket" location) or socketio (engine.io over WebSocket). `-t`: a token a
 * line, viewer i takes line i mod lines, as PATH?token=…; `-r`: comments a second of all posters together; `-p`: how
 * many viewers post, in turn; `-l`: length of a comment's text; `-w`: seconds that are not counted; `-d`: seconds that
 * are;
 * `-k`: handshakes under way at the same time.
 *
 * Bytes are read once: a comment's text begins with MARK_EVENT and the time it was sent, and that is looked for,
 * whatever frame it is in. So a delivery is one comment that one viewer has got. Prints a JSON object a line: when all
 * are connected ({"connected":…}), at the end of the counted time ({"deliveries":…}), and, a second after the last
 * comment was sent, what was sent and what has come in all ({"posted":…,"delivered":…}). */
#include "delays.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MARK_EVENT      "^^"
#define MARK_REF        "^a"
#define EVENT_BYTES     18 /* mark, time in ns in 16 hex digits */
#define REF_BYTES       10 /* mark, 8 hex digits */
#define ACK             "{\"type\":\"ack\""
#define CARRY_MAX       96 /* what of a read is kept before the next: longer than an acknowledgement */
#define READ_MAX        262144
#define EVENTS_AT_ONCE  512
#define SENT_REMEMBERED (1 << 16) /* comments whose acknowledgement may still come */
#define KEEP_ALIVE_NS   20000000000
#define DRAIN_NS        1000000000

enum state { IDLE, CONNECTING, UPGRADING, OPENING, READY, CLOSED };

/* What a server says when a viewer is in, and how a comment is sent to it. */
struct protocol {
    const char *name;
    const char *upgraded;     /* bytes that end the handshake */
    const char *open, *ready; /* then sent, and what that is answered with; NULL: no such step */
    void (*compose)(char *text, size_t size, unsigned number, const char *body);
};

struct viewer {
    int fd;
    enum state state;
    size_t carry_len, scanned; /* the end of what was read, and how much of it needs no second look */
    char carry[CARRY_MAX];
};

static struct {
    const struct protocol *protocol;
    struct sockaddr_in address;
    const char *host, *path;
    char **tokens;
    size_t token_count, viewer_count, poster_count, text_len, at_once;
    double rate, warm_s, count_s;
} options = {.poster_count = 1, .text_len = 40, .count_s = 5, .at_once = 64};

static struct viewer *viewers;
static int epoll_fd;
static size_t started, under_way, ready, lost;
static uint64_t posted, blocked, acked, refused, delivered, bytes_read;
static struct delays delivery, acknowledgement;
static int64_t sent_ns[SENT_REMEMBERED];
static char read_buffer[CARRY_MAX + READ_MAX];

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "websocket_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- how each server is spoken to --- */

static void compose_hanabi(char *text, size_t size, unsigned number, const char *body)
{
    snprintf(text, size, "{\"type\":\"comment\",\"ref\":\"" MARK_REF "%08x\",\"text\":\"%s\"}", number, body);
}

/* Whoever publishes through nchan makes the whole event: as long as the others' servers make it. */
static void compose_nchan(char *text, size_t size, unsigned number, const char *body)
{
    int64_t at_ms = clock_ns(CLOCK_REALTIME) / 1000000;

    snprintf(text, size,
             "{\"type\":\"comment\",\"id\":\"%" PRId64 "-0\",\"user\":{\"id\":\"u%u\",\"name\":\"u%u\"},"
             "\"text\":\"%s\",\"at_ms\":%" PRId64 "}",
             at_ms, number % 1000, number % 1000, body, at_ms);
}

static void compose_socketio(char *text, size_t size, unsigned number, const char *body)
{
    snprintf(text, size, "42[\"comment\",\"%s\"]", body);
}

static const struct protocol protocols[] = {
    {"hanabi", "\"type\":\"hello\"", NULL, NULL, compose_hanabi},
    {"nchan", "\r\n\r\n", NULL, NULL, compose_nchan},
    {"socketio", "0{\"sid\"", "40", "40{\"sid\"", compose_socketio},
};

/* A masked frame of a client, with the mask 0: the bytes stay what they are. Less than 64 KiB. */
static bool send_frame(struct viewer *viewer, unsigned opcode, const char *text, size_t len)
{
    unsigned char frame[4096 + 8];
    size_t at = 0;

    frame[at++] = (unsigned char)(0x80 | opcode);
    if (len < 126) {
        frame[at++] = (unsigned char)(0x80 | len);
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = (unsigned char)(len >> 8);
        frame[at++] = (unsigned char)len;
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, text, len);
    return send(viewer->fd, frame, at + 4 + len, MSG_NOSIGNAL) == (ssize_t)(at + 4 + len);
}

/* --- a viewer's life --- */

static void drop(struct viewer *viewer)
{
    if (viewer->state < READY)
        under_way--;
    else
        ready--;
    lost++;
    close(viewer->fd);
    viewer->state = CLOSED;
}

static void start_viewer(struct viewer *viewer)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = viewer};
    struct linger at_once = {.l_onoff = 1}; /* no port is left in TIME_WAIT for the next run to stumble over */
    int on = 1;

    viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (viewer->fd < 0)
        fail("socket");
    setsockopt(viewer->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    setsockopt(viewer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(viewer->fd, (struct sockaddr *)&options.address, sizeof(options.address)) != 0 && errno != EINPROGRESS)
        fail("connect");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, viewer->fd, &event) != 0)
        fail("epoll_ctl");
    viewer->state = CONNECTING;
    under_way++;
}

static void on_connected(struct viewer *viewer)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = viewer};
    char text[4096], query[2048] = "";
    int len, error = 0;
    socklen_t error_len = sizeof(error);

    getsockopt(viewer->fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
    if (error != 0) {
        drop(viewer);
        return;
    }
    if (options.token_count)
        snprintf(query, sizeof(query), "?token=%s", options.tokens[(size_t)(viewer - viewers) % options.token_count]);
    len = snprintf(text, sizeof(text),
                   "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                   options.path, query, options.host);
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, viewer->fd, &event);
    viewer->state = UPGRADING;
    if (send(viewer->fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        drop(viewer);
}

/* Returns how many bytes belong to the handshake; 0: it is not over. */
static size_t read_handshake(struct viewer *viewer, const char *bytes, size_t len)
{
    const char *mark = viewer->state == UPGRADING ? options.protocol->upgraded : options.protocol->ready;
    const char *found = memmem(bytes, len, mark, strlen(mark));

    if (!found)
        return 0;
    if (viewer->state == UPGRADING && options.protocol->open) {
        viewer->state = OPENING;
        if (!send_frame(viewer, 1, options.protocol->open, strlen(options.protocol->open)))
            drop(viewer);
    } else {
        viewer->state = READY;
        under_way--;
        ready++;
    }
    return (size_t)(found - bytes) + strlen(mark);
}

static bool read_hex(const char *at, size_t digits, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < digits; i++) {
        unsigned char c = (unsigned char)at[i];

        if (c >= '0' && c <= '9')
            *value = *value << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value << 4 | (c - 'a' + 10u);
        else
            return false;
    }
    return true;
}

/* The ref is the last of an answer; what kind of answer it is stands before it. */
static void on_ref(const char *begin, const char *at, int64_t read_ns)
{
    const char *from = at - begin > CARRY_MAX - REF_BYTES ? at - (CARRY_MAX - REF_BYTES) : begin;
    uint64_t number;

    if (!read_hex(at + 2, 8, &number))
        return;
    if (memmem(from, (size_t)(at - from), ACK, sizeof(ACK) - 1)) {
        acked++;
        delays_observe(&acknowledgement, read_ns - sent_ns[number % SENT_REMEMBERED]);
    } else {
        refused++;
    }
}

/* Counts what is whole in `bytes`, from `at` on; returns where what is not whole begins. */
static const char *scan(const char *bytes, const char *at, const char *end, int64_t read_ns)
{
    uint64_t sent;

    while ((at = memchr(at, '^', (size_t)(end - at))) != NULL) {
        size_t left = (size_t)(end - at);

        if (left < 2)
            return at;
        if (memcmp(at, MARK_EVENT, 2) == 0) {
            if (left < EVENT_BYTES)
                return at;
            if (read_hex(at + 2, 16, &sent)) {
                delivered++;
                delays_observe(&delivery, read_ns - (int64_t)sent);
            }
            at += EVENT_BYTES;
        } else if (memcmp(at, MARK_REF, 2) == 0) {
            if (left < REF_BYTES)
                return at;
            on_ref(bytes, at, read_ns);
            at += REF_BYTES;
        } else {
            at++;
        }
    }
    return end;
}

static void on_readable(struct viewer *viewer)
{
    char *begin = read_buffer + CARRY_MAX - viewer->carry_len, *end;
    ssize_t got = recv(viewer->fd, read_buffer + CARRY_MAX, READ_MAX, 0);
    const char *at = begin + viewer->scanned;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(viewer);
        return;
    }
    bytes_read += (uint64_t)got;
    memcpy(begin, viewer->carry, viewer->carry_len);
    end = read_buffer + CARRY_MAX + got;
    while (viewer->state < READY) {
        size_t used = read_handshake(viewer, at, (size_t)(end - at));

        if (used == 0)
            break;
        at += used;
    }
    if (viewer->state == READY)
        at = scan(begin, at, end, now_ns());
    viewer->carry_len = end - begin < CARRY_MAX ? (size_t)(end - begin) : CARRY_MAX;
    memcpy(viewer->carry, end - viewer->carry_len, viewer->carry_len);
    viewer->scanned = (size_t)(end - at) < viewer->carry_len ? viewer->carry_len - (size_t)(end - at) : 0;
}

/* --- what viewers do by themselves --- */

static void post(void)
{
    static size_t next;
    char body[1024], text[2048];
    struct viewer *viewer = &viewers[next++ % options.poster_count];
    int64_t at_ns = now_ns();
    int len;

    if (viewer->state != READY)
        return;
    len = snprintf(body, sizeof(body), MARK_EVENT "%016" PRIx64 " ", (uint64_t)at_ns);
    for (; (size_t)len < options.text_len && (size_t)len < sizeof(body) - 1; len++)
        body[len] = (char)('a' + len % 26);
    body[len] = '\0';
    sent_ns[posted % SENT_REMEMBERED] = at_ns;
    options.protocol->compose(text, sizeof(text), (unsigned)posted, body);
    if (send_frame(viewer, 1, text, strlen(text)))
        posted++;
    else
        blocked++;
}

/* A pong that nobody asked for keeps a connection as well as the answer to a ping does, and needs no reading of frames.
 */
static void keep_alive(void)
{
    for (size_t i = 0; i < options.viewer_count; i++)
        if (viewers[i].state == READY)
            send_frame(&viewers[i], 10, "", 0);
}

static void turn(int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct viewer *viewer = events[i].data.ptr;

        if (viewer->state == CONNECTING)
            on_connected(viewer);
        else if (viewer->state != CLOSED)
            on_readable(viewer);
    }
}

/* Posts at the rate until `end_ns`; the clock that says how many are due began at `begin_ns`. */
static void run_until(int64_t begin_ns, int64_t end_ns)
{
    static uint64_t due_done;
    static int64_t kept_ns;
    int64_t at_ns;

    while ((at_ns = now_ns()) < end_ns) {
        uint64_t due = (uint64_t)((double)(at_ns - begin_ns) / SECOND_NS * options.rate);

        for (; due_done < due; due_done++)
            post();
        if (at_ns - kept_ns > KEEP_ALIVE_NS) {
            kept_ns = at_ns;
            keep_alive();
        }
        turn(1);
    }
}

/* --- from the start to the end --- */

static void connect_all(void)
{
    int64_t begin_ns = now_ns();

    while (ready + lost < options.viewer_count) {
        while (started < options.viewer_count && under_way < options.at_once)
            start_viewer(&viewers[started++]);
        turn(10);
        if (now_ns() - begin_ns > 120 * (int64_t)SECOND_NS)
            break;
    }
    printf("{\"connected\":%zu,\"lost\":%zu,\"seconds_to_connect\":%.3f}\n", ready, lost,
           (double)(now_ns() - begin_ns) / SECOND_NS);
    fflush(stdout);
}

static void measure(void)
{
    int64_t begin_ns = now_ns(), warm_ns = begin_ns + (int64_t)(options.warm_s * SECOND_NS), end_ns, cpu_ns;
    uint64_t before, before_bytes, before_posted;
    double seconds;

    run_until(begin_ns, warm_ns);
    before = delivered;
    before_bytes = bytes_read;
    before_posted = posted;
    memset(&delivery, 0, sizeof(delivery));
    memset(&acknowledgement, 0, sizeof(acknowledgement));
    cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    printf("{\"warm\":true}\n");
    fflush(stdout);
    warm_ns = now_ns();
    run_until(begin_ns, warm_ns + (int64_t)(options.count_s * SECOND_NS));
    end_ns = now_ns();
    seconds = (double)(end_ns - warm_ns) / SECOND_NS;
    printf("{\"deliveries\":%" PRIu64 ",\"seconds\":%.3f,\"posts\":%" PRIu64 ",\"megabytes\":%.1f,\"cpu_s\":%.3f,"
           "\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f,\"ack_p50_ms\":%.2f,\"ack_p99_ms\":%.2f}\n",
           delivered - before, seconds, posted - before_posted, (double)(bytes_read - before_bytes) / 1e6,
           (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns) / SECOND_NS, delays_percentile_ms(&delivery, 0.5),
           delays_percentile_ms(&delivery, 0.99), delays_percentile_ms(&delivery, 0.9999999),
           delays_percentile_ms(&acknowledgement, 0.5), delays_percentile_ms(&acknowledgement, 0.99));
    fflush(stdout);
    options.rate = 0;
    run_until(now_ns(), now_ns() + DRAIN_NS);
    printf("{\"posted\":%" PRIu64 ",\"blocked\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"refused\":%" PRIu64
           ",\"delivered\":%" PRIu64 ",\"ready\":%zu,\"lost\":%zu}\n",
           posted, blocked, acked, refused, delivered, ready, lost);
}

static void read_tokens(const char *file)
{
    FILE *in = fopen(file, "re");
    char line[2048];

    if (!in)
        fail(file);
    while (fgets(line, sizeof(line), in)) {
        line[strcspn(line, "\n")] = '\0';
        options.tokens = reallocarray(options.tokens, options.token_count + 1, sizeof(options.tokens[0]));
        if (!options.tokens || !(options.tokens[options.token_count++] = strdup(line)))
            fail("tokens");
    }
    fclose(in);
}

static _Noreturn void usage(void)
{
    fprintf(stderr,
            "websocket_load hanabi|nchan|socketio HOST PORT PATH VIEWERS [-t tokens] [-r rate] [-p posters] [-l text "
            "length] [-w warm s] [-d counted s] [-k handshakes at once]\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    int option;

    while ((option = getopt(argc, argv, "t:r:p:l:w:d:k:")) != -1) {
        size_t *count = option == 'p'   ? &options.poster_count
                        : option == 'l' ? &options.text_len
                        : option == 'k' ? &options.at_once
                                        : NULL;
        double *number = option == 'r'   ? &options.rate
                         : option == 'w' ? &options.warm_s
                         : option == 'd' ? &options.count_s
                                         : NULL;

        if (count)
            *count = (size_t)atol(optarg);
        else if (number)
            *number = atof(optarg);
        else if (option == 't')
            read_tokens(optarg);
        else
            usage();
    }
    if (argc - optind != 5)
        usage();
    argv += optind;
    for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
        if (strcmp(protocols[i].name, argv[0]) == 0)
            options.protocol = &protocols[i];
    options.host = argv[1];
    options.address.sin_family = AF_INET;
    options.address.sin_port = htons((uint16_t)atoi(argv[2]));
    options.path = argv[3];
    options.viewer_count = (size_t)atol(argv[4]);
    if (!options.protocol || inet_pton(AF_INET, argv[1], &options.address.sin_addr) != 1 || options.viewer_count == 0 ||
        options.poster_count == 0)
        usage();
    if (options.poster_count > options.viewer_count)
        options.poster_count = options.viewer_count;
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    read_options(argc, argv);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    viewers = calloc(options.viewer_count, sizeof(viewers[0]));
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!viewers || epoll_fd < 0)
        fail("start");
    connect_all();
    measure();
    return lost > 0 || ready < options.viewer_count;
}
