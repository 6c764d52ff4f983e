/* A program run to its end. */
#include "cli/engine_run.h"

#include "os/loop.h"
#include "os/proc.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

struct run {
    struct loop *loop;
    struct proc *proc;
    struct loop_timer *timer;
    struct buf *out;
    bool show, at_line_start, timed_out, interrupted;
    int status;
};

static void show(struct run *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (r->at_line_start)
            fputs("  ", stderr);
        fputc(p[i], stderr);
        r->at_line_start = p[i] == '\n';
    }
}

static void on_output(void *arg, const char *p, size_t n)
{
    struct run *r = arg;
    buf_add(r->out, p, n);
    if (r->show)
        show(r, p, n);
}

static void on_end(void *arg, int status)
{
    struct run *r = arg;
    r->status = status;
    loop_stop(r->loop);
}

static void on_time(void *arg)
{
    struct run *r = arg;
    r->timer = NULL;
    r->timed_out = true;
    proc_kill(r->proc, SIGKILL);
}

static void on_signal(void *arg, int signo)
{
    struct run *r = arg;
    r->interrupted = true;
    if (r->proc)
        proc_kill(r->proc, signo == SIGHUP ? SIGHUP : SIGTERM);
}

/* What the program said was wrong: its last "error:" line, else its last line. */
static struct str complaint(const struct buf *out)
{
    struct str last = {0}, error = {0};
    for (size_t i = 0; i < out->n;) {
        const char *end = memchr(out->p + i, '\n', out->n - i);
        struct str line = {out->p + i, end ? (size_t)(end - out->p) - i : out->n - i};
        i += line.n + 1;
        if (str_trim(line).n)
            last = str_trim(line);
        if (str_starts(last, STR("error:")))
            error = str_trim((struct str){last.p + 6, last.n - 6});
    }
    struct str s = error.n ? error : last;
    s.n = s.n > 200 ? 200 : s.n;
    return s;
}

static int result(const struct run *r, const char *name, struct err *err)
{
    if (r->interrupted)
        return err_set(err, ERR_IO, "interrupted");
    if (r->timed_out)
        return err_set(err, ERR_TIMEOUT, "%s took too long and was ended", name);
    if (r->status == 0)
        return 0;
    struct str why = complaint(r->out);
    if (why.n)
        return err_set(err, ERR_IO, "%.*s", (int)why.n, why.p);
    char text[64];
    proc_status_text(r->status, text, sizeof text);
    return err_set(err, ERR_IO, "%s: %s", name, text);
}

int engine_run(const struct engine_run_opts *o, struct buf *out, struct err *err)
{
    struct run r = {.out = out, .show = o->show, .at_line_start = true};
    r.loop = loop_new(err);
    if (!r.loop)
        return -1;
    int rc = loop_signals(r.loop, on_signal, &r, err);
    if (rc == 0) {
        r.proc =
            proc_spawn(r.loop,
                       &(struct proc_opts){
                           .argv = o->argv, .on_output = on_output, .on_exit = on_end, .arg = &r},
                       err);
        rc = r.proc ? 0 : -1;
    }
    if (rc == 0) {
        r.timer = loop_timer_add(r.loop, o->timeout_ms, on_time, &r);
        rc = loop_run(r.loop, err);
    }
    if (r.timer)
        loop_timer_del(r.timer);
    proc_free(r.proc);
    loop_free(r.loop);
    return rc ? rc : result(&r, o->argv[0], err);
}
