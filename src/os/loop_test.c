/* os/loop: timers, descriptors, posts from threads, removal inside callbacks. */
#include "os/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "os/file.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static struct loop *new_loop(void)
{
    struct err e;
    struct loop *l = loop_new(&e);
    assert_non_null(l);
    return l;
}

struct tick {
    struct loop *loop;
    int id, *order, *n;
    int64_t due_ms;
    bool last;
};

static void on_tick(void *arg)
{
    struct tick *t = arg;
    t->order[(*t->n)++] = t->id;
    assert_true(os_now_ms() >= t->due_ms);
    if (t->last)
        loop_stop(t->loop);
}

static void test_timer_order(void **state)
{
    static const int after[] = {30, 10, 20, 10, 0, 25, 10, 0};
    static const int want[] = {4, 7, 1, 3, 6, 2, 5, 0};
    struct loop *l = new_loop();
    int order[8], n = 0;
    struct tick ticks[8];
    for (int i = 0; i < 8; i++) {
        ticks[i] = (struct tick){l, i, order, &n, os_now_ms() + after[i], i == 0};
        loop_timer_add(l, after[i], on_tick, &ticks[i]);
    }
    assert_int_equal(loop_run(l, NULL), 0);
    assert_memory_equal(order, want, sizeof want);
    loop_free(l);
}

/* Random sets and removals: what is left fires in order, what was removed never. */
static void test_timer_heap(void **state)
{
    enum { N = 500 };
    struct loop *l = new_loop();
    struct rng r = {11};
    struct tick *ticks = mem_calloc(N, sizeof *ticks);
    struct loop_timer *timers[N];
    int order[N + 1], n = 0, removed = 0;
    int64_t now = os_now_ms();
    for (int i = 0; i < N; i++) {
        int after = (int)rng_below(&r, 40);
        ticks[i] = (struct tick){l, i, order, &n, now + after, false};
        timers[i] = loop_timer_add(l, after, on_tick, &ticks[i]);
    }
    for (int i = 0; i < N; i += 3, removed++)
        loop_timer_del(timers[i]);
    struct tick end = {l, -1, order, &n, now + 60, true};
    loop_timer_add(l, 60, on_tick, &end);
    assert_int_equal(loop_run(l, NULL), 0);
    assert_int_equal(n, N - removed + 1);
    for (int i = 0; i < n - 1; i++) {
        assert_int_not_equal(order[i] % 3, 0);
        if (i)
            assert_true(ticks[order[i]].due_ms >= ticks[order[i - 1]].due_ms - 5);
    }
    free(ticks);
    loop_free(l);
}

struct own {
    struct loop *loop;
    struct loop_timer *self, *other;
    int runs;
};

static void on_own(void *arg)
{
    struct own *o = arg;
    o->runs++;
    loop_timer_del(o->self); /* harmless while it fires */
    loop_timer_del(o->other);
    loop_stop(o->loop);
}

static void test_timer_removed_in_callback(void **state)
{
    struct loop *l = new_loop();
    struct own a = {l}, b = {l};
    a.self = loop_timer_add(l, 5, on_own, &a);
    b.self = a.other = loop_timer_add(l, 5, on_own, &b);
    assert_int_equal(loop_run(l, NULL), 0);
    loop_timer_add(l, 20, (loop_timer_fn)(void (*)(void))loop_stop, l);
    assert_int_equal(loop_run(l, NULL), 0);
    assert_int_equal(a.runs, 1);
    assert_int_equal(b.runs, 0);
    loop_free(l);
}

struct posting {
    struct loop *loop;
    int seen, want;
    pthread_t owner;
};

static void on_post(void *arg)
{
    struct posting *p = arg;
    assert_true(pthread_equal(pthread_self(), p->owner));
    if (++p->seen == p->want)
        loop_stop(p->loop);
}

static void *post_many(void *arg)
{
    struct posting *p = arg;
    for (int i = 0; i < 1000; i++)
        loop_post(p->loop, on_post, p);
    return NULL;
}

