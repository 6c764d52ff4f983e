/* HTTP server: connections, reading, limits, time-outs.
 *
 * An idle connection or stream holds no buffer: bytes are read into the stack and kept only while a
 * head is incomplete; replies go to the kernel at once and are kept only where it takes less. One
 * request is handled at a time; while its handler works nothing is read, so pipelined requests wait
 * in the kernel. Callers may end a reply inside any callback, therefore memory goes at the end of
 * the batch and a connection that fails while someone writes to it is closed from the loop. */
#include "net/http_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/file.h"

enum {
    READ_BYTES = 64 << 10,
    ACCEPT_BATCH = 64,
    ACCEPT_PAUSE_MS = 100, /* out of descriptors: asking again at once would spin */
    LINGER_MS = 2000,
};

struct http_server {
    struct loop *loop;
    struct http_server_opts o;
    int fd;
    struct loop_io *io;
    struct deadline accept_pause;
    struct conn *conns;
    struct http_counts counts;
    bool warned_full;
    uint64_t n_ids;
    char id_prefix[13];
    char addr[ADDR_TEXT];
};

/* ---- the end of things ---- */

static void free_req(void *arg)
{
    struct http_req *r = arg;
    free(r->head);
    free(r->headers);
    free(r->path);
    buf_done(&r->body);
    buf_done(&r->extra);
    free(r);
}

void req_release(struct http_req *r)
{
    if (r->freeing)
        return;
    r->freeing = true;
    r->conn = NULL;
    loop_defer(r->loop, free_req, r);
}

static void free_conn(void *arg)
{
    struct conn *c = arg;
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

/* Closes; a handler that waits for its client is told, one that does not keeps its request until it
 * ends the reply. */
static void conn_kill(struct conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    loop_io_del(c->io);
    close(c->fd);
    deadline_done(&c->deadline);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->server->counts.connections--;
    struct http_req *r = STEAL(c->req);
    loop_defer(c->server->loop, free_conn, c);
    if (!r)
        return;
    r->conn = NULL;
    if (r->dispatched && !r->ended && !r->on_close)
        return;
    if (r->dispatched && !r->ended)
        r->on_close(r->close_arg);
    req_release(r);
}

void conn_break(struct conn *c)
{
    c->broken = true;
    buf_done(&c->out);
    c->out_at = 0;
    conn_wake(c);
}

/* ---- what the connection waits for ---- */

size_t conn_pending(const struct conn *c)
{
    return c->out.n - c->out_at;
}

static void conn_update(struct conn *c)
{
    bool reading = c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER;
    loop_io_set(c->io, (reading ? LOOP_READ : 0) | (conn_pending(c) ? LOOP_WRITE : 0));
    if (c->state == CONN_REPLY && !conn_pending(c))
        deadline_clear(&c->deadline);
}

static void enter_head(struct conn *c)
{
    c->state = CONN_HEAD;
    deadline_set(&c->deadline,
                 c->in.n ? c->server->o.head_timeout_ms : c->server->o.idle_timeout_ms);
    conn_update(c);
}

/* A close with unread input resets the connection and can take the reply away from the client. */
static void enter_linger(struct conn *c)
{
    buf_done(&c->in);
    if (c->peer_closed || shutdown(c->fd, SHUT_WR) != 0) {
        conn_kill(c);
        return;
    }
    c->state = CONN_LINGER;
    deadline_set(&c->deadline, LINGER_MS);
    conn_update(c);
}

static void after_flush(struct conn *c)
{
    if (c->close_after) {
        enter_linger(c);
        return;
    }
    enter_head(c);
    if (c->in.n && !c->in_process)
        conn_wake(c); /* a pipelined request: not from within whoever ended the reply */
}

void conn_reply_ended(struct conn *c)
{
    struct http_req *r = STEAL(c->req);
    if (r)
        req_release(r);
    c->state = CONN_FLUSH;
    if (conn_pending(c) || c->broken)
        conn_update(c);
    else
        after_flush(c);
}

/* ---- sending ---- */

static void keep_unsent(struct conn *c, const struct iovec *iov, size_t n, size_t sent)
{
    for (size_t i = 0; i < n; i++) {
        size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;
        buf_add(&c->out, (const char *)iov[i].iov_base + skip, iov[i].iov_len - skip);
        sent -= skip;
    }
}

void conn_send(struct conn *c, const struct iovec *iov, size_t n)
{
    if (c->broken || c->state == CONN_DEAD)
        return;
    size_t total = 0, sent = 0;
    for (size_t i = 0; i < n; i++)
        total += iov[i].iov_len;
    if (!conn_pending(c)) {
        struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
        ssize_t put = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN && errno != EINTR) {
            conn_break(c);
            return;
        }
        sent = put > 0 ? (size_t)put : 0;
    }
    if (sent == total)
        return;
    if (!conn_pending(c)) /* progress alone renews it, not what a producer adds */
        deadline_set(&c->deadline, c->server->o.write_stall_ms);
    keep_unsent(c, iov, n, sent);
    conn_update(c);
}

