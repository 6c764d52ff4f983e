/* Two threads, one queue each way; an eventfd tells the loop that results wait. */
#include "server/work.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { N_THREADS = 2 };

struct job {
    void (*run)(void *arg);
    void (*done)(void *arg, bool cancelled);
    void *arg;
    struct job *next;
};
struct queue {
    struct job *first, **last;
};

struct work {
    pthread_mutex_t mutex; /* guards queues and stop */
    pthread_cond_t more;
    struct queue todo, finished;
    bool stop;
    pthread_t threads[N_THREADS];
    unsigned n_threads;
    int fd;
    struct loop_io *io;
    unsigned pending; /* the loop's own count */
};

static void push(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->last = j;
    q->last = &j->next;
}

static struct job *pop(struct queue *q)
{
    struct job *j = q->first;
    if (j && !(q->first = j->next))
        q->last = &q->first;
    return j;
}

static void *thread_main(void *arg)
{
    struct work *w = arg;
    pthread_mutex_lock(&w->mutex);
    while (!w->stop) {
        struct job *j = pop(&w->todo);
        if (!j) {
            pthread_cond_wait(&w->more, &w->mutex);
            continue;
        }
        pthread_mutex_unlock(&w->mutex);
        j->run(j->arg);
        pthread_mutex_lock(&w->mutex);
        push(&w->finished, j);
        uint64_t one = 1;
        ssize_t n = write(w->fd, &one, sizeof one);
        (void)n; /* a full counter is readable all the same */
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static void on_finished(void *arg, unsigned events)
{
    struct work *w = arg;
    uint64_t count;
    ssize_t n = read(w->fd, &count, sizeof count);
    (void)n;
    for (;;) {
        pthread_mutex_lock(&w->mutex);
        struct job *j = pop(&w->finished);
        pthread_mutex_unlock(&w->mutex);
        if (!j)
            return;
        w->pending--;
        j->done(j->arg, false);
        free(j);
    }
}

struct work *work_new(struct loop *l, struct err *err)
{
    struct work *w = mem_calloc(1, sizeof *w);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->more, NULL);
    w->todo.last = &w->todo.first;
    w->finished.last = &w->finished.first;
    w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    sigset_t all, old;
    sigfillset(&all); /* signals are the loop's business */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (w->fd >= 0 && w->n_threads < N_THREADS &&
           pthread_create(&w->threads[w->n_threads], NULL, thread_main, w) == 0)
        w->n_threads++;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (w->n_threads < N_THREADS) {
        err_fill(err, ERR_IO, "cannot start the server's worker threads: %s", strerror(errno));
        work_free(w);
        return NULL;
    }
    w->io = loop_io_add(l, w->fd, LOOP_READ, on_finished, w);
    return w;
}

static void cancel(struct queue *q)
{
    for (struct job *j; (j = pop(q)); free(j))
        j->done(j->arg, true);
}

void work_free(struct work *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->mutex);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    loop_io_del(w->io);
    cancel(&w->finished);
    cancel(&w->todo);
    if (w->fd >= 0)
        close(w->fd);
    pthread_mutex_destroy(&w->mutex);
    pthread_cond_destroy(&w->more);
    free(w);
}

void work_submit(struct work *w, void (*run)(void *arg), void (*done)(void *arg, bool cancelled),
                 void *arg)
{
    struct job *j = mem_calloc(1, sizeof *j);
    *j = (struct job){run, done, arg, NULL};
    w->pending++;
    pthread_mutex_lock(&w->mutex);
    push(&w->todo, j);
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->mutex);
}

unsigned work_pending(const struct work *w)
{
    return w->pending;
}
