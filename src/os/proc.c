/* Child processes: fork and exec with the failure reported back, output and exit as loop events. */
#include "os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/file.h"

extern char **environ;

enum {
    READ_BYTES = 32 << 10,
    DRAIN_MAX = 1 << 20, /* after the exit: a grandchild that holds the pipe may write for ever */
    REAP_WAIT_MS = 2000, /* a killed process that sits in a driver may not die sooner */
};

struct proc {
    struct loop *loop;
    pid_t pid;
    int pid_fd, out_fd;
    struct loop_io *pid_io, *out_io;
    struct proc_opts o; /* callbacks only: argv and env are not kept */
    bool exited;
    bool *freed; /* set by proc_free when it runs inside a callback */
};

/* ---- the child; between fork and exec only calls that are safe after fork of a threaded process
 * ---- */

struct plan {
    const char *path;
    char *const *argv;
    char **env;
    const char *cwd;
    int null_fd, out_fd, fail_fd;
    pid_t parent;
};

struct failure {
    int errnum;
    bool at_cwd;
};

static void child_fail(const struct plan *p, bool at_cwd)
{
    struct failure f = {.errnum = errno, .at_cwd = at_cwd};
    ssize_t n = write(p->fail_fd, &f, sizeof f);
    (void)n;
    _exit(127);
}

static void child_run(const struct plan *p)
{
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != p->parent)
        _exit(127); /* the parent died before the line above: nobody would kill us */
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(p->null_fd, STDIN_FILENO);
    dup2(p->out_fd, STDOUT_FILENO);
    dup2(p->out_fd, STDERR_FILENO);
    close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    if (p->cwd && chdir(p->cwd) != 0)
        child_fail(p, true);
    execve(p->path, p->argv, p->env);
    child_fail(p, false);
}

/* ---- before the fork ---- */

/* The program's path: argv0 itself when it has a slash, else the first executable file in PATH. */
static char *find_program(const char *argv0)
{
    if (strchr(argv0, '/'))
        return mem_strdup(argv0);
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        mem_auto char *full = mem_printf("%.*s/%s", (int)n, p, argv0);
        struct stat st;
        if (n && access(full, X_OK) == 0 && stat(full, &st) == 0 && S_ISREG(st.st_mode))
            return STEAL(full);
        p += n + (p[n] == ':');
    }
    return NULL;
}

static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n) == 0 && b[n] == '=';
}

/* Our environment with `more` put over it; strings borrowed, the array is the caller's. */
static char **merge_env(const char *const *more)
{
    size_t n = 0, n_more = 0, k = 0;
    while (environ && environ[n])
        n++;
    while (more && more[n_more])
        n_more++;
    char **env = mem_calloc(n + n_more + 1, sizeof *env);
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;
        for (size_t j = 0; j < n_more && !replaced; j++)
            replaced = same_name(more[j], environ[i]);
        if (!replaced)
            env[k++] = environ[i];
    }
    for (size_t j = 0; j < n_more; j++)
        env[k++] = (char *)more[j];
    return env;
}

static int spawn_error(const struct proc_opts *o, const struct failure *f, struct err *err)
{
    enum err_code code = f->errnum == ENOENT || f->errnum == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    if (f->at_cwd)
        return err_set(err, code, "starting %s in folder %s: %s", o->argv[0], o->cwd,
                       strerror(f->errnum));
    return err_set(err, code, "starting %s: %s", o->argv[0], strerror(f->errnum));
}

/* Forks and waits until the program runs (the failure pipe closes) or could not be started. */
static pid_t fork_exec(struct plan *p, const struct proc_opts *o, struct err *err)
{
    int fail_pipe[2];
    if (pipe2(fail_pipe, O_CLOEXEC) != 0)
        return err_set(err, ERR_IO, "starting %s: %s", o->argv[0], strerror(errno));
    p->fail_fd = fail_pipe[1];
    p->parent = getpid();
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* our handlers must not run in the child */
    pid_t pid = fork();
    int fork_errno = errno;
    if (pid == 0)
        child_run(p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    close(fail_pipe[1]);
    struct failure f = {.errnum = fork_errno};
    ssize_t n = 0;
    if (pid > 0)
        do
            n = read(fail_pipe[0], &f, sizeof f);
        while (n < 0 && errno == EINTR);
    close(fail_pipe[0]);
    if (pid > 0 && n == 0)
        return pid;
    if (pid > 0)
        waitpid(pid, NULL, 0);
    return spawn_error(o, &f, err);
}

/* ---- events ---- */

/* One read handed to the owner. False at the end of the output, when nothing is there now, or when
 * the owner freed the process meanwhile (*freed). */
static bool read_some(struct proc *p, size_t *total, bool *freed)
{
    char data[READ_BYTES];
    ssize_t n;
    do
        n = read(p->out_fd, data, sizeof data);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        loop_io_del(p->out_io);
        p->out_io = NULL;
        fd_close(p->out_fd);
        p->out_fd = -1;
        return false;
    }
    *total += (size_t)n;
    p->freed = freed;
    if (p->o.on_output)
        p->o.on_output(p->o.arg, data, (size_t)n);
    if (*freed)
        return false;
    p->freed = NULL;
    return true;
}

