/* Many viewers of a chat from one small process, for tests and benches: websockets on one epoll, some of which post at
 * a steady rate whatever comes back (an open loop), some of which never read. Counts what arrives and how long it took.
 *
 *     chat_load HOST:PORT[,HOST:PORT…] PATH option=value…        options: see struct options
 *
 * `{i}` in PATH is the viewer's number. A posted text begins with `@<microseconds of the monotonic clock>@`; whoever
 * sees it again knows its age. Prints one JSON object when it is over, and `ready` on standard error when all have
 * connected. Build: cc -O2 -D_GNU_SOURCE -o chat_load chat_load.c -lcrypto */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/hmac.h>
#include <signal.h>
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

static struct options {
    long viewers;        /* websockets that read */
    long deaf;           /* more of them, that never read after the handshake */
    long posters;        /* so many of the viewers post … */
    double rate;         /* … so many comments a second, all together */
    double lead;         /* seconds of looking on once all have connected, before posting */
    double seconds;      /* that posting, or looking on, lasts after that */
    double settle;       /* seconds of looking on after that */
    long connect_rate;   /* connects begun in a second */
    long text;           /* bytes of a posted text */
    long sample;         /* only every so manieth viewer looks into its frames: cheaper */
    const char *secret;  /* key of the tokens; empty: none */
    const char *user;    /* user ids are this and the viewer's number */
    const char *hello;   /* a frame that each sends at first */
    const char *comment; /* what a delivered comment has in it, once */
    const char *count;   /* something else to be counted, per viewer */
    const char *acks;    /* a file for the ids of acknowledged comments, one a line */
} options = {.viewers = 100,
             .seconds = 5,
             .settle = 1,
             .connect_rate = 2000,
             .text = 40,
             .sample = 1,
             .secret = "",
             .user = "load",
             .hello = "",
             .comment = "\"text\":\"@",
             .count = "",
             .acks = ""};

#define BUCKET_US 100
#define BUCKETS   200000 /* 20 s */
#define READ_SIZE (1 << 20)
#define FRAME_MAX (1 << 24)
#define CODES     32

struct viewer {
    int fd;
    long number;
    enum { CONNECTING, HANDSHAKING, OPEN, DEAF, CLOSED } phase;
    char *left; /* the beginning of a frame that has not come whole */
    size_t left_len, left_capacity;
    char *unsent;
    size_t unsent_len;
    uint64_t comments, counted;
    uint64_t last_ms, last_sequence;
};

struct histogram {
    uint64_t buckets[BUCKETS], count;
    int64_t max_us;
};

static struct viewer *viewers;
static struct sockaddr_in targets[64];
static size_t target_count;
static const char *path_template;
static int epoll_fd;
static char read_buffer[READ_SIZE];
static struct histogram delivery, acknowledgement;
static uint64_t frames, bytes, comments, counted, disordered, offered, stalled, acked;
static long opened, refused, closed;
static struct {
    char code[40];
    uint64_t count;
} codes[CODES];
static FILE *ack_file;

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void observe(struct histogram *histogram, int64_t us)
{
    int64_t bucket = us / BUCKET_US;

    histogram->buckets[bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : bucket]++;
    histogram->count++;
    if (us > histogram->max_us)
        histogram->max_us = us;
}

static double percentile_ms(const struct histogram *histogram, double share)
{
    uint64_t rank = (uint64_t)((double)histogram->count * share), seen = 0;

    for (size_t i = 0; i < BUCKETS && histogram->count > 0; i++) {
        seen += histogram->buckets[i];
        if (seen > rank || seen == histogram->count)
            return (double)(i + 1) * BUCKET_US / 1000;
    }
    return 0;
}

/* --- tokens --- */

static size_t base64url(const void *data, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = data;
    size_t at = 0;

    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        unsigned value = (unsigned)in[i] << 16 | (have > 1 ? (unsigned)in[i + 1] << 8 : 0) | (have > 2 ? in[i + 2] : 0);

        for (size_t digit = 0; digit <= have; digit++)
            out[at++] = digits[value >> (18 - 6 * digit) & 63];
    }
    out[at] = '\0';
    return at;
}

static void make_token(long number, char out[1024])
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    char claims[400];
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;
    size_t at;

    snprintf(claims, sizeof(claims), "{\"sub\":\"%s%ld\",\"name\":\"%s %ld\",\"role\":\"viewer\",\"exp\":%ld}",
             options.user, number, options.user, number, (long)time(NULL) + 86400);
    at = base64url(header, sizeof(header) - 1, out);
    out[at++] = '.';
    at += base64url(claims, strlen(claims), out + at);
    HMAC(EVP_sha256(), options.secret, (int)strlen(options.secret), (unsigned char *)out, at, mac, &mac_len);
    out[at++] = '.';
    base64url(mac, mac_len, out + at);
}

