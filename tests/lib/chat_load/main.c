/* Many viewers of a chat from one small process, for tests and benches: websockets on one epoll, some of which post at
 * a steady rate whatever comes back (an open loop), some of which never read. Counts what arrives and how long it took.
 *
 *     chat_load HOST:PORT[,HOST:PORT…] PATH option=value…        options: see struct options in load.h
 *
 * `protocol` is hanabi, nchan or socketio. A posted text begins with `@<nanoseconds of the monotonic clock>@`; whoever
 * sees it again knows its age, so a delivery is one comment that one viewer has got. On standard error, a word a line:
 * `ready` when all have connected, `warm` when what is counted begins, `counted` when the last comment was posted. At
 * the end one JSON object on standard output. Build: cc -O2 -D_GNU_SOURCE -o chat_load *.c -lcrypto */
#include "load.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

struct options options = {.viewers = 100,
                          .seconds = 5,
                          .settle = 1,
                          .connect_rate = 2000,
                          .at_once = 1000000,
                          .text = 40,
                          .sample = 1,
                          .secret = "",
                          .count = "",
                          .acks = ""};
struct viewer *viewers;
struct totals totals;
int epoll_fd;

/* What the counted time has brought; `delivery` and `acknowledgement` go on until the end. */
static struct {
    double connect_s, seconds, cpu_s;
    uint64_t comments, bytes;
} counted;

static double connect_all(void)
{
    int64_t began = now_ns();
    long all = options.viewers + options.deaf, begun = 0;

    while (totals.opened + totals.refused < all && now_ns() - began < 120LL * SECOND_NS) {
        long due = (long)((double)(now_ns() - began) / SECOND_NS * (double)options.connect_rate) + 1;

        while (begun < all && begun < due && totals.under_way < options.at_once)
            viewer_connect(begun++);
        viewers_turn(1);
    }
    return (double)(now_ns() - began) / SECOND_NS;
}

/* Who posts next is whoever has not for the longest time. */
static void run_for(double seconds, double rate)
{
    static long next;
    int64_t began = now_ns(), until = began + (int64_t)(seconds * SECOND_NS);
    double said = 0;

    for (int64_t now = began; now < until; now = now_ns()) {
        double due = (double)(now - began) / SECOND_NS * rate;

        for (; said + 1 <= due && options.posters > 0; said++)
            viewer_post(&viewers[next++ % options.posters]);
        viewers_turn(rate > 0 ? 1 : 20);
    }
}

static void count(void)
{
    int64_t began = now_ns(), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

    memset(&totals.delivery, 0, sizeof(totals.delivery));
    memset(&totals.acknowledgement, 0, sizeof(totals.acknowledgement));
    counted.comments = totals.comments;
    counted.bytes = totals.bytes;
    fprintf(stderr, "warm\n");
    run_for(options.seconds, options.rate);
    fprintf(stderr, "counted\n");
    counted.seconds = (double)(now_ns() - began) / SECOND_NS;
    counted.cpu_s = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / SECOND_NS;
    counted.comments = totals.comments - counted.comments;
    counted.bytes = totals.bytes - counted.bytes;
}

/* --- the report --- */

static void print_delays(const char *name, const struct delays *delays)
{
    printf("\"%s\":{\"count\":%llu,\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f},", name,
           (unsigned long long)delays->count, delays_percentile_ms(delays, 0.5), delays_percentile_ms(delays, 0.99),
           delays_percentile_ms(delays, 0.999), delays_percentile_ms(delays, 0.9999999999));
}

static void print_range(const char *name, uint64_t all, uint64_t least, uint64_t most)
{
    printf("\"%s\":%llu,\"%s_min\":%llu,\"%s_max\":%llu,", name, (unsigned long long)all, name,
           (unsigned long long)least, name, (unsigned long long)most);
}

