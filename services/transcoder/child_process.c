/* The end of a child is seen as the end of a pidfd's life: no SIGCHLD handler that others in the process could miss. */
#include "services/transcoder/child_process.h"

#include "libcommon/alloc.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGUMENTS 8
#define MAX_LINE      4096

struct child_process {
    struct child_process_options options;
    pid_t pid; /* 0: reaped */
    int pid_fd, in, out;
    struct event *exited, *readable;
    char line[MAX_LINE];
    size_t line_len;
};

/* Between fork and exec only what is safe there: another thread may have held a lock. */
static void become_child(int in, int out, pid_t parent, char *const *argv)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
        _exit(1);
    execv("/proc/self/exe", argv);
    _exit(1);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct child_process *process = context;
    const ssize_t got = read(fd, process->line + process->line_len, MAX_LINE - 1 - process->line_len);
    char *end, *begin = process->line;

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            event_del(process->readable);
        return;
    }
    process->line_len += (size_t)got;
    process->line[process->line_len] = '\0';
    while ((end = strchr(begin, '\n')) != NULL) {
        *end = '\0';
        process->options.on_line(begin, process->options.context);
        begin = end + 1;
    }
    process->line_len -= (size_t)(begin - process->line);
    memmove(process->line, begin, process->line_len);
    if (process->line_len == MAX_LINE - 1)
        process->line_len = 0;
}

static void on_exited(evutil_socket_t fd, short what, void *context)
{
    struct child_process *process = context;
    int status = 0;

    if (waitpid(process->pid, &status, WNOHANG) != process->pid)
        return;
    process->pid = 0;
    event_del(process->exited);
    on_readable(process->out, EV_READ, process);
    process->options.on_exit(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), process->options.context);
}

struct child_process *child_process_start(const struct child_process_options *options)
{
    struct child_process *process = alloc_zero(1, sizeof(*process));
    const pid_t parent = getpid();
    char *argv[MAX_ARGUMENTS + 2] = {(char *)"transcode-child"};
    int in[2] = {-1, -1}, out[2] = {-1, -1};

    for (int i = 0; i < MAX_ARGUMENTS && options->arguments[i]; i++)
        argv[i + 1] = (char *)options->arguments[i];
    process->options = *options;
    process->pid_fd = -1;
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        goto failed;
    setenv("HANABI_CHILD_INSTANCE", options->instance, 1);
    process->pid = fork();
    if (process->pid == 0)
        become_child(in[0], out[1], parent, argv);
    if (process->pid < 0)
        goto failed;
    close(in[0]);
    close(out[1]);
    process->in = in[1];
    process->out = out[0];
    fcntl(process->in, F_SETFL, O_NONBLOCK);
    fcntl(process->out, F_SETFL, O_NONBLOCK);
    process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    process->exited = event_new(options->loop, process->pid_fd, EV_READ | EV_PERSIST, on_exited, process);
    process->readable = event_new(options->loop, process->out, EV_READ | EV_PERSIST, on_readable, process);
    if (process->pid_fd < 0 || !process->exited || !process->readable)
        abort();
    event_add(process->exited, NULL);
    event_add(process->readable, NULL);
    return process;
failed:
    for (int i = 0; i < 2; i++) {
        if (in[i] >= 0)
            close(in[i]);
        if (out[i] >= 0)
            close(out[i]);
    }
    free(process);
    return NULL;
}

void child_process_destroy(struct child_process *process)
{
    if (!process)
        return;
    if (process->pid > 0) {
        kill(process->pid, SIGKILL);
        while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    event_free(process->exited);
    event_free(process->readable);
    close(process->pid_fd);
    close(process->in);
    close(process->out);
    free(process);
}

void child_process_tell(struct child_process *process, const char *line)
{
    /* A pipe that is full or broken belongs to a child that hangs or dies: the rules for those act. */
    if (process->pid > 0 && dprintf(process->in, "%s\n", line) < 0)
        return;
}

pid_t child_process_pid(const struct child_process *process)
{
    return process->pid;
}