static void on_output_ready(void *arg, unsigned events)
{
    size_t total = 0;
    bool freed = false;
    read_some(arg, &total, &freed);
}

static void on_pid_ready(void *arg, unsigned events)
{
    struct proc *p = arg;
    /* While the leader is a zombie its group id is ours: what it left behind ends here. */
    kill(-p->pid, SIGKILL);
    int status = 0;
    if (waitpid(p->pid, &status, WNOHANG) == 0)
        return;
    p->exited = true;
    loop_io_del(p->pid_io);
    p->pid_io = NULL;
    size_t total = 0;
    bool freed = false;
    while (p->out_fd >= 0 && total < DRAIN_MAX && read_some(p, &total, &freed))
        ;
    if (freed)
        return;
    loop_io_del(p->out_io);
    p->out_io = NULL;
    if (p->o.on_exit)
        p->o.on_exit(p->o.arg, status);
}

struct proc *proc_spawn(struct loop *l, const struct proc_opts *o, struct err *err)
{
    mem_auto char *path = find_program(o->argv[0]);
    if (!path)
        return err_null(err, ERR_NOT_FOUND, "no program \"%s\" in PATH", o->argv[0]);
    mem_auto char **env = merge_env(o->env);
    fd_auto int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int out[2];
    if (null_fd < 0 || pipe2(out, O_CLOEXEC) != 0)
        return err_null(err, ERR_IO, "starting %s: %s", o->argv[0], strerror(errno));
    struct plan plan = {.path = path,
                        .argv = (char *const *)o->argv,
                        .env = env,
                        .cwd = o->cwd,
                        .null_fd = null_fd,
                        .out_fd = out[1]};
    pid_t pid = fork_exec(&plan, o, err);
    close(out[1]);
    int pid_fd = pid > 0 ? pidfd_open(pid, 0) : -1;
    if (pid_fd < 0) {
        if (pid > 0) {
            err_fill(err, ERR_IO, "watching %s: %s", o->argv[0], strerror(errno));
            kill(-pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        close(out[0]);
        return NULL;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK); /* our end alone: the child's stays blocking */
    struct proc *p = mem_calloc(1, sizeof *p);
    *p = (struct proc){.loop = l, .pid = pid, .pid_fd = pid_fd, .out_fd = out[0], .o = *o};
    p->o.argv = p->o.env = NULL;
    p->o.cwd = NULL;
    p->pid_io = loop_io_add(l, pid_fd, LOOP_READ, on_pid_ready, p);
    p->out_io = loop_io_add(l, out[0], LOOP_READ, on_output_ready, p);
    return p;
}

pid_t proc_pid(const struct proc *p)
{
    return p->pid;
}

void proc_kill(struct proc *p, int signo)
{
    if (!p->exited)
        kill(-p->pid, signo);
}

static void kill_and_reap(struct proc *p)
{
    kill(-p->pid, SIGKILL);
    struct pollfd wait = {.fd = p->pid_fd, .events = POLLIN};
    int64_t until = os_now_ms() + REAP_WAIT_MS;
    for (int64_t left = REAP_WAIT_MS; left > 0; left = until - os_now_ms())
        if (poll(&wait, 1, (int)left) > 0)
            break;
    if (waitpid(p->pid, NULL, WNOHANG) == 0)
        log_line(LOG_WARN, "proc_not_dying pid=%d next=left_unreaped", (int)p->pid);
}

void proc_free(struct proc *p)
{
    if (!p)
        return;
    if (!p->exited)
        kill_and_reap(p);
    loop_io_del(p->pid_io);
    loop_io_del(p->out_io);
    fd_close(p->pid_fd);
    fd_close(p->out_fd);
    if (p->freed)
        *p->freed = true;
    free(p);
}

uint64_t proc_rss_bytes(pid_t pid)
{
    char path[40];
    mem_auto char *text = NULL;
    str_copyf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (file_read(path, 4096, &text, NULL, NULL) != 0)
        return 0;
    unsigned long long pages = 0;
    if (sscanf(text, "%*u %llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void proc_status_text(int status, char *dst, size_t cap)
{
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        str_copyf(dst, cap, "killed by signal %d (%s%s)", WTERMSIG(status),
                  name ? "SIG" : "unknown", name ? name : "");
    } else {
        str_copyf(dst, cap, "exit status %d", WEXITSTATUS(status));
    }
}
