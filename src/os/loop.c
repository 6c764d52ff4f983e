/* The event loop: level-triggered epoll, a binary heap of timers, posted and deferred calls. */
#include "os/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/file.h"

enum { BATCH = 256 }; /* events per epoll_wait: small enough that timers stay punctual */

struct loop_io {
    struct loop *loop;
    int fd;
    unsigned want; /* LOOP_READ | LOOP_WRITE */
    loop_io_fn fn; /* NULL: removed, freed at the end of the batch */
    void *arg;
    bool half_told; /* the peer's half-close was reported: asking for it again would spin */
    bool hup_told;  /* a full hang-up was reported */
    bool parked;    /* outside epoll: hung up and nothing wanted */
    struct loop_io *next_dead;
};

struct loop_timer {
    struct loop *loop;
    int64_t at_ms;
    uint64_t seq; /* equal deadlines fire in the order they were set */
    size_t slot;  /* 1-based place in the heap; 0: fired or removed */
    loop_timer_fn fn;
    void *arg;
    struct loop_timer *next_dead;
};

struct call {
    void (*fn)(void *arg);
    void *arg;
    struct call *next;
};

struct call_list {
    struct call *first, **end;
};

struct loop {
    int epoll_fd, wake_fd, signal_fd;
    struct loop_io *wake_io, *signal_io;
    void (*on_signal)(void *arg, int signo);
    void *signal_arg;
    atomic_bool stop;
    int64_t now_ms;
    struct loop_timer **heap; /* heap[1..n_timers] */
    size_t n_timers, heap_cap;
    uint64_t seq;
    struct loop_io *dead_io;
    struct loop_timer *dead_timers;
    struct call_list deferred;
    pthread_mutex_t lock; /* guards posted alone; never held during a call */
    struct call_list posted;
};

/* ---- calls ---- */

static void calls_add(struct call_list *list, void (*fn)(void *arg), void *arg)
{
    struct call *c = mem_calloc(1, sizeof *c);
    c->fn = fn;
    c->arg = arg;
    *list->end = c;
    list->end = &c->next;
}

static struct call *calls_take(struct call_list *list)
{
    struct call *first = list->first;
    list->first = NULL;
    list->end = &list->first;
    return first;
}

static void calls_run(struct call *c, bool call)
{
    while (c) {
        struct call *next = c->next;
        if (call)
            c->fn(c->arg);
        free(c);
        c = next;
    }
}

static void wake(struct loop *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    (void)n; /* EAGAIN means that a wake-up is pending already */
}

static void on_wake(void *arg, unsigned events)
{
    struct loop *l = arg;
    uint64_t count;
    ssize_t n = read(l->wake_fd, &count, sizeof count);
    (void)n;
    pthread_mutex_lock(&l->lock);
    struct call *c = calls_take(&l->posted);
    pthread_mutex_unlock(&l->lock);
    calls_run(c, true);
}

void loop_post(struct loop *l, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&l->lock);
    bool first = !l->posted.first;
    calls_add(&l->posted, fn, arg);
    pthread_mutex_unlock(&l->lock);
    if (first)
        wake(l);
}

void loop_defer(struct loop *l, void (*fn)(void *arg), void *arg)
{
    calls_add(&l->deferred, fn, arg);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}

/* ---- descriptors ---- */

static void io_control(struct loop_io *io, int op)
{
    struct epoll_event e = {.data.ptr = io};
    e.events = (io->want & LOOP_READ ? EPOLLIN : 0u) | (io->want & LOOP_WRITE ? EPOLLOUT : 0u) |
               (io->half_told ? 0u : (uint32_t)EPOLLRDHUP);
    if (epoll_ctl(io->loop->epoll_fd, op, io->fd, &e) != 0 && op != EPOLL_CTL_DEL) {
        log_line(LOG_ERROR, "loop_watch_failed fd=%d errno=%d", io->fd, errno);
        assert(!"a descriptor that cannot be watched: closed, or watched twice");
    }
}

