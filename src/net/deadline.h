/* A deadline that moves often: pushing it back costs no timer operation. I/O; the loop's thread. */
#ifndef NET_DEADLINE_H
#define NET_DEADLINE_H

#include "os/loop.h"

struct deadline {
    struct loop *loop;
    struct loop_timer *timer;
    int64_t timer_at_ms; /* when the timer fires: at or before at_ms */
    int64_t at_ms;       /* 0: none */
    void (*fn)(void *arg);
    void *arg;
};
void deadline_init(struct deadline *d, struct loop *l, void (*fn)(void *arg), void *arg);
/* Calls fn once, after_ms from now, unless set again or cleared before. */
void deadline_set(struct deadline *d, int64_t after_ms);
void deadline_clear(struct deadline *d);
/* Before the memory goes. */
void deadline_done(struct deadline *d);

#endif
