/* What all services' main() share. The order of life: configuration, log, loop, signals, admin port, the service's
 * start; then the loop; on SIGTERM its drain, on a second signal or after HANABI_DRAIN_MS the end; the service's stop.
 */
#include "libcommon/service.h"

#include "libcommon/alloc.h"
#include "libcommon/clock.h"
#include "libcommon/http_server.h"
#include "libcommon/log.h"
#include "libcommon/metrics.h"
#include "libcommon/random_id.h"
#include "libcommon/service_health.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#define LAG_PERIOD_MS     500
#define STALL_MS          1000
#define HEALTH_TIMEOUT_MS 3000

struct runner_config {
    struct config_listen admin_listen;
    const char *instance;
    const char *log_level;
    int64_t drain_ms;
};

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};

static const struct config_row runner_rows[] = {
    {"HANABI_ADMIN_LISTEN", CONFIG_LISTEN, "127.0.0.1:0", "where /healthz, /readyz and /metrics are served",
     .offset = offsetof(struct runner_config, admin_listen)},
    {"HANABI_INSTANCE", CONFIG_STRING, "", "unique name of this process (default: <hostname>-<pid>-<random>)",
     .offset = offsetof(struct runner_config, instance)},
    {"HANABI_LOG_LEVEL", CONFIG_CHOICE, "info", "lines below this level are dropped", .choices = log_levels,
     .offset = offsetof(struct runner_config, log_level)},
    {"HANABI_DRAIN_MS", CONFIG_INT, "10000", "after SIGTERM: stop anyway after this time (ms)", .min = 0,
     .max = 86400000, .offset = offsetof(struct runner_config, drain_ms)},
    CONFIG_END,
};

struct dependency {
    const char *name;
    service_ready_fn ready;
    void *context;
};

struct service {
    const struct service_definition *definition;
    struct runner_config config;
    char instance[128];
    struct event_base *loop;
    struct metrics *metrics;
    struct http_server *admin;
    struct event *sigterm, *sigint, *drain_timer, *lag_timer;
    struct dependency dependencies[16];
    size_t dependencies_count;
    bool draining;
    bool finished; /* the loop is to end, or need not begin */
    int64_t lag_due_ms;
    struct metric *lag, *stalls, *resident, *cpu, *open_fds;
};

/* What the service asks of us. */

struct event_base *service_loop(struct service *service)
{
    return service->loop;
}

struct metrics *service_metrics(struct service *service)
{
    return service->metrics;
}

const char *service_instance(struct service *service)
{
    return service->instance;
}

bool service_is_draining(struct service *service)
{
    return service->draining;
}

void service_drained(struct service *service)
{
    /* The flag is for a call from within start: a loop that does not run yet forgets that it was to break. */
    service->finished = true;
    event_base_loopbreak(service->loop);
}

void service_add_dependency(struct service *service, const char *name, service_ready_fn ready, void *context)
{
    if (service->dependencies_count == sizeof(service->dependencies) / sizeof(service->dependencies[0]))
        abort();
    service->dependencies[service->dependencies_count++] = (struct dependency){name, ready, context};
}

/* The admin port. */

static void handle_healthz(struct http_request *request, void *context)
{
    http_reply_json(request, 200, json_pack("{s:b}", "ok", 1));
}

static void handle_readyz(struct http_request *request, void *context)
{
    const struct service *service = context;
    json_t *missing = json_object();

    if (service->draining)
        json_object_set_new(missing, "service", json_string("draining"));
    for (size_t i = 0; i < service->dependencies_count; i++) {
        const struct dependency *dependency = &service->dependencies[i];
        char why[256] = "not reachable";

        if (!dependency->ready(dependency->context, why, sizeof(why)))
            json_object_set_new(missing, dependency->name, json_string(why));
    }
    if (json_object_size(missing) == 0) {
        json_decref(missing);
        http_reply_json(request, 200, json_pack("{s:b}", "ready", 1));
    } else {
        http_reply_json(request, 503, json_pack("{s:b,s:o}", "ready", 0, "missing", missing));
    }
}

static double count_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    double count = -3; /* ".", ".." and the directory itself */

    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