/* --- sending --- */

static void end(struct viewer *viewer)
{
    if (viewer->phase == CLOSED)
        return;
    if (viewer->phase < OPEN)
        refused++;
    else
        closed++;
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
static void send_frame(struct viewer *viewer, int opcode, const char *text, size_t len)
{
    char frame[4096 + 8];
    size_t head = len < 126 ? 2 : 4;

    if (viewer->unsent || len > 4000) {
        stalled++;
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

static void post(struct viewer *viewer)
{
    char text[4000];
    int64_t now = now_us();
    int len = snprintf(text, sizeof(text), "{\"type\":\"comment\",\"ref\":\"%lld-%ld\",\"text\":\"@%lld@%ld ",
                       (long long)now, viewer->number, (long long)now, viewer->number);

    for (long i = 22; i < options.text && len < 3900; i++)
        text[len++] = (char)('a' + i % 26);
    len += snprintf(text + len, sizeof(text) - (size_t)len, "\"}");
    offered++;
    if (viewer->phase == OPEN)
        send_frame(viewer, 1, text, (size_t)len);
    else
        stalled++;
}

/* --- what arrives --- */

static void look_at_order(struct viewer *viewer, const char *id)
{
    char *rest;
    uint64_t ms = strtoull(id, &rest, 10);
    uint64_t sequence = *rest == '-' ? strtoull(rest + 1, NULL, 10) : 0;

    if (ms < viewer->last_ms || (ms == viewer->last_ms && sequence <= viewer->last_sequence))
        disordered++;
    viewer->last_ms = ms;
    viewer->last_sequence = sequence;
}

static void take_events(struct viewer *viewer, const char *text, size_t len, int64_t now)
{
    static const char id_mark[] = "{\"id\":\"";
    size_t comment_len = strlen(options.comment), count_len = strlen(options.count);
    const char *limit = text + len, *at;

    for (at = text; (at = memmem(at, (size_t)(limit - at), options.comment, comment_len)) != NULL; at += comment_len) {
        viewer->comments++;
        comments++;
        if (options.comment[comment_len - 1] == '@')
            observe(&delivery, now - strtoll(at + comment_len, NULL, 10));
    }
    /* `"user":{"id":` has a colon in front of it. */
    for (at = text + 1; (at = memmem(at, (size_t)(limit - at), id_mark, sizeof(id_mark) - 1)) != NULL; at++)
        if (at[-1] != ':')
            look_at_order(viewer, at + sizeof(id_mark) - 1);
    for (at = text; count_len && (at = memmem(at, (size_t)(limit - at), options.count, count_len)) != NULL;
         at += count_len) {
        viewer->counted++;
        counted++;
    }
}

/* The string behind `mark`, cut at its closing quote. */
static bool copy_string(const char *text, size_t len, const char *mark, char *out, size_t size)
{
    const char *at = memmem(text, len, mark, strlen(mark));
    size_t count = 0;

    if (!at)
        return false;
    at += strlen(mark);
    while (at + count < text + len && at[count] != '"' && count + 1 < size)
        count++;
    memcpy(out, at, count);
    out[count] = '\0';
    return true;
}

static void take_ack(const char *text, size_t len, int64_t now)
{
    char value[80];

    acked++;
    if (copy_string(text, len, "\"ref\":\"", value, sizeof(value)))
        observe(&acknowledgement, now - strtoll(value, NULL, 10));
    if (ack_file && copy_string(text, len, "\"id\":\"", value, sizeof(value)))
        fprintf(ack_file, "%s\n", value);
}

static void take_error(const char *text, size_t len)
{
    char code[40] = "?";
    size_t i = 0;

    copy_string(text, len, "\"code\":\"", code, sizeof(code));
    while (i < CODES - 1 && codes[i].code[0] && strcmp(codes[i].code, code) != 0)
        i++;
    strcpy(codes[i].code, code);
    codes[i].count++;
}

static bool begins(const char *text, size_t len, const char *with)
{
    return len >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static void take_frame(struct viewer *viewer, int opcode, const char *text, size_t len, int64_t now)
{
    if (opcode == 9) {
        send_frame(viewer, 10, text, len);
    } else if (opcode == 8) {
        end(viewer);
    } else {
        frames++;
        if (begins(text, len, "{\"type\":\"ack\""))
            take_ack(text, len, now);
        else if (begins(text, len, "{\"type\":\"error\""))
            take_error(text, len);
        else if (viewer->number % options.sample == 0)
            take_events(viewer, text, len, now);
    }
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
    int64_t now = now_us();
    size_t head, whole;

    while (viewer->phase == OPEN && (whole = frame_length(data, len, &head)) > 0) {
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
    const char *body = memmem(data, len, "\r\n\r\n", 4);

    if (!body) {
        take_bytes(viewer, data, len); /* not open: all of it is kept */
        return;
    }
    if (!begins(data, len, "HTTP/1.1 101")) {
        end(viewer);
        return;
    }
    opened++;
    viewer->phase = viewer->number < options.viewers ? OPEN : DEAF;
    if (viewer->phase == DEAF) {
        epoll_ctl(epoll_fd, EPOLL_CTL_DEL, viewer->fd, NULL);
        return;
    }
    if (options.hello[0])
        send_frame(viewer, 1, options.hello, strlen(options.hello));
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
    bytes += (uint64_t)got;
    if (viewer->phase == HANDSHAKING)
        on_upgraded(viewer, read_buffer, left + (size_t)got);
    else
        take_bytes(viewer, read_buffer, left + (size_t)got);
}

/* --- connecting --- */

static void on_connected(struct viewer *viewer)
{
    char request[4096], token[1024] = "", path[2048];
    const char *mark = strstr(path_template, "{i}");
    int error = 0;
    socklen_t size = sizeof(error);

    getsockopt(viewer->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        end(viewer);
        return;
    }
    if (options.secret[0])
        make_token(viewer->number, token);
    if (mark)
        snprintf(path, sizeof(path), "%.*s%ld%s", (int)(mark - path_template), path_template, viewer->number, mark + 3);
    else
        snprintf(path, sizeof(path), "%s", path_template);
    snprintf(request, sizeof(request),
             "GET %s%s%s HTTP/1.1\r\nHost: chat\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
             path, token[0] ? strchr(path, '?') ? "&token=" : "?token=" : "", token);
    viewer->phase = HANDSHAKING;
    watch(viewer, EPOLL_CTL_MOD, EPOLLIN);
    transmit(viewer, request, strlen(request));
}

static void begin(long number)
{
    struct viewer *viewer = &viewers[number];
    const struct sockaddr_in *target = &targets[(size_t)number % target_count];
    int small = 4096, one = 1;

    viewer->number = number;
    viewer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (viewer->fd < 0) {
        perror("chat_load: socket");
        exit(1);
    }
    setsockopt(viewer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (number >= options.viewers)
        setsockopt(viewer->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    watch(viewer, EPOLL_CTL_ADD, EPOLLOUT);
    if (connect(viewer->fd, (const struct sockaddr *)target, sizeof(*target)) != 0 && errno != EINPROGRESS)
        end(viewer);
}

static void turn(int timeout_ms)
{
    struct epoll_event events[512];
    int count = epoll_wait(epoll_fd, events, 512, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct viewer *viewer = events[i].data.ptr;

        if (viewer->phase == CONNECTING)
            on_connected(viewer);
        else if (viewer->phase != CLOSED && events[i].events & EPOLLOUT)
            transmit_rest(viewer);
        if ((viewer->phase == HANDSHAKING || viewer->phase == OPEN) && events[i].events & (EPOLLIN | EPOLLHUP))
            on_readable(viewer);
    }
}

static double connect_all(void)
{
    int64_t began = now_us();
    long all = options.viewers + options.deaf, begun = 0;

    while (opened + refused < all && now_us() - began < 120000000) {
        long due = (long)((double)(now_us() - began) / 1e6 * (double)options.connect_rate) + 1;

        while (begun < all && begun < due)
            begin(begun++);
        turn(1);
    }
    return (double)(now_us() - began) / 1e6;
}

/* Who posts next is whoever has not for the longest time. */
static void run_for(double seconds, double rate)
{
    static long next;
    int64_t began = now_us(), until = began + (int64_t)(seconds * 1e6);
    double said = 0;

    for (int64_t now = began; now < until; now = now_us()) {
        double due = (double)(now - began) / 1e6 * rate;

        for (; said + 1 <= due && options.posters > 0; said++)
            post(&viewers[next++ % options.posters]);
        turn(rate > 0 ? 1 : 20);
    }
}

/* --- start and end --- */

static void print_histogram(const char *name, const struct histogram *histogram)
{
    printf("\"%s\":{\"count\":%llu,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f},", name,
           (unsigned long long)histogram->count, percentile_ms(histogram, 0.5), percentile_ms(histogram, 0.99),
           percentile_ms(histogram, 0.999), (double)histogram->max_us / 1000);
}

static void print_range(const char *name, uint64_t all, uint64_t least, uint64_t most)
{
    printf("\"%s\":%llu,\"%s_min\":%llu,\"%s_max\":%llu,", name, (unsigned long long)all, name,
           (unsigned long long)least, name, (unsigned long long)most);
}

static void report(double connect_s)
{
    uint64_t least = UINT64_MAX, most = 0, counted_least = UINT64_MAX, counted_most = 0;

    for (long i = 0; i < options.viewers; i += options.sample) {
        least = viewers[i].comments < least ? viewers[i].comments : least;
        most = viewers[i].comments > most ? viewers[i].comments : most;
        counted_least = viewers[i].counted < counted_least ? viewers[i].counted : counted_least;
        counted_most = viewers[i].counted > counted_most ? viewers[i].counted : counted_most;
    }
    printf("{\"connected\":%ld,\"refused\":%ld,\"closed\":%ld,\"connect_s\":%.3f,\"connects_per_s\":%.0f,", opened,
           refused, closed, connect_s, (double)opened / connect_s);
    printf("\"offered\":%llu,\"stalled\":%llu,\"acked\":%llu,\"frames\":%llu,\"bytes\":%llu,\"disordered\":%llu,",
           (unsigned long long)offered, (unsigned long long)stalled, (unsigned long long)acked,
           (unsigned long long)frames, (unsigned long long)bytes, (unsigned long long)disordered);
    print_range("comments", comments, least, most);
    print_range("counted", counted, counted_least, counted_most);
    print_histogram("delivery_ms", &delivery);
    print_histogram("ack_ms", &acknowledgement);
    printf("\"errors\":{");
    for (size_t i = 0; i < CODES && codes[i].code[0]; i++)
        printf("%s\"%s\":%llu", i ? "," : "", codes[i].code, (unsigned long long)codes[i].count);
    printf("}}\n");
}

static void read_targets(char *text)
{
    for (char *one = strtok(text, ","); one && target_count < 64; one = strtok(NULL, ",")) {
        char *colon = strrchr(one, ':');
        struct sockaddr_in *target = &targets[target_count];

        if (!colon)
            break;
        *colon = '\0';
        target->sin_family = AF_INET;
        target->sin_port = htons((uint16_t)atoi(colon + 1));
        if (inet_pton(AF_INET, one, &target->sin_addr) == 1)
            target_count++;
    }
}

static bool read_option(char *text)
{
    char *value = strchr(text, '=');
    const struct {
        const char *name;
        long *whole;
        double *real;
        const char **string;
    } all[] = {
        {"viewers", .whole = &options.viewers}, {"deaf", .whole = &options.deaf},
        {"posters", .whole = &options.posters}, {"rate", .real = &options.rate},
        {"lead", .real = &options.lead},        {"seconds", .real = &options.seconds},
        {"settle", .real = &options.settle},    {"connect_rate", .whole = &options.connect_rate},
        {"text", .whole = &options.text},       {"sample", .whole = &options.sample},
        {"secret", .string = &options.secret},  {"user", .string = &options.user},
        {"hello", .string = &options.hello},    {"comment", .string = &options.comment},
        {"count", .string = &options.count},    {"acks", .string = &options.acks},
    };

    if (!value)
        return false;
    *value++ = '\0';
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(all[i].name, text) != 0)
            continue;
        if (all[i].whole)
            *all[i].whole = atol(value);
        else if (all[i].real)
            *all[i].real = atof(value);
        else
            *all[i].string = value;
        return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    double connect_s;
    bool is_good = argc >= 3;

    for (int i = 3; i < argc && is_good; i++)
        is_good = read_option(argv[i]);
    if (is_good)
        read_targets(argv[1]);
    if (!is_good || target_count == 0 || options.posters > options.viewers || options.sample < 1) {
        fprintf(stderr, "usage: chat_load HOST:PORT[,HOST:PORT...] PATH option=value...\n");
        return 2;
    }
    path_template = argv[2];
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (options.acks[0])
        ack_file = fopen(options.acks, "w");
    epoll_fd = epoll_create1(0);
    viewers = calloc((size_t)(options.viewers + options.deaf), sizeof(*viewers));
    connect_s = connect_all();
    run_for(options.lead, 0);
    fprintf(stderr, "ready\n");
    run_for(options.seconds, options.rate);
    run_for(options.settle, 0);
    report(connect_s);
    if (ack_file)
        fclose(ack_file);
    return 0;
}
