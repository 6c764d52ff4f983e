/* HTTP client: one request on one connection.
 *
 * Seam for reuse: a connection comes from call_connect and goes back in call_finish; a pool of kept
 * connections would sit in these two. Today every call says "connection: close". */
#include "net/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/deadline.h"
#include "os/file.h"

enum {
    READ_BYTES = 64 << 10,
    CONNECT_TIMEOUT_MS = 5000,
    INTERIM_MAX = 16, /* 1xx replies before the final one */
};

enum call_state { CALL_CONNECT, CALL_HEAD, CALL_BODY, CALL_DEAD };

struct http_call {
    struct loop *loop;
    struct http_call_opts o; /* callbacks and times; strings are not kept */
    char addr[280];
    bool head_method;
    struct addrinfo *list;
    const struct addrinfo *next; /* addresses still to try */
    int fd;
    struct loop_io *io;
    struct deadline deadline;
    enum call_state state;
    struct buf out, in;
    size_t out_at;
    bool answered; /* a byte of the reply has come */
    bool until_close, chunked, paused;
    uint64_t left;
    struct http_chunked decoder;
    int n_interim;
    struct err failed; /* set at once, told later */
};

/* ---- the end ---- */

static void free_call(void *arg)
{
    struct http_call *c = arg;
    buf_done(&c->out);
    buf_done(&c->in);
    free(c);
}

static void close_fd(struct http_call *c)
{
    loop_io_del(c->io);
    c->io = NULL;
    fd_close(c->fd);
    c->fd = -1;
}

void http_cancel(struct http_call *c)
{
    if (!c || c->state == CALL_DEAD)
        return;
    c->state = CALL_DEAD;
    close_fd(c);
    deadline_done(&c->deadline);
    if (c->list)
        freeaddrinfo(c->list);
    loop_defer(c->loop, free_call, c);
}

static void call_finish(struct http_call *c, const struct err *err)
{
    struct err copy = err ? *err : (struct err){0};
    http_cancel(c);
    c->o.on_done(c->o.arg, err ? &copy : NULL);
}

