/* The dialing end of a tunnel. */
#include "net/tunnel_hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/deadline.h"
#include "net/stream.h"
#include "os/file.h"

enum dial_state { DIAL_CONNECT, DIAL_SECURE, DIAL_NONCE, DIAL_HELLO, DIAL_STATUS, DIAL_DEAD };

struct tunnel_dial {
    struct loop *loop;
    char addr[280];
    struct tunnel_target target;
    int64_t timeout_ms;
    void (*on_done)(void *arg, int fd, const struct err *err);
    void *arg;
    enum dial_state state;
    struct addrinfo *list;
    const struct addrinfo *next; /* addresses still to try */
    struct stream stream;
    struct loop_io *io;
    struct deadline deadline;
    unsigned char bytes[HELLO_BYTES]; /* the nonce as it comes, then the hello as it goes */
    size_t at;
    struct err failed; /* at once, told later */
};

static void free_dial(void *arg)
{
    struct tunnel_dial *d = arg;
    if (d->list)
        freeaddrinfo(d->list);
    memset(d->target.secret, 0, sizeof d->target.secret);
    free(d);
}

static void leave(struct tunnel_dial *d)
{
    d->state = DIAL_DEAD;
    loop_io_del(d->io);
    deadline_done(&d->deadline);
    loop_defer(d->loop, free_dial, d);
}

void tunnel_dial_cancel(struct tunnel_dial *d)
{
    if (!d || d->state == DIAL_DEAD)
        return;
    leave(d);
    if (d->stream.ops)
        d->stream.ops->close(&d->stream);
}

static void dial_fail(struct tunnel_dial *d, enum err_code code, const char *what)
{
    struct err err = {0};
    err_fill(&err, code, "tunnel to %s (replica %s, generation %u, member %s): %s", d->addr,
             d->target.replica, d->target.generation, d->target.member, what);
    tunnel_dial_cancel(d);
    d->on_done(d->arg, -1, &err);
}

static void lost(struct tunnel_dial *d, ssize_t n)
{
    dial_fail(d, ERR_UNREACHABLE, n < 0 ? strerror(errno) : "closed during the handshake");
}

static void on_status(struct tunnel_dial *d, unsigned char status)
{
    switch (status) {
    case HELLO_OK:
        leave(d);
        d->on_done(d->arg, d->stream.fd, NULL);
        break;
    case HELLO_REFUSED:
        dial_fail(d, ERR_AUTH, "refused: wrong secret");
        break;
    case HELLO_UNKNOWN:
        dial_fail(d, ERR_NOT_FOUND, "it does not run there");
        break;
    case HELLO_NO_SERVICE:
        dial_fail(d, ERR_UNREACHABLE, "its service does not listen");
        break;
    default:
        dial_fail(d, ERR_CORRUPT, "unknown answer");
    }
}

/* 1 when bytes[0..n) are complete, 0 later, -1 when the dial is over. */
static int read_bytes(struct tunnel_dial *d, size_t n)
{
    ssize_t got = d->stream.ops->read(&d->stream, d->bytes + d->at, n - d->at);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0) {
        lost(d, got);
        return -1;
    }
    d->at += (size_t)got;
    return d->at == n;
}

static int write_bytes(struct tunnel_dial *d, size_t n)
{
    ssize_t put = d->stream.ops->write(&d->stream, d->bytes + d->at, n - d->at);
    if (put < 0 && errno == EAGAIN)
        return 0;
    if (put < 0) {
        lost(d, put);
        return -1;
    }
    d->at += (size_t)put;
    return d->at == n;
}

static void enter(struct tunnel_dial *d, enum dial_state state, unsigned events)
{
    d->state = state;
    d->at = 0;
    loop_io_set(d->io, events);
}

static void secure(struct tunnel_dial *d)
{
    unsigned want = 0;
    struct err err = {0};
    int rc = d->stream.ops->handshake(&d->stream, &want, &err);
    if (rc < 0)
        dial_fail(d, err.code, err.msg);
    else if (rc > 0)
        enter(d, DIAL_NONCE, LOOP_READ);
    else
        loop_io_set(d->io, want);
}

