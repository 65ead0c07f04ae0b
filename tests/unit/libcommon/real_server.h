/* Real servers for the tests of libcommon: a private redis-server, redis-sentinel or mariadbd on a free port of the
 * loopback, in a directory of its own that is removed at the end; and a TCP proxy that can swallow what passes. All die
 * with the test.
 *
 * Whatever cannot be started ends the test program at once, with a sentence. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct real_server;

/* `password` may be NULL. Each returns when the server answers. */
struct real_server *real_redis_start(const char *password);
struct real_server *real_redis_replica_start(const struct real_server *master);
struct real_server *real_sentinel_start(const char *master_name, const struct real_server *master, int quorum);
/* root without a password, database "hanabi". */
struct real_server *real_mariadb_start(void);

int real_server_port(const struct real_server *server);
void real_server_pause(struct real_server *server);  /* SIGSTOP */
void real_server_resume(struct real_server *server); /* SIGCONT */
void real_server_kill(struct real_server *server);   /* SIGKILL, and waits for its end */
bool real_server_is_running(const struct real_server *server);
/* For the next restart. */
void real_server_add_arg(struct real_server *server, const char *arg);
/* Again on the same port and directory. */
void real_server_restart(struct real_server *server);
/* Kills it if it lives, removes its directory. NULL is fine. */
void real_server_destroy(struct real_server *server);

/* A command over a short blocking connection, which `port` answers within a second: an integer reply, or 0 for OK;
 * aborts the test on an error. The format is hiredis'. */
long long real_redis_command(int port, const char *format, ...);
/* The port that this sentinel names; -1: none. */
int real_sentinel_master_port(const struct real_server *sentinel, const char *master_name);

/* A number of SENTINEL MASTER, such as "num-slaves"; -1: none. */
int real_sentinel_field(int port, const char *master_name, const char *field);

struct proxy;
/* Listens on a free port and forwards to 127.0.0.1:`port`, from a process of its own. */
struct proxy *proxy_start(int port);
int proxy_port(const struct proxy *proxy);
/* The connections there are go on existing, but nothing passes any more; new ones work. */
void proxy_freeze_present(struct proxy *proxy);
/* New ones are accepted, and nothing passes on any. */
void proxy_freeze_all(struct proxy *proxy);
/* What was frozen stays dead; new ones work. */
void proxy_thaw(struct proxy *proxy);
void proxy_destroy(struct proxy *proxy);

int64_t now_ms(void);

/* Runs the loop until `condition` holds or the time is over, then asserts it. */
#define WAIT_UNTIL(loop, timeout_ms, condition)                                                                        \
    do {                                                                                                               \
        int64_t wait_end_ms_ = now_ms() + (timeout_ms);                                                                \
        while (!(condition) && now_ms() < wait_end_ms_)                                                                \
            run_loop_for(loop, 5);                                                                                     \
        assert_true(condition);                                                                                        \
    } while (0)

struct event_base;
void run_loop_for(struct event_base *loop, int64_t ms);