struct loop_io *loop_io_add(struct loop *l, int fd, unsigned events, loop_io_fn fn, void *arg)
{
    struct loop_io *io = mem_calloc(1, sizeof *io);
    *io = (struct loop_io){.loop = l, .fd = fd, .want = events, .fn = fn, .arg = arg};
    io_control(io, EPOLL_CTL_ADD);
    return io;
}

/* epoll reports a hang-up for ever; a watcher that wants nothing and knows is taken out. */
static void io_park_or_set(struct loop_io *io)
{
    bool park = io->hup_told && !io->want;
    if (park && io->parked)
        return;
    io_control(io, park ? EPOLL_CTL_DEL : io->parked ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
    io->parked = park;
}

void loop_io_set(struct loop_io *io, unsigned events)
{
    events &= LOOP_READ | LOOP_WRITE;
    if (events == io->want)
        return;
    io->want = events;
    io_park_or_set(io);
}

void loop_io_del(struct loop_io *io)
{
    if (!io || !io->fn)
        return;
    if (!io->parked)
        io_control(io, EPOLL_CTL_DEL);
    io->fn = NULL;
    io->next_dead = io->loop->dead_io;
    io->loop->dead_io = io;
}

static void io_dispatch(struct loop_io *io, uint32_t got)
{
    if (!io->fn)
        return;
    unsigned events = 0;
    bool hup = got & (EPOLLHUP | EPOLLERR);
    bool news = (hup && !io->hup_told) || ((got & EPOLLRDHUP) && !io->half_told);
    /* A pipe whose writer is gone shows EPOLLHUP without EPOLLIN: reading is what finds the end. */
    if ((got & EPOLLIN) || hup)
        events |= io->want & LOOP_READ;
    if ((got & EPOLLOUT) || hup)
        events |= io->want & LOOP_WRITE;
    if (got & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        events |= LOOP_HUP;
    io->hup_told |= hup;
    io->half_told |= (got & EPOLLRDHUP) != 0;
    if (news)
        io_park_or_set(io);
    if (events)
        io->fn(io->arg, events);
}

/* ---- timers ---- */

static bool timer_before(const struct loop_timer *a, const struct loop_timer *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->seq < b->seq;
}

static void heap_put(struct loop *l, size_t slot, struct loop_timer *t)
{
    l->heap[slot] = t;
    t->slot = slot;
}

static void heap_up(struct loop *l, size_t slot, struct loop_timer *t)
{
    for (; slot > 1 && timer_before(t, l->heap[slot / 2]); slot /= 2)
        heap_put(l, slot, l->heap[slot / 2]);
    heap_put(l, slot, t);
}

static void heap_down(struct loop *l, size_t slot, struct loop_timer *t)
{
    for (size_t child; (child = slot * 2) <= l->n_timers; slot = child) {
        if (child < l->n_timers && timer_before(l->heap[child + 1], l->heap[child]))
            child++;
        if (!timer_before(l->heap[child], t))
            break;
        heap_put(l, slot, l->heap[child]);
    }
    heap_put(l, slot, t);
}

/* The object stays until the end of the batch, so that a late loop_timer_del is harmless. */
static void heap_remove(struct loop *l, struct loop_timer *t)
{
    size_t slot = t->slot;
    struct loop_timer *last = l->heap[l->n_timers--];
    if (last != t) {
        if (slot > 1 && timer_before(last, l->heap[slot / 2]))
            heap_up(l, slot, last);
        else
            heap_down(l, slot, last);
    }
    t->slot = 0;
    t->next_dead = l->dead_timers;
    l->dead_timers = t;
}

struct loop_timer *loop_timer_add(struct loop *l, int64_t after_ms, loop_timer_fn fn, void *arg)
{
    struct loop_timer *t = mem_calloc(1, sizeof *t);
    *t = (struct loop_timer){.loop = l, .seq = l->seq++, .fn = fn, .arg = arg};
    t->at_ms = os_now_ms() + (after_ms > 0 ? after_ms : 0);
    mem_grow(&l->heap, &l->heap_cap, l->n_timers + 2, sizeof(struct loop_timer *));
    heap_up(l, ++l->n_timers, t);
    return t;
}

void loop_timer_del(struct loop_timer *t)
{
    if (t && t->slot)
        heap_remove(t->loop, t);
}

static void run_timers(struct loop *l)
{
    uint64_t first_new = l->seq; /* what callbacks add waits for the next batch */
    while (l->n_timers && !atomic_load(&l->stop)) {
        struct loop_timer *t = l->heap[1];
        if (t->at_ms > l->now_ms || t->seq >= first_new)
            break;
        heap_remove(l, t);
        t->fn(t->arg);
    }
}

/* ---- the loop ---- */

static void end_batch(struct loop *l)
{
    /* One generation: a call that defers itself again must not keep the descriptors waiting. */
    calls_run(calls_take(&l->deferred), true);
    while (l->dead_io) {
        struct loop_io *io = l->dead_io;
        l->dead_io = io->next_dead;
        free(io);
    }
    while (l->dead_timers) {
        struct loop_timer *t = l->dead_timers;
        l->dead_timers = t->next_dead;
        free(t);
    }
}

static int wait_ms(const struct loop *l)
{
    if (l->deferred.first)
        return 0;
    if (!l->n_timers)
        return -1;
    int64_t left = l->heap[1]->at_ms - os_now_ms();
    return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

int loop_run(struct loop *l, struct err *err)
{
    struct epoll_event events[BATCH];
    while (!atomic_load(&l->stop)) {
        int n = epoll_wait(l->epoll_fd, events, BATCH, wait_ms(l));
        if (n < 0 && errno != EINTR)
            return err_set(err, ERR_IO, "waiting for events: %s", strerror(errno));
        l->now_ms = os_now_ms();
        for (int i = 0; i < n; i++)
            io_dispatch(events[i].data.ptr, events[i].events);
        run_timers(l);
        end_batch(l);
    }
    atomic_store(&l->stop, false);
    return 0;
}

int64_t loop_now_ms(struct loop *l)
{
    return l->now_ms;
}

struct loop *loop_new(struct err *err)
{
    struct loop *l = mem_calloc(1, sizeof *l);
    l->deferred.end = &l->deferred.first;
    l->posted.end = &l->posted.first;
    l->signal_fd = -1;
    l->now_ms = os_now_ms();
    pthread_mutex_init(&l->lock, NULL);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->epoll_fd < 0 || l->wake_fd < 0) {
        err_fill(err, ERR_IO, "creating an event loop: %s", strerror(errno));
        loop_free(l);
        return NULL;
    }
    l->wake_io = loop_io_add(l, l->wake_fd, LOOP_READ, on_wake, l);
    return l;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop_io_del(l->wake_io);
    loop_io_del(l->signal_io);
    calls_run(calls_take(&l->posted), false);
    while (l->deferred.first) /* they free memory: they do run */
        end_batch(l);
    while (l->n_timers)
        heap_remove(l, l->heap[1]);
    end_batch(l);
    free(l->heap);
    fd_close(l->signal_fd);
    fd_close(l->wake_fd);
    fd_close(l->epoll_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- signals ---- */

static void on_signal_fd(void *arg, unsigned events)
{
    struct loop *l = arg;
    struct signalfd_siginfo info;
    while (read(l->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        l->on_signal(l->signal_arg, (int)info.ssi_signo);
}

int loop_signals(struct loop *l, void (*fn)(void *arg, int signo), void *arg, struct err *err)
{
    assert(l->signal_fd < 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    l->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (l->signal_fd < 0)
        return err_set(err, ERR_IO, "watching signals: %s", strerror(errno));
    l->on_signal = fn;
    l->signal_arg = arg;
    l->signal_io = loop_io_add(l, l->signal_fd, LOOP_READ, on_signal_fd, l);
    return 0;
}