static void test_post_from_threads(void **state)
{
    struct posting p = {new_loop(), 0, 4000, pthread_self()};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &p), 0);
    assert_int_equal(loop_run(p.loop, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(p.seen, 4000);
    loop_free(p.loop);
}

struct pair {
    struct loop *loop;
    struct loop_io *io[2];
    int fd[2], peer[2], calls;
};

/* Whichever of the two is called first removes and closes both: the other must stay silent. */
static void on_pair(void *arg, unsigned events)
{
    struct pair *p = arg;
    p->calls++;
    for (int i = 0; i < 2; i++) {
        loop_io_del(p->io[i]);
        close(p->fd[i]);
    }
    loop_timer_add(p->loop, 10, (loop_timer_fn)(void (*)(void))loop_stop, p->loop);
}

static void test_io_removed_in_callback(void **state)
{
    struct pair p = {.loop = new_loop()};
    for (int i = 0; i < 2; i++) {
        int sv[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
        p.fd[i] = sv[0];
        p.peer[i] = sv[1];
        p.io[i] = loop_io_add(p.loop, sv[0], LOOP_READ, on_pair, &p);
        assert_int_equal(write(sv[1], "x", 1), 1);
    }
    assert_int_equal(loop_run(p.loop, NULL), 0);
    assert_int_equal(p.calls, 1);
    close(p.peer[0]);
    close(p.peer[1]);
    loop_free(p.loop);
}

struct hup {
    struct loop *loop;
    struct loop_io *io;
    int fd, hups, reads, bytes;
};

static void on_hup(void *arg, unsigned events)
{
    struct hup *h = arg;
    h->hups += (events & LOOP_HUP) != 0;
    if (events & LOOP_READ) {
        char c[8];
        ssize_t n = read(h->fd, c, sizeof c);
        h->reads++;
        if (n > 0)
            h->bytes += (int)n;
        else
            loop_io_set(h->io, 0);
    }
}

/* A hang-up is told with interest 0, and does not spin afterwards. */
static void test_hup(void **state)
{
    static const struct {
        const char *name;
        unsigned want;
        bool half, is_pipe;
        int reads;
    } cases[] = {{"closed, nothing wanted", 0, false, false, 0},
                 {"half-closed, nothing wanted", 0, true, false, 0},
                 {"closed, reading", LOOP_READ, false, false, 2},
                 {"half-closed, reading", LOOP_READ, true, false, 2},
                 {"pipe", LOOP_READ, false, true, 2}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hup h = {.loop = new_loop()};
        int sv[2];
        if (cases[i].is_pipe)
            assert_int_equal(pipe(sv), 0);
        else
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
        h.fd = sv[0];
        h.io = loop_io_add(h.loop, sv[0], cases[i].want, on_hup, &h);
        assert_int_equal(write(sv[1], "abc", 3), 3);
        if (cases[i].half)
            shutdown(sv[1], SHUT_WR);
        else
            close(sv[1]);
        loop_timer_add(h.loop, 20, (loop_timer_fn)(void (*)(void))loop_stop, h.loop);
        assert_int_equal(loop_run(h.loop, NULL), 0);
        if (!h.hups || h.hups > 3 || h.reads != cases[i].reads)
            fail_msg("%s: %d hang-ups, %d reads", cases[i].name, h.hups, h.reads);
        /* Interest can come back: the end is found again. */
        int reads = h.reads;
        loop_io_set(h.io, LOOP_READ);
        loop_timer_add(h.loop, 20, (loop_timer_fn)(void (*)(void))loop_stop, h.loop);
        assert_int_equal(loop_run(h.loop, NULL), 0);
        assert_true(h.reads > reads && h.reads <= reads + 2);
        assert_int_equal(h.bytes, 3);
        loop_io_del(h.io);
        close(h.fd);
        if (cases[i].half)
            close(sv[1]);
        loop_free(h.loop);
    }
}

static void on_deferred(void *arg)
{
    free(arg);
}

static void on_defer(void *arg)
{
    loop_defer(arg, on_deferred, mem_calloc(1, 100));
    loop_stop(arg);
}

static void test_defer(void **state)
{
    struct loop *l = new_loop();
    loop_post(l, on_defer, l);
    assert_int_equal(loop_run(l, NULL), 0);
    loop_defer(l, on_deferred, mem_calloc(1, 100)); /* loop_free runs it: no leak */
    loop_free(l);
}

struct caught {
    struct loop *loop;
    int signo;
};

static void on_signal(void *arg, int signo)
{
    struct caught *c = arg;
    c->signo = signo;
    loop_stop(c->loop);
}

static void test_signals(void **state)
{
    struct caught c = {new_loop(), 0};
    assert_int_equal(loop_signals(c.loop, on_signal, &c, NULL), 0);
    kill(getpid(), SIGTERM);
    assert_int_equal(loop_run(c.loop, NULL), 0);
    assert_int_equal(c.signo, SIGTERM);
    loop_free(c.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_order),
        cmocka_unit_test(test_timer_heap),
        cmocka_unit_test(test_timer_removed_in_callback),
        cmocka_unit_test(test_post_from_threads),
        cmocka_unit_test(test_io_removed_in_callback),
        cmocka_unit_test(test_hup),
        cmocka_unit_test(test_defer),
        cmocka_unit_test(test_signals),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