static void call_fail(struct http_call *c, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void call_fail(struct http_call *c, enum err_code code, const char *fmt, ...)
{
    struct err err = {0};
    va_list ap;
    va_start(ap, fmt);
    err_vfill(&err, code, fmt, ap);
    va_end(ap);
    err_wrap(&err, "%s", c->addr[0] ? c->addr : "tunnel");
    call_finish(c, &err);
}

/* ---- the reply ---- */

static void wait_for(struct http_call *c, int64_t ms)
{
    if (ms > 0)
        deadline_set(&c->deadline, ms);
    else
        deadline_clear(&c->deadline);
}

static void update_io(struct http_call *c)
{
    loop_io_set(c->io, (c->paused ? 0 : LOOP_READ) | (c->out_at < c->out.n ? LOOP_WRITE : 0));
}

/* Hands over body bytes. False when the call is over. */
static bool take_body(struct http_call *c, const char *p, size_t n)
{
    size_t at = 0;
    bool done = !c->until_close && !c->chunked && c->left == 0;
    while (!done && at < n) {
        struct str span = {p + at, n - at};
        if (c->chunked) {
            struct err err = {0};
            int64_t k = http_chunked_next(&c->decoder, p + at, n - at, &span, &done, &err);
            if (k < 0) {
                call_fail(c, ERR_CORRUPT, "%s", err.msg);
                return false;
            }
            at += (size_t)k;
        } else {
            if (!c->until_close && span.n > c->left)
                span.n = (size_t)c->left;
            at += span.n;
            c->left -= c->until_close ? 0 : span.n;
            done = !c->until_close && c->left == 0;
        }
        if (span.n && c->o.on_body)
            c->o.on_body(c->o.arg, span.p, span.n);
        if (c->state == CALL_DEAD)
            return false;
    }
    if (done)
        call_finish(c, NULL);
    return !done;
}

static bool start_body(struct http_call *c, const struct http_head *h)
{
    bool none = c->head_method || h->status == 204 || h->status == 304;
    c->chunked = !none && h->chunked;
    c->until_close = !none && !h->chunked && !h->has_length;
    c->left = none || c->chunked ? 0 : h->length;
    c->state = CALL_BODY;
    if (c->o.on_head)
        c->o.on_head(c->o.arg, h);
    return c->state != CALL_DEAD;
}

/* Consumes one head from `in`. 1: the final one, 0: more bytes are needed, -1: the call is over. */
static int take_head(struct http_call *c)
{
    struct http_head h;
    struct err err = {0};
    for (;;) {
        int64_t used = http_parse_head(c->in.p, c->in.n, true, &h, &err);
        if (used == 0)
            return 0;
        if (used < 0)
            call_fail(c, ERR_CORRUPT, "%s", err.msg);
        else if (h.status == 101 || (h.status < 200 && ++c->n_interim > INTERIM_MAX))
            call_fail(c, ERR_CORRUPT, "unexpected status %d", h.status);
        if (c->state == CALL_DEAD)
            return -1;
        if (h.status >= 200) {
            if (!start_body(c, &h))
                return -1;
            buf_drop(&c->in, (size_t)used);
            return 1;
        }
        buf_drop(&c->in, (size_t)used);
    }
}

static void take_bytes(struct http_call *c, const char *p, size_t n)
{
    if (c->state == CALL_BODY) {
        if (take_body(c, p, n) && !c->paused)
            wait_for(c, c->o.idle_timeout_ms);
        return;
    }
    buf_add(&c->in, p, n);
    if (take_head(c) <= 0)
        return;
    struct buf rest = c->in; /* it frees itself below, whatever happens to the call */
    buf_init(&c->in, rest.max);
    if (take_body(c, rest.p ? rest.p : "", rest.n) && !c->paused)
        wait_for(c, c->o.idle_timeout_ms);
    buf_done(&rest);
}

static void at_end(struct http_call *c, int errnum)
{
    if (c->state == CALL_BODY && c->until_close && !errnum)
        call_finish(c, NULL);
    else if (errnum)
        call_fail(c, ERR_UNREACHABLE, "connection lost: %s", strerror(errnum));
    else if (c->state == CALL_BODY)
        call_fail(c, ERR_UNREACHABLE, "connection closed in the middle of the reply");
    else
        call_fail(c, ERR_UNREACHABLE, "connection closed without a reply");
}

static void on_readable(struct http_call *c)
{
    char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        at_end(c, n < 0 ? errno : 0);
    else
        take_bytes(c, bytes, (size_t)n);
}

/* ---- the request ---- */

static void send_some(struct http_call *c)
{
    while (c->out_at < c->out.n) {
        ssize_t put = send(c->fd, c->out.p + c->out_at, c->out.n - c->out_at, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            break;
        if (put < 0) {
            c->out_at = c->out.n; /* the peer may have answered before it closed: go on reading */
            break;
        }
        c->out_at += (size_t)put;
    }
    if (c->out_at == c->out.n) {
        buf_done(&c->out);
        c->out_at = 0;
    }
    update_io(c);
}

static void on_connected(struct http_call *c)
{
    c->state = CALL_HEAD;
    wait_for(c, c->o.first_byte_timeout_ms);
    send_some(c);
}

static void on_call(void *arg, unsigned events);

/* Tries the next address; false when there is none, the last refusal in errno. */
static bool call_connect(struct http_call *c)
{
    while (c->next && c->fd < 0) {
        c->fd = addr_connect(c->next);
        c->next = c->next->ai_next;
    }
    if (c->fd >= 0)
        c->io = loop_io_add(c->loop, c->fd, LOOP_WRITE, on_call, c);
    return c->fd >= 0;
}

static void on_connect_event(struct http_call *c)
{
    int errnum = addr_connect_error(c->fd);
    if (errnum == 0) {
        on_connected(c);
        return;
    }
    close_fd(c);
    errno = errnum;
    if (!call_connect(c))
        call_fail(c, ERR_UNREACHABLE, "connecting: %s", strerror(errno));
}

static void on_call(void *arg, unsigned events)
{
    struct http_call *c = arg;
    if (c->state == CALL_CONNECT) {
        on_connect_event(c);
        return;
    }
    if (events & LOOP_WRITE)
        send_some(c);
    if ((events & LOOP_READ) && c->state != CALL_DEAD && !c->paused)
        on_readable(c);
}

static void on_deadline(void *arg)
{
    struct http_call *c = arg;
    if (c->failed.code)
        call_finish(c, &c->failed);
    else if (c->state == CALL_CONNECT)
        call_fail(c, ERR_TIMEOUT, "no connection within %lld ms",
                  (long long)c->o.connect_timeout_ms);
    else if (c->state == CALL_HEAD)
        call_fail(c, ERR_TIMEOUT, "no reply within %lld ms", (long long)c->o.first_byte_timeout_ms);
    else
        call_fail(c, ERR_TIMEOUT, "no byte for %lld ms", (long long)c->o.idle_timeout_ms);
}

/* ---- building ---- */

/* One line of the request must not become two. */
static bool line_safe(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || *s == 0x7f)
            return false;
    return true;
}

/* "Name: value\r\n" lines, each whole and none empty. */
static bool headers_safe(const char *s)
{
    while (s && *s) {
        const char *end = strstr(s, "\r\n"), *colon = strchr(s, ':');
        if (!end || !colon || colon == s || colon > end)
            return false;
        for (const char *p = s; p < end; p++)
            if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
                return false;
        s = end + 2;
    }
    return true;
}

static int build(struct http_call *c, const struct http_call_opts *o, struct err *err)
{
    if (!o->method || !line_safe(o->method) || !o->path || o->path[0] != '/' || !line_safe(o->path))
        return err_set(err, ERR_INVALID, "malformed method or path of a request");
    if (!headers_safe(o->headers) || !line_safe(c->addr))
        return err_set(err, ERR_INVALID, "malformed header of a request");
    buf_addf(&c->out, "%s %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n", o->method, o->path,
             c->addr[0] ? c->addr : "localhost");
    if (o->body_n || strcmp(o->method, "POST") == 0 || strcmp(o->method, "PUT") == 0 ||
        strcmp(o->method, "PATCH") == 0)
        buf_addf(&c->out, "content-length: %zu\r\n", o->body_n);
    if (o->body_n)
        buf_addf(&c->out, "content-type: %s\r\n",
                 o->content_type ? o->content_type : "application/json");
    buf_adds(&c->out, o->headers ? o->headers : "");
    buf_adds(&c->out, "\r\n");
    buf_add(&c->out, o->body, o->body_n);
    return 0;
}

static int prepare(struct http_call *c, const struct http_call_opts *o)
{
    if (!STR_COPY(c->addr, o->addr))
        return err_set(&c->failed, ERR_INVALID, "address is too long");
    if (build(c, o, &c->failed) != 0)
        return -1;
    if (c->fd >= 0) {
        c->io = loop_io_add(c->loop, c->fd, LOOP_WRITE, on_call, c);
        return 0;
    }
    c->list = addr_resolve(c->addr, false, &c->failed);
    c->next = c->list;
    if (!c->list || call_connect(c))
        return c->list ? 0 : -1;
    return err_set(&c->failed, ERR_UNREACHABLE, "%s: connecting: %s", c->addr, strerror(errno));
}

struct http_call *http_call_new(struct loop *l, const struct http_call_opts *o)
{
    struct http_call *c = mem_calloc(1, sizeof *c);
    c->loop = l;
    c->o = *o;
    c->fd = o->fd > 0 ? o->fd : -1; /* 0 is an option left out, never a stream to a peer */
    c->o.addr = c->o.method = c->o.path = c->o.headers = c->o.content_type = NULL;
    c->o.body = NULL;
    if (c->o.connect_timeout_ms <= 0)
        c->o.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    c->head_method = o->method && strcmp(o->method, "HEAD") == 0;
    buf_init(&c->out, SIZE_MAX / 2); /* our caller's bytes */
    buf_init(&c->in, HTTP_MAX_HEAD + READ_BYTES);
    deadline_init(&c->deadline, l, on_deadline, c);
    deadline_set(&c->deadline, prepare(c, o) == 0 ? c->o.connect_timeout_ms : 0);
    return c;
}

void http_pause(struct http_call *c, bool paused)
{
    if (c->state == CALL_DEAD || c->paused == paused)
        return;
    c->paused = paused;
    if (c->state == CALL_CONNECT)
        return;
    update_io(c);
    if (c->state != CALL_BODY)
        return;
    wait_for(c, paused ? 0 : c->o.idle_timeout_ms);
}