static void conn_flush(struct conn *c)
{
    while (conn_pending(c)) {
        ssize_t put = send(c->fd, c->out.p + c->out_at, conn_pending(c), MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno == EAGAIN)
            break;
        if (put < 0) {
            conn_kill(c);
            return;
        }
        c->out_at += (size_t)put;
        deadline_set(&c->deadline, c->server->o.write_stall_ms);
    }
    if (conn_pending(c)) {
        if (c->out_at > c->out.n / 2) {
            buf_drop(&c->out, c->out_at);
            c->out_at = 0;
        }
        return;
    }
    buf_done(&c->out);
    c->out_at = 0;
    conn_update(c);
    if (c->state == CONN_FLUSH)
        after_flush(c);
    else if (c->req && c->req->on_drain)
        conn_wake(c);
}

/* ---- reading requests ---- */

/* Answers a request that was refused before its handler, and ends the connection. */
static void refuse(struct conn *c, int status, const struct err *err)
{
    buf_auto struct buf page;
    buf_init(&page, 4096);
    http_error_page(&page, status, err);
    c->server->counts.refused++;
    c->close_after = true;
    conn_send(c, &(struct iovec){page.p, page.n}, 1);
    conn_reply_ended(c);
}

static void refuse_code(struct conn *c, int status, enum err_code code, const char *what)
{
    struct err err = {.code = code};
    STR_COPY(err.msg, what);
    refuse(c, status, &err);
}

/* An id of the client is taken over only when it cannot spoil a log line or a header. */
static void choose_id(struct http_server *s, struct http_req *r)
{
    struct str id = http_find(r->headers, r->n_headers, "x-request-id");
    bool ok = id.p && id.n > 0 && id.n < sizeof r->id;
    for (size_t i = 0; ok && i < id.n; i++)
        ok = (id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'z') ||
             (id.p[i] >= 'A' && id.p[i] <= 'Z') || strchr("-_.", id.p[i]);
    if (ok)
        str_copyf(r->id, sizeof r->id, "%.*s", (int)id.n, id.p);
    else
        str_copyf(r->id, sizeof r->id, "%s%08llx", s->id_prefix, (unsigned long long)s->n_ids);
    s->n_ids++;
}

