/* Placeholders that let callers link while the module is being written. */
#include "os/file.h"
#include "os/loop.h"
#include "os/proc.h"

#include <stdlib.h>

void fd_close(int fd)
{
    abort();
}
int file_read(const char *path, size_t max, char **out, size_t *n, struct err *err)
{
    abort();
}
int file_write(const char *path, const void *p, size_t n, unsigned mode, struct err *err)
{
    abort();
}
int file_mkdirs(const char *path, unsigned mode, struct err *err)
{
    abort();
}
int file_open_regular(const char *path, uint64_t *size, struct err *err)
{
    abort();
}
int file_disk_free(const char *path, uint64_t *bytes, struct err *err)
{
    abort();
}
int file_remove_tree(const char *path, struct err *err)
{
    abort();
}
int64_t os_now_ms(void)
{
    abort();
}
int64_t os_wall_ms(void)
{
    abort();
}
void os_random(void *p, size_t n)
{
    abort();
}
void os_random_hex(char *dst, size_t n_bytes)
{
    abort();
}
void log_line(enum log_level level, const char *fmt, ...)
{
    abort();
}
void log_quiet(bool quiet)
{
    abort();
}
struct loop *loop_new(struct err *err)
{
    abort();
}
void loop_free(struct loop *l)
{
    abort();
}
int loop_run(struct loop *l, struct err *err)
{
    abort();
}
void loop_stop(struct loop *l)
{
    abort();
}
int64_t loop_now_ms(struct loop *l)
{
    abort();
}
void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    abort();
}
struct loop_io *loop_io_add(struct loop *l, int fd, unsigned events, loop_io_fn fn, void *arg)
{
    abort();
}
void loop_io_set(struct loop_io *io, unsigned events)
{
    abort();
}
void loop_io_del(struct loop_io *io)
{
    abort();
}
struct loop_timer *loop_timer_add(struct loop *l, int64_t after_ms, loop_timer_fn fn, void *arg)
{
    abort();
}
void loop_timer_del(struct loop_timer *t)
{
    abort();
}
int loop_signals(struct loop *l, void (*fn)(void *arg, int signo), void *arg, struct err *err)
{
    abort();
}
struct proc *proc_spawn(struct loop *l, const struct proc_opts *o, struct err *err)
{
    abort();
}
pid_t proc_pid(const struct proc *p)
{
    abort();
}
void proc_kill(struct proc *p, int signo)
{
    abort();
}
void proc_free(struct proc *p)
{
    abort();
}
uint64_t proc_rss_bytes(pid_t pid)
{
    abort();
}
void proc_status_text(int status, char *dst, size_t cap)
{
    abort();
}
