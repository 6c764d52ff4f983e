/* Event loop: one thread, epoll, timers, posted calls. I/O.
 *
 * A loop and everything registered on it belong to the thread that runs it; only loop_post and
 * loop_stop may be called from others. Callbacks may add and remove anything, themselves included:
 * a watcher that is removed gets no further call, its memory may be freed at once. */
#ifndef OS_LOOP_H
#define OS_LOOP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop *loop_new(struct err *err);
void loop_free(struct loop *l); /* NULL allowed; watchers must be gone */
/* Runs until loop_stop. Returns 0, or -1 when epoll fails. */
int loop_run(struct loop *l, struct err *err);
void loop_stop(struct loop *l);
int64_t loop_now_ms(struct loop *l); /* monotonic, read once per batch of events */
void loop_post(struct loop *l, void (*fn)(void *arg),
               void *arg); /* any thread; runs on the loop's */

/* Runs fn(arg) at the end of the current batch of callbacks (or in loop_free): where a callback
 * leaves memory that the frames above it may still look at. The loop's thread only. */
void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg);

/* HUP: the peer closed its side (then once, with READ still to find the end) or both sides, or an
 * error; always delivered. Remove a watcher before closing its fd; one watcher per fd. */
enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HUP = 4 };
typedef void (*loop_io_fn)(void *arg, unsigned events);
struct loop_io; /* one watched fd; the fd is not owned */
struct loop_io *loop_io_add(struct loop *l, int fd, unsigned events, loop_io_fn fn, void *arg);
void loop_io_set(struct loop_io *io, unsigned events); /* 0: only HUP */
void loop_io_del(struct loop_io *io);                  /* NULL allowed */

typedef void (*loop_timer_fn)(void *arg);
struct loop_timer; /* one-shot */
struct loop_timer *loop_timer_add(struct loop *l, int64_t after_ms, loop_timer_fn fn, void *arg);
void loop_timer_del(struct loop_timer *t); /* NULL allowed; not once its callback has returned */

/* SIGINT, SIGTERM and SIGHUP of the process become calls on this loop (signalfd; call it in main
 * before threads start, so that every thread has them blocked). */
int loop_signals(struct loop *l, void (*fn)(void *arg, int signo), void *arg, struct err *err);

#endif