/* The request as parsed, with a copy of its head: the bytes it came in are reused. */
static struct http_req *new_req(struct conn *c, const char *p, size_t n, const struct http_head *h)
{
    struct http_req *r = mem_calloc(1, sizeof *r);
    r->conn = c;
    r->loop = c->server->loop;
    r->head = mem_strndup(p, n);
    r->method = (struct str){r->head + (h->method.p - p), h->method.n};
    r->target = (struct str){r->head + (h->target.p - p), h->target.n};
    r->headers = mem_calloc(h->n_headers, sizeof *r->headers);
    r->n_headers = h->n_headers;
    for (size_t i = 0; i < h->n_headers; i++) {
        const struct http_header *from = &h->headers[i];
        r->headers[i].name = (struct str){r->head + (from->name.p - p), from->name.n};
        r->headers[i].value = (struct str){r->head + (from->value.p - p), from->value.n};
    }
    r->http10 = h->minor == 0;
    r->keep_alive = h->keep_alive;
    r->head_only = str_eq(r->method, STR("HEAD"));
    r->chunked = h->chunked;
    r->expect_continue = h->expect_continue;
    r->length = h->length;
    buf_init(&r->body, (size_t)c->server->o.max_body);
    buf_init(&r->extra, 16384);
    memcpy(r->peer, c->peer, sizeof r->peer);
    choose_id(c->server, r);
    return r;
}

static void dispatch(struct conn *c)
{
    struct http_req *r = c->req;
    c->state = CONN_REPLY;
    c->close_after = !r->keep_alive;
    r->dispatched = true;
    c->server->counts.requests++;
    conn_update(c);
    c->server->o.handler(c->server->o.ctx, r);
}

static size_t take_head(struct conn *c, const char *p, size_t n)
{
    struct http_head h;
    struct err err = {0};
    int64_t used = http_parse_head(p, n, false, &h, &err);
    if (used == 0)
        return 0;
    if (used < 0) {
        refuse(c, err.code == ERR_LIMIT ? 431 : 400, &err);
        return n;
    }
    struct http_req *r = c->req = new_req(c, p, (size_t)used, &h);
    if (url_split(r->target, &r->path, &r->query, &err) != 0) {
        refuse(c, 400, &err);
        return n;
    }
    if (r->length > c->server->o.max_body) {
        err_fill(&err, ERR_LIMIT, "body of %llu bytes is larger than %llu",
                 (unsigned long long)r->length, (unsigned long long)c->server->o.max_body);
        refuse(c, 413, &err);
        return n;
    }
    c->state = CONN_BODY;
    c->window_bytes = 0;
    deadline_set(&c->deadline, c->server->o.body_window_ms);
    if (r->expect_continue && n == (size_t)used)
        conn_send(c, &(struct iovec){(char *)"HTTP/1.1 100 Continue\r\n\r\n", 25}, 1);
    return (size_t)used;
}

static size_t take_body(struct conn *c, const char *p, size_t n)
{
    struct http_req *r = c->req;
    bool done = !r->chunked && r->length == 0;
    size_t used = 0;
    while (!done && used < n) {
        struct str span = {p + used, n - used};
        if (r->chunked) {
            struct err err = {0};
            int64_t k = http_chunked_next(&r->decoder, p + used, n - used, &span, &done, &err);
            if (k < 0) {
                refuse(c, 400, &err);
                return n;
            }
            used += (size_t)k;
        } else {
            if (span.n > r->length)
                span.n = (size_t)r->length;
            used += span.n;
            r->length -= span.n;
            done = r->length == 0;
        }
        buf_add(&r->body, span.p, span.n);
        if (r->body.full) {
            refuse_code(c, 413, ERR_LIMIT, "the body is larger than this server takes");
            return n;
        }
    }
    c->window_bytes += used;
    if (done)
        dispatch(c);
    return used;
}

/* Consumes requests from p; what is left belongs to a request that is incomplete or has to wait. */
static size_t consume(struct conn *c, const char *p, size_t n)
{
    size_t used = 0;
    while (c->state == CONN_HEAD || c->state == CONN_BODY) {
        bool head = c->state == CONN_HEAD;
        if (head && used == n)
            break;
        size_t k = head ? take_head(c, p + used, n - used) : take_body(c, p + used, n - used);
        used += k;
        if (c->state == CONN_LINGER || c->state == CONN_DEAD)
            return n;
        if (k == 0 && (head ? c->state == CONN_HEAD : c->state == CONN_BODY))
            break;
    }
    return used;
}

