#include "real_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGS 40

enum kind { KIND_REDIS, KIND_SENTINEL, KIND_MARIADB };

struct real_server {
    enum kind kind;
    int port;
    pid_t pid;
    char dir[64];
    char args[MAX_ARGS][160];
    int arg_count;
    char password[32];
};

static void die(const char *what)
{
    fprintf(stderr, "test set-up: %s: %s\n", what, strerror(errno));
    exit(99);
}

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void run_loop_for(struct event_base *loop, int64_t ms)
{
    const struct timeval wait = {ms / 1000, ms % 1000 * 1000};

    event_base_loopexit(loop, &wait);
    event_base_dispatch(loop);
}

static void nap(void)
{
    nanosleep(&(struct timespec){0, 10 * 1000000}, NULL);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        die("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

static bool port_answers(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool answers = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    if (fd >= 0)
        close(fd);
    return answers;
}

/* --- processes --- */

static pid_t spawn(struct real_server *server)
{
    char *argv[MAX_ARGS + 1] = {NULL};
    char log[80];
    pid_t pid;

    for (int i = 0; i < server->arg_count; i++)
        argv[i] = server->args[i];
    snprintf(log, sizeof(log), "%s/log", server->dir);
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static void wait_ready(struct real_server *server)
{
    int64_t end_ms = now_ms() + 20000;

    while (!port_answers(server->port)) {
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid || now_ms() > end_ms) {
            char command[96];

            snprintf(command, sizeof(command), "tail -n 20 %s/log >&2", server->dir);
            if (system(command) != 0)
                fprintf(stderr, "(no log)\n");
            die("a server did not start");
        }
        nap();
    }
}

static struct real_server *server_create(enum kind kind)
{
    struct real_server *server = calloc(1, sizeof(*server));

    if (!server)
        die("memory");
    server->kind = kind;
    server->port = free_port();
    snprintf(server->dir, sizeof(server->dir), "/tmp/hanabi-test-XXXXXX");
    if (!mkdtemp(server->dir))
        die("mkdtemp");
    return server;
}

static void add_arg(struct real_server *server, const char *format, ...)
{
    va_list arguments;

    if (server->arg_count == MAX_ARGS)
        die("too many arguments");
    va_start(arguments, format);
    vsnprintf(server->args[server->arg_count++], sizeof(server->args[0]), format, arguments);
    va_end(arguments);
}

void real_server_add_arg(struct real_server *server, const char *arg)
{
    add_arg(server, "%s", arg);
}

static void server_start(struct real_server *server)
{
    server->pid = spawn(server);
    wait_ready(server);
}

int real_server_port(const struct real_server *server)
{
    return server->port;
}

void real_server_pause(struct real_server *server)
{
    kill(server->pid, SIGSTOP);
    /* Returns when the last thread has stopped; until then one may still answer. */
    waitpid(server->pid, NULL, WUNTRACED);
}

void real_server_resume(struct real_server *server)
{
    if (server->pid > 0)
        kill(server->pid, SIGCONT);
}

void real_server_kill(struct real_server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

bool real_server_is_running(const struct real_server *server)
{
    return server->pid > 0;
}

void real_server_restart(struct real_server *server)
{
    real_server_kill(server);
    server_start(server);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

void real_server_destroy(struct real_server *server)
{
    if (!server)
        return;
    real_server_kill(server);
    nftw(server->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(server);
}

/* --- the servers --- */

static void add_redis_args(struct real_server *server)
{
    add_arg(server, "redis-server");
    add_arg(server, "--port");
    add_arg(server, "%d", server->port);
    add_arg(server, "--bind");
    add_arg(server, "127.0.0.1");
    add_arg(server, "--dir");
    add_arg(server, "%s", server->dir);
    add_arg(server, "--save");
    add_arg(server, "%s", "");
}

struct real_server *real_redis_start(const char *password)
{
    struct real_server *server = server_create(KIND_REDIS);

    add_redis_args(server);
    if (password) {
        add_arg(server, "--requirepass");
        add_arg(server, "%s", password);
    }
    server_start(server);
    return server;
}

struct real_server *real_redis_replica_start(const struct real_server *master)
{
    struct real_server *server = server_create(KIND_REDIS);

    add_redis_args(server);
    add_arg(server, "--repl-diskless-sync-delay");
    add_arg(server, "0");
    add_arg(server, "--replicaof");
    add_arg(server, "127.0.0.1 %d", master->port);
    server_start(server);
    return server;
}

struct real_server *real_sentinel_start(const char *master_name, const struct real_server *master, int quorum)
{
    struct real_server *server = server_create(KIND_SENTINEL);
    char path[80];

    snprintf(path, sizeof(path), "%s/sentinel.conf", server->dir);
    FILE *file = fopen(path, "w");
    if (!file)
        die("sentinel.conf");
    fprintf(file,
            "port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor %s 127.0.0.1 %d %d\n"
            "sentinel down-after-milliseconds %s 500\nsentinel failover-timeout %s 3000\n",
            server->port, server->dir, master_name, master->port, quorum, master_name, master_name);
    fclose(file);
    add_arg(server, "redis-server");
    add_arg(server, "%s", path);
    add_arg(server, "--sentinel");
    server_start(server);
    return server;
}

struct real_server *real_mariadb_start(void)
{
    struct real_server *server = server_create(KIND_MARIADB);
    char command[512];

    snprintf(command, sizeof(command),
             /* Two at once clash over the names of their temporary tables in a shared folder. */
             "TMPDIR=%s mariadb-install-db --no-defaults --datadir=%s/data --auth-root-authentication-method=normal "
             "--skip-test-db --user=$(id -un) >%s/install.log 2>&1 && "
             "echo 'CREATE DATABASE IF NOT EXISTS hanabi;' >%s/init.sql",
             server->dir, server->dir, server->dir, server->dir);
    if (system(command) != 0)
        die("mariadb-install-db");
    add_arg(server, "mariadbd");
    add_arg(server, "--no-defaults");
    add_arg(server, "--user=%s", geteuid() == 0 ? "root" : "nobody");
    add_arg(server, "--datadir=%s/data", server->dir);
    add_arg(server, "--socket=%s/socket", server->dir);
    add_arg(server, "--tmpdir=%s", server->dir);
    add_arg(server, "--pid-file=%s/pid", server->dir);
    add_arg(server, "--port=%d", server->port);
    add_arg(server, "--bind-address=127.0.0.1");
    add_arg(server, "--init-file=%s/init.sql", server->dir);
    add_arg(server, "--innodb-buffer-pool-size=16M");
    add_arg(server, "--innodb-flush-log-at-trx-commit=0");
    add_arg(server, "--skip-name-resolve");
    add_arg(server, "--character-set-server=utf8mb4");
    server_start(server);
    return server;
}

long long real_redis_command(int port, const char *format, ...)
{
    redisContext *redis = redisConnectWithTimeout("127.0.0.1", port, (struct timeval){1, 0});
    long long result = 0;
    va_list arguments;

    if (!redis || redis->err || redisSetTimeout(redis, (struct timeval){1, 0}) != REDIS_OK)
        die("redis connect");
    va_start(arguments, format);
    redisReply *reply = redisvCommand(redis, format, arguments);
    va_end(arguments);
    if (!reply || reply->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "%s: %s\n", format, reply ? reply->str : "no reply");
        die("redis command");
    }
    if (reply->type == REDIS_REPLY_INTEGER)
        result = reply->integer;
    freeReplyObject(reply);
    redisFree(redis);
    return result;
}

int real_sentinel_master_port(const struct real_server *sentinel, const char *master_name)
{
    redisContext *redis = redisConnectWithTimeout("127.0.0.1", sentinel->port, (struct timeval){1, 0});
    redisReply *reply =
        redis && !redis->err ? redisCommand(redis, "SENTINEL get-master-addr-by-name %s", master_name) : NULL;
    int port = reply && reply->type == REDIS_REPLY_ARRAY ? atoi(reply->element[1]->str) : -1;

    if (reply)
        freeReplyObject(reply);
    if (redis)
        redisFree(redis);
    return port;
}

int real_sentinel_field(int port, const char *master_name, const char *field)
{
    redisContext *redis = redisConnectWithTimeout("127.0.0.1", port, (struct timeval){1, 0});
    redisReply *reply = redis && !redis->err ? redisCommand(redis, "SENTINEL MASTER %s", master_name) : NULL;
    int value = -1;

    for (size_t i = 0; reply && reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2)
        if (strcmp(reply->element[i]->str, field) == 0)
            value = atoi(reply->element[i + 1]->str);
    if (reply)
        freeReplyObject(reply);
    if (redis)
        redisFree(redis);
    return value;
}