static void on_nonce(struct tunnel_dial *d)
{
    unsigned char nonce[HELLO_NONCE];
    memcpy(nonce, d->bytes, sizeof nonce);
    struct err err = {0};
    if (hello_write(&d->target, nonce, d->bytes, &err) != 0)
        dial_fail(d, err.code, err.msg);
    else
        enter(d, DIAL_HELLO, LOOP_WRITE);
}

static void on_dial(void *arg, unsigned events);

/* Tries the next address; false when there is none, the last refusal in errno. */
static bool connect_next(struct tunnel_dial *d)
{
    int fd = -1;
    while (d->next && fd < 0) {
        fd = addr_connect(d->next);
        d->next = d->next->ai_next;
    }
    if (fd < 0)
        return false;
    d->stream = stream_plain(fd);
    d->io = loop_io_add(d->loop, fd, LOOP_WRITE, on_dial, d);
    return true;
}

static void on_connected(struct tunnel_dial *d, int errnum)
{
    if (!errnum) {
        d->state = DIAL_SECURE;
        secure(d);
        return;
    }
    loop_io_del(STEAL(d->io));
    d->stream.ops->close(&d->stream);
    d->stream.ops = NULL;
    errno = errnum;
    if (!connect_next(d))
        dial_fail(d, ERR_UNREACHABLE, strerror(errno));
}

static void on_dial(void *arg, unsigned events)
{
    struct tunnel_dial *d = arg;
    switch (d->state) {
    case DIAL_CONNECT:
        on_connected(d, addr_connect_error(d->stream.fd));
        break;
    case DIAL_SECURE:
        secure(d);
        break;
    case DIAL_NONCE:
        if (read_bytes(d, HELLO_NONCE) > 0)
            on_nonce(d);
        break;
    case DIAL_HELLO:
        if (write_bytes(d, HELLO_BYTES) > 0)
            enter(d, DIAL_STATUS, LOOP_READ);
        break;
    case DIAL_STATUS:
        if (read_bytes(d, 1) > 0)
            on_status(d, d->bytes[0]);
        break;
    case DIAL_DEAD:
        break;
    }
}

static void on_deadline(void *arg)
{
    struct tunnel_dial *d = arg;
    if (d->failed.code) {
        struct err err = d->failed;
        tunnel_dial_cancel(d);
        d->on_done(d->arg, -1, &err);
        return;
    }
    char text[64];
    str_copyf(text, sizeof text, "no answer within %lld ms", (long long)d->timeout_ms);
    dial_fail(d, ERR_TIMEOUT, text);
}

static int start(struct tunnel_dial *d)
{
    unsigned char nonce[HELLO_NONCE] = {0};
    if (hello_write(&d->target, nonce, d->bytes, &d->failed) != 0) /* the target itself is wrong */
        return -1;
    d->list = addr_resolve(d->addr, false, &d->failed);
    d->next = d->list;
    if (!d->list || connect_next(d))
        return d->list ? 0 : -1;
    return err_set(&d->failed, ERR_UNREACHABLE, "tunnel to %s: %s", d->addr, strerror(errno));
}

struct tunnel_dial *tunnel_dial_new(struct loop *l, const char *addr, const struct tunnel_target *t,
                                    int64_t timeout_ms,
                                    void (*on_done)(void *arg, int fd, const struct err *err),
                                    void *arg)
{
    struct tunnel_dial *d = mem_calloc(1, sizeof *d);
    d->loop = l;
    d->target = *t;
    d->timeout_ms = timeout_ms > 0 ? timeout_ms : TUNNEL_HANDSHAKE_MS;
    d->on_done = on_done;
    d->arg = arg;
    deadline_init(&d->deadline, l, on_deadline, d);
    STR_COPY(d->addr, addr);
    deadline_set(&d->deadline, start(d) == 0 ? d->timeout_ms : 0);
    return d;
}
