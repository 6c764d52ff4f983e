/* Two streams joined, with back-pressure both ways.
 *
 * A direction holds a buffer only while its receiver takes less than came; until that is gone the
 * sender is not read. The end of one direction is passed on as an end of that direction alone: the
 * other goes on (an HTTP client may half-close). */
#include "net/splice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    MOVE_BYTES = 64 << 10,
    MOVES_PER_EVENT = 8, /* a fast pair must not starve the rest of the loop */
};

struct half { /* bytes from side i to side 1 - i */
    char *held;
    size_t at, n;
    bool ended;
};

struct side {
    struct splice *splice;
    struct stream stream;
    struct loop_io *io;
    struct half half; /* what was read here */
    uint64_t n_read;
};

struct splice {
    struct loop *loop;
    struct side side[2];
    void (*on_end)(void *arg);
    void *arg;
    bool over, freed;
};

static void free_splice(void *arg)
{
    struct splice *s = arg;
    free(s->side[0].half.held);
    free(s->side[1].half.held);
    free(s);
}

static void close_sides(struct splice *s)
{
    for (int i = 0; i < 2 && !s->over; i++) {
        loop_io_del(s->side[i].io);
        s->side[i].stream.ops->close(&s->side[i].stream);
    }
    s->over = true;
}

static void finish(struct splice *s)
{
    close_sides(s);
    if (s->on_end)
        s->on_end(s->arg);
    else
        splice_free(s);
}

void splice_free(struct splice *s)
{
    if (!s || s->freed)
        return;
    close_sides(s);
    s->freed = true;
    loop_defer(s->loop, free_splice, s);
}

uint64_t splice_read_a(const struct splice *s)
{
    return s->side[0].n_read;
}

static struct side *other(struct side *from)
{
    struct splice *s = from->splice;
    return from == &s->side[0] ? &s->side[1] : &s->side[0];
}

/* Bytes the receiver took of p[n], or -1 when it is gone. */
static ssize_t give(struct side *to, const char *p, size_t n)
{
    ssize_t put = to->stream.ops->write(&to->stream, p, n);
    if (put < 0)
        return errno == EAGAIN ? 0 : -1;
    return put;
}

static int give_held(struct side *from)
{
    struct half *h = &from->half;
    if (!h->held)
        return 0;
    ssize_t put = give(other(from), h->held + h->at, h->n - h->at);
    if (put < 0)
        return -1;
    h->at += (size_t)put;
    if (h->at == h->n) {
        free(h->held);
        *h = (struct half){.ended = h->ended};
    }
    return 0;
}

static void hold(struct half *h, const char *p, size_t n)
{
    h->held = mem_calloc(1, n);
    memcpy(h->held, p, n);
    h->at = 0;
    h->n = n;
}

/* Moves what is there, up to a bound. -1 when the splice is over. */
static int move(struct side *from)
{
    struct half *h = &from->half;
    char bytes[MOVE_BYTES];
    for (int i = 0; i < MOVES_PER_EVENT && !h->held && !h->ended; i++) {
        ssize_t got = from->stream.ops->read(&from->stream, bytes, sizeof bytes);
        if (got < 0)
            return errno == EAGAIN ? 0 : -1;
        from->n_read += got > 0 ? (uint64_t)got : 0;
        if (got == 0) {
            h->ended = true;
            other(from)->stream.ops->end(&other(from)->stream);
            return 0;
        }
        ssize_t put = give(other(from), bytes, (size_t)got);
        if (put < 0)
            return -1;
        if (put < got)
            hold(h, bytes + put, (size_t)(got - put));
    }
    return 0;
}

static void update(struct splice *s)
{
    for (int i = 0; i < 2; i++) {
        const struct half *out = &s->side[i].half, *in = &s->side[1 - i].half;
        loop_io_set(s->side[i].io,
                    (out->held || out->ended ? 0 : LOOP_READ) | (in->held ? LOOP_WRITE : 0));
    }
}

static void on_side(void *arg, unsigned events)
{
    struct side *side = arg;
    struct splice *s = side->splice;
    int rc = 0;
    if (events & LOOP_WRITE)
        rc = give_held(other(side));
    if (rc == 0 && (events & LOOP_READ))
        rc = move(side);
    if (rc != 0 || (s->side[0].half.ended && s->side[1].half.ended)) {
        finish(s);
        return;
    }
    update(s);
}

struct splice *splice_streams(struct loop *l, struct stream a, struct stream b,
                              void (*on_end)(void *arg), void *arg)
{
    struct splice *s = mem_calloc(1, sizeof *s);
    s->loop = l;
    s->on_end = on_end;
    s->arg = arg;
    s->side[0].stream = a;
    s->side[1].stream = b;
    for (int i = 0; i < 2; i++) {
        s->side[i].splice = s;
        s->side[i].io = loop_io_add(l, s->side[i].stream.fd, LOOP_READ, on_side, &s->side[i]);
    }
    return s;
}

struct splice *splice_new(struct loop *l, int a, int b, void (*on_end)(void *arg), void *arg)
{
    return splice_streams(l, stream_plain(a), stream_plain(b), on_end, arg);
}
