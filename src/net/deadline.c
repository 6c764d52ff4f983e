/* Lazy deadlines: the timer fires at the oldest setting and looks whether there is a newer one. */
#include "net/deadline.h"

#include "os/file.h"

static void on_timer(void *arg);

static void arm(struct deadline *d, int64_t after_ms)
{
    d->timer_at_ms = d->at_ms;
    d->timer = loop_timer_add(d->loop, after_ms, on_timer, d);
}

static void on_timer(void *arg)
{
    struct deadline *d = arg;
    d->timer = NULL;
    if (!d->at_ms)
        return;
    int64_t left = d->at_ms - os_now_ms();
    if (left > 0) {
        arm(d, left);
        return;
    }
    d->at_ms = 0;
    d->fn(d->arg);
}

void deadline_init(struct deadline *d, struct loop *l, void (*fn)(void *arg), void *arg)
{
    *d = (struct deadline){.loop = l, .fn = fn, .arg = arg};
}

void deadline_set(struct deadline *d, int64_t after_ms)
{
    d->at_ms = os_now_ms() + after_ms;
    if (d->timer && d->timer_at_ms <= d->at_ms)
        return;
    loop_timer_del(d->timer);
    arm(d, after_ms);
}

void deadline_clear(struct deadline *d)
{
    d->at_ms = 0;
}

void deadline_done(struct deadline *d)
{
    loop_timer_del(d->timer);
    d->timer = NULL;
    d->at_ms = 0;
}