/* After a pass over the input that consumed something. */
static void settle(struct conn *c, size_t used)
{
    if (c->state == CONN_HEAD && used)
        enter_head(c);
    else if (c->state == CONN_REPLY && c->peer_closed)
        conn_kill(c);
}

static void conn_process(struct conn *c)
{
    c->in_process = true;
    size_t used = consume(c, c->in.p, c->in.n);
    c->in_process = false;
    if (c->state == CONN_DEAD || c->state == CONN_LINGER)
        return;
    buf_drop(&c->in, used);
    if (!c->in.n)
        buf_done(&c->in);
    settle(c, used);
}

/* New bytes: used where they are, and kept only as far as they are not. */
static void take_bytes(struct conn *c, const char *p, size_t n)
{
    if (c->state == CONN_HEAD && !c->in.n)
        deadline_set(&c->deadline, c->server->o.head_timeout_ms);
    /* Without a line end nothing new can be decided: a head that comes by the byte costs no more.
     */
    bool worth = c->state != CONN_HEAD || memchr(p, '\n', n) || c->in.n + n >= HTTP_MAX_HEAD;
    if (c->in.n || !worth) {
        buf_add(&c->in, p, n);
        if (worth)
            conn_process(c);
        return;
    }
    c->in_process = true;
    size_t used = consume(c, p, n);
    c->in_process = false;
    if (c->state == CONN_DEAD || c->state == CONN_LINGER)
        return;
    buf_add(&c->in, p + used, n - used);
    settle(c, used);
}

/* ---- events ---- */

static void conn_read(struct conn *c)
{
    char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        conn_kill(c);
    else if (c->state != CONN_LINGER)
        take_bytes(c, bytes, (size_t)n);
}

static void on_conn(void *arg, unsigned events)
{
    struct conn *c = arg;
    c->peer_closed |= (events & LOOP_HUP) != 0;
    if (events & LOOP_WRITE)
        conn_flush(c);
    bool reading = c->state == CONN_HEAD || c->state == CONN_BODY || c->state == CONN_LINGER;
    if ((events & LOOP_READ) && reading)
        conn_read(c);
    if ((events & LOOP_HUP) && c->state == CONN_REPLY)
        conn_kill(c);
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;
    c->server->counts.stalled += conn_pending(c) > 0;
    if (conn_pending(c) || c->state == CONN_LINGER || (c->state == CONN_HEAD && !c->in.n)) {
        conn_kill(c);
    } else if (c->state == CONN_HEAD) {
        refuse_code(c, 408, ERR_TIMEOUT, "the request head took too long");
    } else if (c->state == CONN_BODY) {
        if (c->window_bytes < HTTP_BODY_WINDOW_BYTES) {
            refuse_code(c, 408, ERR_TIMEOUT, "the request body came too slowly");
            return;
        }
        c->window_bytes = 0;
        deadline_set(&c->deadline, c->server->o.body_window_ms);
    }
}

static void on_wake(void *arg)
{
    struct conn *c = arg;
    c->wake_queued = false;
    if (c->state == CONN_DEAD)
        return;
    if (c->broken) {
        conn_kill(c);
        return;
    }
    struct http_req *r = c->req;
    if (r && r->on_drain && !conn_pending(c)) {
        void (*fn)(void *arg) = r->on_drain;
        r->on_drain = NULL;
        fn(r->drain_arg);
    } else if (c->state == CONN_HEAD && c->in.n) {
        conn_process(c);
    }
}

void conn_outrun(struct conn *c)
{
    c->server->counts.stalled++;
    conn_break(c);
}

void conn_wake(struct conn *c)
{
    if (c->wake_queued || c->state == CONN_DEAD)
        return;
    c->wake_queued = true;
    loop_defer(c->server->loop, on_wake, c);
}

/* ---- accepting ---- */