static void report(void)
{
    uint64_t least = UINT64_MAX, most = 0, counted_least = UINT64_MAX, counted_most = 0;

    for (long i = 0; i < options.viewers; i += options.sample) {
        least = viewers[i].comments < least ? viewers[i].comments : least;
        most = viewers[i].comments > most ? viewers[i].comments : most;
        counted_least = viewers[i].counted < counted_least ? viewers[i].counted : counted_least;
        counted_most = viewers[i].counted > counted_most ? viewers[i].counted : counted_most;
    }
    printf("{\"connected\":%ld,\"refused\":%ld,\"closed\":%ld,\"connect_s\":%.3f,", totals.opened, totals.refused,
           totals.closed, counted.connect_s);
    printf("\"seconds\":%.3f,\"cpu_s\":%.3f,\"deliveries\":%llu,\"bytes_counted\":%llu,", counted.seconds,
           counted.cpu_s, (unsigned long long)counted.comments, (unsigned long long)counted.bytes);
    printf("\"offered\":%llu,\"stalled\":%llu,\"acked\":%llu,\"frames\":%llu,\"bytes\":%llu,\"disordered\":%llu,",
           (unsigned long long)totals.offered, (unsigned long long)totals.stalled, (unsigned long long)totals.acked,
           (unsigned long long)totals.frames, (unsigned long long)totals.bytes, (unsigned long long)totals.disordered);
    print_range("comments", totals.comments, least, most);
    print_range("counted", totals.counted, counted_least, counted_most);
    print_delays("delivery_ms", &totals.delivery);
    print_delays("ack_ms", &totals.acknowledgement);
    printf("\"errors\":{");
    for (size_t i = 0; i < CODES && totals.codes[i].code[0]; i++)
        printf("%s\"%s\":%llu", i ? "," : "", totals.codes[i].code, (unsigned long long)totals.codes[i].count);
    printf("}}\n");
}

/* --- start and end --- */

static void read_targets(char *text)
{
    for (char *one = strtok(text, ","); one && options.target_count < TARGETS_MAX; one = strtok(NULL, ",")) {
        char *colon = strrchr(one, ':');
        struct sockaddr_in *target = &options.targets[options.target_count];

        if (!colon)
            break;
        *colon = '\0';
        target->sin_family = AF_INET;
        target->sin_port = htons((uint16_t)atoi(colon + 1));
        if (inet_pton(AF_INET, one, &target->sin_addr) == 1)
            options.target_count++;
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
        {"lead", .real = &options.lead},        {"warm", .real = &options.warm},
        {"seconds", .real = &options.seconds},  {"settle", .real = &options.settle},
        {"text", .whole = &options.text},       {"connect_rate", .whole = &options.connect_rate},
        {"sample", .whole = &options.sample},   {"at_once", .whole = &options.at_once},
        {"secret", .string = &options.secret},  {"count", .string = &options.count},
        {"acks", .string = &options.acks},
    };

    if (!value)
        return false;
    *value++ = '\0';
    if (strcmp(text, "protocol") == 0)
        return (options.protocol = protocol_find(value)) != NULL;
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
    bool is_good = argc >= 3;

    options.protocol = protocol_find("hanabi");
    for (int i = 3; i < argc && is_good; i++)
        is_good = read_option(argv[i]);
    if (is_good)
        read_targets(argv[1]);
    if (!is_good || options.target_count == 0 || options.posters > options.viewers || options.sample < 1) {
        fprintf(stderr, "usage: chat_load HOST:PORT[,HOST:PORT...] PATH option=value...\n");
        return 2;
    }
    options.path = argv[2];
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (options.acks[0])
        totals.ack_file = fopen(options.acks, "w");
    epoll_fd = epoll_create1(0);
    viewers = calloc((size_t)(options.viewers + options.deaf), sizeof(*viewers));
    counted.connect_s = connect_all();
    fprintf(stderr, "ready\n");
    run_for(options.lead, 0);
    run_for(options.warm, options.rate);
    count();
    run_for(options.settle, 0);
    report();
    if (totals.ack_file)
        fclose(totals.ack_file);
    return 0;
}
