/* Child processes on a loop. I/O; owned by the loop's thread.
 *
 * A child gets its own session and process group and dies with the spawning thread
 * (PR_SET_PDEATHSIG), stdin from /dev/null, stdout and stderr merged into one pipe that is read on
 * the loop; all other descriptors are closed; signal dispositions and mask are reset. When the
 * child has exited, what it left behind in its group is killed. Only the child itself is tied to
 * our thread: a wrapper must exec its program. */
#ifndef OS_PROC_H
#define OS_PROC_H

#include "base/err.h"
#include "os/loop.h"

#include <stdint.h>
#include <sys/types.h>

struct proc;
struct proc_opts {
    const char *const *argv; /* argv[0] is a path or found in PATH; NULL-terminated */
    const char *const *env;  /* "NAME=VALUE" added to ours; NULL-terminated, or NULL */
    const char *cwd;         /* NULL: ours */
    void (*on_output)(void *arg, const char *p, size_t n);
    /* Once, after the last output: status as of waitpid. proc_free may be called inside. */
    void (*on_exit)(void *arg, int status);
    void *arg;
};
/* NULL with ERR_NOT_FOUND (no such program, named) or ERR_IO; exec failure is reported here. */
struct proc *proc_spawn(struct loop *l, const struct proc_opts *o, struct err *err);
pid_t proc_pid(const struct proc *p);
void proc_kill(struct proc *p, int signo); /* the whole group; no-op once exited */
void proc_free(struct proc *p);     /* NULL allowed; a running child is SIGKILLed and reaped */
uint64_t proc_rss_bytes(pid_t pid); /* 0 when gone */
/* "exit status 1" or "killed by signal 9 (SIGKILL)" */
void proc_status_text(int status, char *dst, size_t cap);

#endif
