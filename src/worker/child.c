/* Engine processes. */
#include "worker/child.h"

#include "base/mem.h"
#include "base/str.h"
#include "os/file.h"
#include "os/proc.h"
#include "worker/lines.h"
#include "worker/logfile.h"

#include <signal.h>
#include <string.h>

struct child {
    struct loop *loop;
    struct child_opts o;
    struct proc *proc;
    struct logfile *log;
    struct lines *lines;
    struct loop_timer *timer;
    char role[16], last[256];
    uint16_t port;
    int steps; /* of the way down */
};

static void on_line(void *arg, const char *line)
{
    struct child *c = arg;
    str_copyf(c->last, sizeof c->last, "%.250s", line);
    logfile_line(c->log, line);
    c->o.on_line(c->o.arg, c, line);
}

static void on_output(void *arg, const char *p, size_t n)
{
    struct child *c = arg;
    lines_feed(c->lines, p, n, on_line, c);
}

static void on_exit_status(void *arg, int status)
{
    struct child *c = arg;
    lines_end(c->lines, on_line, c);
    loop_timer_del(STEAL(c->timer));
    c->o.on_exit(c->o.arg, c, status);
}

struct child *child_new(struct loop *l, const struct child_opts *o, struct err *err)
{
    const struct engine_launch *launch = o->launch;
    struct child *c = mem_calloc(1, sizeof *c);
    struct err log_err = {0};
    c->loop = l;
    c->o = *o;
    c->o.launch = NULL;
    c->port = launch->port;
    STR_COPY(c->role, launch->role);
    c->lines = mem_calloc(1, sizeof *c->lines);
    c->log = logfile_open(o->log_root, o->replica, o->generation, c->role, &log_err);
    if (!c->log)
        log_line(LOG_WARN, "log.not_kept replica=%s reason=\"%s\" next=\"the engine runs without\"",
                 o->replica, log_err.msg);
    struct proc_opts p = {.argv = (const char *const *)launch->argv,
                          .env = (const char *const *)launch->env,
                          .on_output = on_output,
                          .on_exit = on_exit_status,
                          .arg = c};
    c->proc = proc_spawn(l, &p, err);
    if (c->proc)
        return c;
    child_free(c);
    return NULL;
}

void child_free(struct child *c)
{
    if (!c)
        return;
    loop_timer_del(c->timer);
    proc_free(c->proc);
    logfile_close(c->log);
    free(c->lines);
    free(c);
}

const char *child_role(const struct child *c)
{
    return c->role;
}

uint16_t child_port(const struct child *c)
{
    return c->port;
}

pid_t child_pid(const struct child *c)
{
    return proc_pid(c->proc);
}

const char *child_last_line(const struct child *c)
{
    return c->last;
}

/* A llama-server with a request in flight ignores the first SIGTERM and ends at the second. */
static void step_down(void *arg)
{
    struct child *c = arg;
    c->timer = NULL;
    c->steps++;
    proc_kill(c->proc, c->steps > 2 ? SIGKILL : SIGTERM);
    if (c->steps <= 2)
        c->timer = loop_timer_add(c->loop, CHILD_PATIENCE_MS, step_down, c);
}

void child_stop(struct child *c)
{
    if (c->steps == 0)
        step_down(c);
}