static double resident_bytes(void)
{
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file && fscanf(file, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void handle_metrics(struct http_request *request, void *context)
{
    struct service *service = context;
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    metric_set(service->resident, resident_bytes());
    metric_set(service->open_fds, count_open_fds());
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    if (cpu_s > metric_value(service->cpu))
        metric_add(service->cpu, cpu_s - metric_value(service->cpu));
    char *page = metrics_render(service->metrics);
    if (!page) {
        http_reply_error(request, 500, "out_of_memory", "the page could not be made");
        return;
    }
    http_reply_bytes(request, 200, "text/plain; version=0.0.4", page, strlen(page));
    free(page);
}

static int start_admin(struct service *service)
{
    const struct config_listen *listen_at = &service->config.admin_listen;

    service->admin = http_server_create(service->loop, listen_at, NULL);
    if (!service->admin) {
        log_error("admin.listen_failed", log_str("host", listen_at->host), log_int("port", listen_at->port),
                  log_str("why", strerror(errno)));
        return -1;
    }
    http_server_route(service->admin, "GET", "/healthz", handle_healthz, service);
    http_server_route(service->admin, "GET", "/readyz", handle_readyz, service);
    http_server_route(service->admin, "GET", "/metrics", handle_metrics, service);
    return 0;
}

static void make_metrics(struct service *service)
{
    struct metrics *metrics = service->metrics = metrics_create();
    char labels[200];

    snprintf(labels, sizeof(labels), "service=\"%s\",compiler=\"gcc %d.%d\"", service->definition->name, __GNUC__,
             __GNUC_MINOR__);
    metric_set(metrics_gauge(metrics, "hanabi_build_info", "always 1", labels), 1);
    metric_set(metrics_gauge(metrics, "process_start_time_seconds", "since 1970, UTC", NULL),
               (double)clock_wall_ms() / 1000);
    service->resident = metrics_gauge(metrics, "process_resident_memory_bytes", "resident memory", NULL);
    service->open_fds = metrics_gauge(metrics, "process_open_fds", "open file descriptors", NULL);
    service->cpu = metrics_counter(metrics, "process_cpu_seconds_total", "user and system time", NULL);
    service->lag = metrics_gauge(metrics, "hanabi_loop_lag_seconds", "how late the loop's last timer was", NULL);
    service->stalls =
        metrics_counter(metrics, "hanabi_loop_stalls_total", "times the loop was late by 1 s or more", NULL);
}

/* Timers and signals. */

static void arm(struct event *timer, int64_t delay_ms)
{
    const struct timeval delay = {delay_ms / 1000, delay_ms % 1000 * 1000};

    evtimer_add(timer, &delay);
}

static void on_lag_timer(evutil_socket_t fd, short events, void *context)
{
    struct service *service = context;
    int64_t now_ms = clock_monotonic_ms();

    int64_t lag_ms = now_ms > service->lag_due_ms ? now_ms - service->lag_due_ms : 0;
    metric_set(service->lag, (double)lag_ms / 1000);
    if (lag_ms >= STALL_MS) {
        static struct log_limiter limiter = LOG_LIMITER(10000);
        metric_add(service->stalls, 1);
        log_limited(&limiter, LOG_LEVEL_WARN, "loop.stalled", log_int("late_ms", lag_ms));
    }
    service->lag_due_ms = now_ms + LAG_PERIOD_MS;
    arm(service->lag_timer, LAG_PERIOD_MS);
}

static void on_drain_timer(evutil_socket_t fd, short events, void *context)
{
    struct service *service = context;

    log_warn("service.drain_cut", log_int("after_ms", service->config.drain_ms));
    service_drained(service);
}

static void on_signal(evutil_socket_t signal_number, short events, void *context)
{
    struct service *service = context;

    if (service->draining || !service->definition->drain) {
        service_drained(service);
        return;
    }
    service->draining = true;
    log_info("service.draining", log_int("signal", signal_number), log_int("at_most_ms", service->config.drain_ms));
    arm(service->drain_timer, service->config.drain_ms);
    service->definition->drain(service, service->definition->state);
}

static void make_events(struct service *service)
{
    service->sigterm = evsignal_new(service->loop, SIGTERM, on_signal, service);
    service->sigint = evsignal_new(service->loop, SIGINT, on_signal, service);
    service->drain_timer = evtimer_new(service->loop, on_drain_timer, service);
    service->lag_timer = evtimer_new(service->loop, on_lag_timer, service);
    if (!service->sigterm || !service->sigint || !service->drain_timer || !service->lag_timer)
        abort();
    event_add(service->sigterm, NULL);
    event_add(service->sigint, NULL);
    service->lag_due_ms = clock_monotonic_ms() + LAG_PERIOD_MS;
    arm(service->lag_timer, LAG_PERIOD_MS);
}

/* Configuration. */

static void print_help(const struct service_definition *definition)
{
    printf("%s: %s\n\n--health asks the instance with this environment whether it works (exit status "
           "0).\nConfiguration is environment variables only:\n\n",
           definition->name, definition->summary);
    config_print_table(definition->config_rows);
    config_print_table(runner_rows);
}

static bool has_row(const struct config_row *rows, const char *name, size_t len)
{
    for (; rows && rows->name; rows++)
        if (strlen(rows->name) == len && memcmp(rows->name, name, len) == 0)
            return true;
    return false;
}

/* A variable that carries this service's own prefix and is in no row is a typo: better told now than wondered about on
 * air. */
static int check_unknown(const struct service_definition *definition, char *error, size_t error_size)
{
    extern char **environ;
    char prefix[80];
    size_t prefix_len = (size_t)snprintf(prefix, sizeof(prefix), "HANABI_%s_", definition->name);

    for (char *c = prefix; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    for (char **variable = environ; *variable; variable++) {
        size_t len = strcspn(*variable, "=");

        if (strncmp(*variable, prefix, prefix_len) != 0 || has_row(definition->config_rows, *variable, len) ||
            has_row(runner_rows, *variable, len))
            continue;
        snprintf(error, error_size, "%.*s is no variable of %s (see --help)", (int)len, *variable, definition->name);
        return -1;
    }
    return 0;
}

static int load_config(struct service *service)
{
    const struct service_definition *definition = service->definition;
    char error[512];

    if (check_unknown(definition, error, sizeof(error)) != 0 ||
        config_load(runner_rows, &service->config, error, sizeof(error)) != 0 ||
        (definition->config_rows &&
         config_load(definition->config_rows, definition->config, error, sizeof(error)) != 0)) {
        fprintf(stderr, "%s: %s\n", definition->name, error);
        return -1;
    }
    return 0;
}

/* `--health`: only where the instance's admin port is; the rest of the environment is that instance's business. */
static int check_health(const struct service_definition *definition)
{
    struct runner_config config = {0};
    char error[512];
    int status = 2;

    if (config_load(runner_rows, &config, error, sizeof(error)) == 0)
        status = service_health_check(&config.admin_listen, HEALTH_TIMEOUT_MS);
    else
        fprintf(stderr, "%s: %s\n", definition->name, error);
    config_clear(runner_rows, &config);
    return status;
}

static enum log_level parse_level(const char *name)
{
    int level = 0;

    while (strcmp(log_levels[level], name) != 0)
        level++;
    return (enum log_level)level;
}

/* A container that starts again has its hostname and process id again; what it held before is not its own any more. */
static void name_instance(struct service *service)
{
    char host[64] = "localhost", random[9];

    random_hex(random, 4);
    gethostname(host, sizeof(host) - 1);
    if (service->config.instance[0])
        snprintf(service->instance, sizeof(service->instance), "%s", service->config.instance);
    else
        snprintf(service->instance, sizeof(service->instance), "%s-%d-%s", host, (int)getpid(), random);
}

/* The life of a process. */

/* A server of ten thousand sockets must not end at the shell's default of 1,024 descriptors. */
static void raise_descriptor_limit(struct service *service)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    metric_set(metrics_gauge(service->metrics, "process_max_fds", "most file descriptors this process may open", NULL),
               (double)limit.rlim_cur);
}

static int run(struct service *service)
{
    const struct service_definition *definition = service->definition;
    int status = 1;

    if (start_admin(service) != 0)
        return status;
    if (definition->start(service, definition->state) == 0) {
        log_info("service.started", log_int("admin_port", http_server_port(service->admin)), log_int("pid", getpid()));
        if (!service->finished)
            event_base_dispatch(service->loop);
        log_info("service.stopped");
        status = 0;
    }
    if (definition->stop)
        definition->stop(service, definition->state);
    http_server_destroy(service->admin);
    return status;
}

static void free_all(struct service *service)
{
    event_free(service->sigterm);
    event_free(service->sigint);
    event_free(service->drain_timer);
    event_free(service->lag_timer);
    event_base_free(service->loop);
    metrics_destroy(service->metrics);
    if (service->definition->config_rows)
        config_clear(service->definition->config_rows, service->definition->config);
    config_clear(runner_rows, &service->config);
    libevent_global_shutdown();
}

int service_main(const struct service_definition *definition, int argc, char **argv)
{
    struct service service = {.definition = definition};

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        print_help(definition);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--health") == 0)
        return check_health(definition);
    if (argc > 1) {
        fprintf(stderr, "%s: unknown argument %s; configuration is environment variables only (see --help)\n",
                definition->name, argv[1]);
        return 2;
    }
    if (load_config(&service) != 0) {
        if (definition->config_rows)
            config_clear(definition->config_rows, definition->config);
        config_clear(runner_rows, &service.config);
        return 2;
    }
    if (sodium_init() < 0)
        abort();
    name_instance(&service);
    log_init(definition->name, service.instance, parse_level(service.config.log_level));
    signal(SIGPIPE, SIG_IGN);
    if (evthread_use_pthreads() != 0 || !(service.loop = event_base_new()))
        abort();
    make_metrics(&service);
    raise_descriptor_limit(&service);
    make_events(&service);
    int status = run(&service);
    free_all(&service);
    return status;
}
