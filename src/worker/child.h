/* One engine process of a member: its pipe becomes lines (log file, listeners, facts), its end is
 * forced in steps. I/O; the worker's loop. */
#ifndef WORKER_CHILD_H
#define WORKER_CHILD_H

#include "engine/engine.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CHILD_PATIENCE_MS = 3000 }; /* SIGTERM, this long, SIGTERM again, this long, SIGKILL */

struct child;
struct child_opts {
    const struct engine_launch *launch; /* not kept */
    const char *log_root, *replica;
    uint32_t generation;
    void (*on_line)(void *arg, struct child *c, const char *line); /* may not free the child */
    void (*on_exit)(void *arg, struct child *c, int status);       /* once; may free the child */
    void *arg;
};
/* ERR_NOT_FOUND when there is no such program, ERR_IO. A log that cannot be opened is no reason to
 * fail. */
struct child *child_new(struct loop *l, const struct child_opts *o, struct err *err);
void child_free(struct child *c); /* NULL allowed; kills */
const char *child_role(const struct child *c);
uint16_t child_port(const struct child *c);
pid_t child_pid(const struct child *c);
const char *child_last_line(const struct child *c);
void child_stop(struct child *c); /* begins the steps; again: no effect */

#endif
