/* Starting, telling and reaping the supervisor's children. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct event_base;
struct child_process;

struct child_process_options {
    struct event_base *loop;
    const char *instance;                             /* for its log lines */
    const char *const *arguments;                     /* behind the program's name; NULL-terminated */
    void (*on_line)(const char *line, void *context); /* of its standard output */
    /* It is gone and reaped; `code`: exit status, or -signal. The object may be destroyed. */
    void (*on_exit)(int code, void *context);
    void *context;
};

/* NULL: fork failed. */
struct child_process *child_process_start(const struct child_process_options *options);
/* Kills it when it still runs, and waits for it. */
void child_process_destroy(struct child_process *process);
/* A line to its standard input. */
void child_process_tell(struct child_process *process, const char *line);
pid_t child_process_pid(const struct child_process *process);
