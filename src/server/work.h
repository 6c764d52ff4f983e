/* Slow work off the loop: reading headers, planning. I/O; owned by the loop's thread.
 *
 * `run` executes on a thread of the pool and may touch only what `arg` owns; `done` executes on the
 * loop afterwards (or in work_free, with `cancelled` set: free, and touch nothing else). */
#ifndef SERVER_WORK_H
#define SERVER_WORK_H

#include "base/err.h"
#include "os/loop.h"

#include <stdbool.h>

struct work;
struct work *work_new(struct loop *l, struct err *err);
void work_free(struct work *w); /* waits for what is running */
void work_submit(struct work *w, void (*run)(void *arg), void (*done)(void *arg, bool cancelled),
                 void *arg);
/* Jobs that wait or run: a bound for callers that queue on behalf of strangers. */
unsigned work_pending(const struct work *w);

#endif