static void new_conn(struct http_server *s, int fd, const char *peer)
{
    struct conn *c = mem_calloc(1, sizeof *c);
    c->server = s;
    c->fd = fd;
    buf_init(&c->in, HTTP_MAX_HEAD + 2 * READ_BYTES);
    buf_init(&c->out, SIZE_MAX / 2); /* a whole reply is ours; a stream is capped in http_write */
    STR_COPY(c->peer, peer);
    c->next = s->conns;
    c->link = &s->conns;
    if (c->next)
        c->next->link = &c->next;
    s->conns = c;
    s->counts.connections++;
    deadline_init(&c->deadline, s->loop, on_deadline, c);
    c->io = loop_io_add(s->loop, fd, LOOP_READ, on_conn, c);
    deadline_set(&c->deadline, s->o.idle_timeout_ms);
}

static void turn_away(struct http_server *s, int fd)
{
    struct err err = {.code = ERR_UNAVAILABLE};
    str_copyf(err.msg, sizeof err.msg, "all %zu connections are in use", s->o.max_connections);
    buf_auto struct buf page;
    buf_init(&page, 4096);
    http_error_page(&page, 503, &err);
    s->counts.turned_away++;
    send(fd, page.p, page.n, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    close(fd);
    if (!s->warned_full)
        log_line(LOG_WARN, "http_full addr=%s connections=%zu next=answering_503", s->addr,
                 s->o.max_connections);
    s->warned_full = true;
}

static void on_accept(void *arg, unsigned events)
{
    struct http_server *s = arg;
    for (int i = 0; i < ACCEPT_BATCH && s->io; i++) {
        char peer[ADDR_TEXT];
        int fd = addr_accept(s->fd, peer);
        if (fd < 0) {
            if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
                return;
            log_line(LOG_WARN, "http_accept_failed addr=%s errno=%d next=retry", s->addr, errno);
            loop_io_set(s->io, 0);
            deadline_set(&s->accept_pause, ACCEPT_PAUSE_MS);
            return;
        }
        if (s->counts.connections >= s->o.max_connections) {
            turn_away(s, fd);
            continue;
        }
        s->warned_full = false;
        new_conn(s, fd, peer);
    }
}

static void on_accept_again(void *arg)
{
    struct http_server *s = arg;
    loop_io_set(s->io, LOOP_READ);
}

static void defaults(struct http_server_opts *o)
{
    o->max_body = o->max_body ? o->max_body : HTTP_MAX_BODY;
    o->head_timeout_ms = o->head_timeout_ms ? o->head_timeout_ms : HTTP_HEAD_TIMEOUT_MS;
    o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : HTTP_IDLE_TIMEOUT_MS;
    o->write_stall_ms = o->write_stall_ms ? o->write_stall_ms : HTTP_WRITE_STALL_MS;
    o->body_window_ms = o->body_window_ms ? o->body_window_ms : HTTP_BODY_WINDOW_MS;
    o->max_connections = o->max_connections ? o->max_connections : HTTP_MAX_CONNECTIONS;
}

struct http_server *http_server_new(struct loop *l, const struct http_server_opts *o,
                                    struct err *err)
{
    char text[ADDR_TEXT];
    int fd = addr_listen(o->addr, text, err);
    if (fd < 0)
        return NULL;
    struct http_server *s = mem_calloc(1, sizeof *s);
    s->loop = l;
    s->o = *o;
    s->o.addr = NULL;
    defaults(&s->o);
    s->fd = fd;
    STR_COPY(s->addr, text);
    os_random_hex(s->id_prefix, 6);
    deadline_init(&s->accept_pause, l, on_accept_again, s);
    s->io = loop_io_add(l, fd, LOOP_READ, on_accept, s);
    return s;
}

const char *http_server_addr(const struct http_server *s)
{
    return s->addr;
}

struct http_counts http_server_counts(const struct http_server *s)
{
    return s->counts;
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    loop_io_del(s->io);
    s->io = NULL;
    close(s->fd);
    deadline_done(&s->accept_pause);
    while (s->conns)
        conn_kill(s->conns);
    loop_defer(s->loop, free, s); /* a handler may be what frees the server */
}
