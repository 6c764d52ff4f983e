/* net/http: server and client over loopback in one loop. */
#include "net/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "os/file.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

/* ---- a server whose handler is a table of paths ---- */

struct world {
    struct loop *loop;
    struct http_server *server;
    struct http_req *held; /* the request of /hold or /slow */
    struct loop_timer *timer;
    int n_handled, n_closed, n_drained, n_ticks;
    size_t peak;
    char log[256];
    size_t slow_left;
};

static void on_timeout(void *arg)
{
    fail_msg("the test takes too long");
}

static void on_held_close(void *arg)
{
    struct world *w = arg;
    w->n_closed++;
    w->held = NULL;
}

static void slow_write(void *arg)
{
    struct world *w = arg;
    static char block[65536];
    w->n_drained++;
    while (w->slow_left && http_pending(w->held) == 0) {
        size_t n = w->slow_left < sizeof block ? w->slow_left : sizeof block;
        http_write(w->held, block, n);
        w->slow_left -= n;
        if (http_pending(w->held) > w->peak)
            w->peak = http_pending(w->held);
    }
    if (w->slow_left)
        http_on_drain(w->held, slow_write, w);
    else
        http_end(STEAL(w->held));
}

static void on_tick(void *arg)
{
    struct world *w = arg;
    w->timer = NULL;
    if (!w->held)
        return;
    if (w->n_ticks-- > 0) {
        http_write(w->held, "tick\n", 5);
        w->timer = loop_timer_add(w->loop, 10, on_tick, w);
    } else {
        http_end(STEAL(w->held));
    }
}

static void echo(struct http_req *r)
{
    struct str body = http_req_body(r), path = http_req_path(r), method = http_req_method(r);
    char q[32] = "-";
    http_req_query(r, "q", q, sizeof q);
    buf_auto struct buf out;
    buf_init(&out, 4096);
    buf_addf(&out, "%.*s %s q=%s body=%zu", (int)method.n, method.p, path.p, q, body.n);
    http_add_header(r, "x-extra", "yes");
    if (str_eq(path, STR("/evil")))
        http_add_header(r, "x-evil", "a\r\nb: c");
    http_reply(r, 200, "text/plain", out.p, out.n);
}

static void hold(struct world *w, struct http_req *r)
{
    w->held = r;
    http_req_on_close(r, on_held_close, w);
}

static void handler(void *ctx, struct http_req *r)
{
    struct world *w = ctx;
    struct str path = http_req_path(r), body = http_req_body(r);
    w->n_handled++;
    if (str_eq(path, STR("/mirror"))) {
        http_reply(r, 200, "application/octet-stream", body.p, body.n);
    } else if (str_eq(path, STR("/json"))) {
        json_t *v = json_object();
        json_put_str(v, "id", http_req_id(r));
        http_reply_json(r, 201, v);
    } else if (str_eq(path, STR("/err"))) {
        struct err e = {ERR_AUTH, "no key"};
        http_reply_err(r, &e, "send one");
    } else if (str_eq(path, STR("/none"))) {
        http_reply(r, 204, NULL, NULL, 0);
    } else if (str_eq(path, STR("/hold"))) {
        hold(w, r);
    } else if (str_eq(path, STR("/orphan"))) {
        w->held = r;
    } else if (str_eq(path, STR("/ticks"))) {
        hold(w, r);
        http_start(r, 200, "text/event-stream");
        on_tick(w);
    } else if (str_eq(path, STR("/slow"))) {
        hold(w, r);
        http_start(r, 200, "application/octet-stream");
        slow_write(w);
    } else if (str_eq(path, STR("/flood"))) {
        hold(w, r);
        http_start(r, 200, "application/octet-stream");
        char *p = mem_calloc(1, 1 << 20);
        for (int i = 0; i < 100; i++)
            http_write(r, p, 1 << 20);
        free(p);
    } else if (str_eq(path, STR("/abort"))) {
        http_start(r, 200, "text/plain");
        http_write(r, "part", 4);
        http_abort(r);
    } else {
        echo(r);
    }
}

static void open_world(struct world *w, const struct http_server_opts *o)
{
    struct err e = {0};
    *w = (struct world){.loop = loop_new(&e)};
    struct http_server_opts opts = o ? *o : (struct http_server_opts){0};
    opts.addr = "127.0.0.1:0";
    opts.handler = handler;
    opts.ctx = w;
    w->server = http_server_new(w->loop, &opts, &e);
    if (!w->server)
        fail_msg("%s", e.msg);
    w->timer = NULL;
    loop_timer_add(w->loop, 30000, on_timeout, w);
}

static void close_world(struct world *w)
{
    http_server_free(w->server);
    loop_free(w->loop);
}

static void on_pause_over(void *arg)
{
    loop_stop(arg);
}

static void run_ms(struct loop *l, int ms)
{
    loop_timer_add(l, ms, on_pause_over, l);
    assert_int_equal(loop_run(l, NULL), 0);
}

/* ---- raw client: bytes in, bytes out until the server closes or falls silent ---- */

struct raw {
    struct loop *loop;
    int fd;
    struct loop_io *io;
    struct buf got;
    bool closed;
    const char *until; /* stop when this has come */
};

static void on_raw(void *arg, unsigned events)
{
    struct raw *r = arg;
    char bytes[65536];
    ssize_t n = recv(r->fd, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        buf_add(&r->got, bytes, (size_t)n);
    r->closed = n <= 0;
    if (r->closed)
        loop_io_set(r->io, 0);
    if (r->closed || (r->until && strstr(r->got.p, r->until)))
        loop_stop(r->loop);
}

static void raw_open(struct raw *r, struct world *w)
{
    struct addrinfo *list = addr_resolve(http_server_addr(w->server), false, NULL);
    *r = (struct raw){.loop = w->loop, .fd = addr_connect(list)};
    freeaddrinfo(list);
    assert_true(r->fd >= 0);
    buf_init(&r->got, 256 << 20);
    r->io = loop_io_add(w->loop, r->fd, LOOP_READ, on_raw, r);
    run_ms(w->loop, 2);
}

static void raw_send(struct raw *r, const char *p, size_t n)
{
    if (send(r->fd, p, n, MSG_NOSIGNAL) != (ssize_t)n)
        assert_true(errno == EPIPE || errno == ECONNRESET);
}

static void raw_done(struct raw *r)
{
    loop_io_del(r->io);
    fd_close(r->fd);
    buf_done(&r->got);
}

/* ---- the client under test ---- */

struct fetch {
    struct loop *loop;
    struct http_call *call;
    int status;
    struct buf body;
    struct err err;
    bool done, failed, cancel_at_body, pause_at_body;
    int n_body;
    char type[64], extra[64];
};

static void on_head(void *arg, const struct http_head *h)
{
    struct fetch *f = arg;
    f->status = h->status;
    struct str type = http_find(h->headers, h->n_headers, "Content-Type");
    struct str extra = http_find(h->headers, h->n_headers, "x-extra");
    str_copyf(f->type, sizeof f->type, "%.*s", (int)type.n, type.p ? type.p : "");
    str_copyf(f->extra, sizeof f->extra, "%.*s", (int)extra.n, extra.p ? extra.p : "");
    assert_null(http_find(h->headers, h->n_headers, "b").p);
}

static void on_body(void *arg, const char *p, size_t n)
{
    struct fetch *f = arg;
    f->n_body++;
    buf_add(&f->body, p, n);
    if (f->pause_at_body)
        http_pause(f->call, true);
    if (f->cancel_at_body) {
        http_cancel(f->call);
        loop_stop(f->loop);
    }
}

static void on_done(void *arg, const struct err *err)
{
    struct fetch *f = arg;
    f->done = true;
    f->failed = err != NULL;
    if (err)
        f->err = *err;
    loop_stop(f->loop);
}

static struct http_call_opts fetch_opts(struct fetch *f, struct world *w, const char *method,
                                        const char *path)
{
    *f = (struct fetch){.loop = w->loop};
    buf_init(&f->body, 256 << 20);
    return (struct http_call_opts){.addr = http_server_addr(w->server),
                                   .fd = -1,
                                   .method = method,
                                   .path = path,
                                   .on_head = on_head,
                                   .on_body = on_body,
                                   .on_done = on_done,
                                   .arg = f};
}

static void fetch_run(struct fetch *f, const struct http_call_opts *o)
{
    f->call = http_call_new(f->loop, o);
    assert_false(f->done);
    assert_int_equal(loop_run(f->loop, NULL), 0);
}

static void test_replies(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *type, *body;
    } cases[] = {
        {"GET", "/a/b%20c?q=x+y%21", 200, "text/plain", "GET /a/b c q=x y! body=0"},
        {"HEAD", "/x", 200, "text/plain", ""},
        {"POST", "/x", 200, "text/plain", "POST /x q=- body=3"},
        {"GET", "/evil", 200, "text/plain", "GET /evil q=- body=0"},
        {"GET", "/none", 204, "", ""},
        {"GET", "/err", 401, "application/json",
         "{\"error\":{\"code\":\"UNAUTHORIZED\",\"message\":\"no key\",\"hint\":\"send one\","
         "\"params\":{}}}"},
        {"GET", "/models/a%2Fb", 200, "text/plain", "GET /models/a/b q=- body=0"},
    };
    struct world w;
    open_world(&w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch f;
        struct http_call_opts o = fetch_opts(&f, &w, cases[i].method, cases[i].path);
        if (strcmp(cases[i].method, "POST") == 0) {
            o.body = "abc";
            o.body_n = 3;
        }
        fetch_run(&f, &o);
        if (f.failed)
            fail_msg("%s: %s", cases[i].path, f.err.msg);
        assert_int_equal(f.status, cases[i].status);
        assert_string_equal(f.type, cases[i].type);
        assert_string_equal(f.body.p ? f.body.p : "", cases[i].body);
        buf_done(&f.body);
    }
    close_world(&w);
}

static void test_big_body(void **state)
{
    struct world w;
    struct fetch f;
    open_world(&w, NULL);
    size_t n = 20 << 20;
    char *p = mem_calloc(n, 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(i * 7 + i / 251);
    struct http_call_opts o = fetch_opts(&f, &w, "POST", "/mirror");
    o.body = p;
    o.body_n = n;
    fetch_run(&f, &o);
    assert_false(f.failed);
    assert_int_equal(f.body.n, n);
    assert_memory_equal(f.body.p, p, n);
    buf_done(&f.body);
    free(p);
    close_world(&w);
}

/* Each event arrives by itself and at once. */
static void test_stream(void **state)
{
    struct world w;
    struct fetch f;
    open_world(&w, NULL);
    w.n_ticks = 5;
    struct http_call_opts o = fetch_opts(&f, &w, "GET", "/ticks");
    fetch_run(&f, &o);
    assert_false(f.failed);
    assert_string_equal(f.body.p, "tick\ntick\ntick\ntick\ntick\n");
    assert_int_equal(f.n_body, 5);
    assert_int_equal(w.n_closed, 0);
    buf_done(&f.body);
    close_world(&w);
}

static void test_client_gone(void **state)
{
    static const char *const paths[] = {"/hold", "/ticks", "/slow"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct world w;
        struct raw r;
        open_world(&w, NULL);
        w.n_ticks = 1000000;
        w.slow_left = 100 << 20;
        raw_open(&r, &w);
        char text[64];
        str_copyf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        raw_send(&r, text, strlen(text));
        loop_io_set(r.io, 0);
        run_ms(w.loop, 30);
        assert_int_equal(w.n_handled, 1);
        assert_int_equal(w.n_closed, 0);
        raw_done(&r);
        run_ms(w.loop, 30);
        assert_int_equal(w.n_closed, 1);
        assert_null(w.held);
        loop_timer_del(w.timer);
        close_world(&w);
    }
}

/* A handler that did not ask to be told keeps its request until it has replied. */
static void test_orphan(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    raw_send(&r, "GET /orphan HTTP/1.1\r\nHost: x\r\n\r\n", 33);
    run_ms(w.loop, 10);
    raw_done(&r);
    run_ms(w.loop, 10);
    assert_non_null(w.held);
    http_reply(w.held, 200, "text/plain", "late", 4);
    close_world(&w);
}

static void test_slow_reader(void **state)
{
    struct world w;
    struct fetch f;
    open_world(&w, NULL);
    w.slow_left = 30 << 20;
    struct http_call_opts o = fetch_opts(&f, &w, "GET", "/slow");
    f.pause_at_body = true;
    f.call = http_call_new(w.loop, &o);
    run_ms(w.loop, 100);
    size_t left = w.slow_left, seen = f.body.n;
    assert_true(left > 0);
    run_ms(w.loop, 50);
    assert_int_equal(w.slow_left, left); /* nothing moves while the reader rests */
    assert_int_equal(f.body.n, seen);
    f.pause_at_body = false;
    http_pause(f.call, false);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    assert_true(f.done && !f.failed);
    assert_int_equal(f.body.n, 30 << 20);
    assert_true(w.peak <= 70000);
    assert_true(w.n_drained > 1);
    buf_done(&f.body);
    close_world(&w);
}

static void test_flood_is_cut(void **state)
{
    struct world w;
    struct fetch f;
    open_world(&w, NULL);
    struct http_call_opts o = fetch_opts(&f, &w, "GET", "/flood");
    fetch_run(&f, &o);
    assert_true(f.failed);
    assert_int_equal(f.err.code, ERR_UNREACHABLE);
    assert_int_equal(w.n_closed, 1);
    assert_int_equal(http_server_counts(w.server).stalled, 1);
    buf_done(&f.body);
    close_world(&w);
}

static void test_abort(void **state)
{
    struct world w;
    struct fetch f;
    open_world(&w, NULL);
    struct http_call_opts o = fetch_opts(&f, &w, "GET", "/abort");
    fetch_run(&f, &o);
    assert_true(f.failed);
    assert_int_equal(f.err.code, ERR_UNREACHABLE);
    buf_done(&f.body);
    close_world(&w);
}

static void test_cancel(void **state)
{
    struct world w;
    struct fetch f;
    open_world(&w, NULL);
    w.n_ticks = 1000000;
    struct http_call_opts o = fetch_opts(&f, &w, "GET", "/ticks");
    f.cancel_at_body = true;
    fetch_run(&f, &o);
    run_ms(w.loop, 30);
    assert_false(f.done);
    assert_int_equal(f.n_body, 1);
    assert_int_equal(w.n_closed, 1);
    loop_timer_del(w.timer);
    buf_done(&f.body);
    close_world(&w);
}

/* ---- what the server answers to raw bytes ---- */

#define GET "GET / HTTP/1.1\r\nHost: x\r\n"

static const struct {
    const char *name, *send, *status; /* NULL: closed without a word */
    int handled;
} RAW[] = {
    {"cl and te",
     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "400",
     0},
    {"bare lf", "GET / HTTP/1.1\nHost: x\n\n", "400", 0},
    {"http/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400", 0},
    {"h2c upgrade is ignored", GET "Upgrade: h2c\r\nConnection: Upgrade, close\r\n\r\n", "200", 1},
    {"dot segments", "GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n", "400", 0},
    {"encoded dot segments", "GET /a/%2e%2E/b HTTP/1.1\r\nHost: x\r\n\r\n", "400", 0},
    {"encoded slash and dots", "GET /a%2f..%2fb HTTP/1.1\r\nHost: x\r\n\r\n", "400", 0},
    {"nul in path", "GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n", "400", 0},
    {"bad escape", "GET /a%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400", 0},
    {"too long a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", "413", 0},
    {"too long in chunks",
     "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n", "408", 0},
    {"bad chunk", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n", "400",
     0},
    {"chunked body",
     "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3;a=b\r\nabc\r\n0\r\nHost: evil\r\n\r\n",
     "200", 1},
    {"half a head", "GET / HTT", "408", 0},
    {"half a body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", "408", 0},
    {"continue never used",
     "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n", "100", 0},
    {"http/1.0", "GET / HTTP/1.0\r\n\r\n", "200", 1},
    {"pipelined", GET "\r\n" GET "\r\n" GET "Connection: close\r\n\r\n", "200", 3},
    {"garbage after a request", GET "\r\n\x16\x03\x01 \r\n", "200", 1},
    {"nothing", "", NULL, 0},
};

static void test_raw(void **state)
{
    struct http_server_opts o = {
        .max_body = 1000, .head_timeout_ms = 60, .idle_timeout_ms = 60, .body_window_ms = 60};
    for (size_t i = 0; i < ARRAY_LEN(RAW); i++) {
        struct world w;
        struct raw r;
        open_world(&w, &o);
        raw_open(&r, &w);
        raw_send(&r, RAW[i].send, strlen(RAW[i].send));
        assert_int_equal(loop_run(w.loop, NULL), 0);
        assert_true(r.closed);
        const char *got = r.got.p ? r.got.p : "";
        if (RAW[i].status
                ? strncmp(got, "HTTP/1.1 ", 9) != 0 || strncmp(got + 9, RAW[i].status, 3) != 0
                : got[0] != 0)
            fail_msg("%s: %s", RAW[i].name, got);
        if (w.n_handled != RAW[i].handled)
            fail_msg("%s: %d requests were handled", RAW[i].name, w.n_handled);
        struct http_counts n = http_server_counts(w.server);
        assert_int_equal(n.requests, w.n_handled);
        if (RAW[i].status && RAW[i].status[0] == '4')
            assert_int_equal(n.refused, 1);
        raw_done(&r);
        close_world(&w);
    }
}

static void test_head_limit(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    char *big = mem_calloc(1, 65536);
    memset(big, 'a', 65536);
    raw_send(&r, GET "x: ", strlen(GET) + 3);
    raw_send(&r, big, 65536);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    assert_memory_equal(r.got.p, "HTTP/1.1 431 ", 13);
    free(big);
    raw_done(&r);
    close_world(&w);
}

/* 1,000 pipelined requests are answered in order, one at a time, without deep recursion. */
static void test_pipeline(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    buf_auto struct buf all;
    buf_init(&all, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_addf(&all, "POST /n%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n%s\r\nhi", i,
                 i == 999 ? "Connection: close\r\n" : "");
    raw_send(&r, all.p, all.n);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    assert_int_equal(w.n_handled, 1000);
    const char *at = r.got.p;
    for (int i = 0; i < 1000; i++) {
        char want[40];
        str_copyf(want, sizeof want, "POST /n%d q=- body=2", i);
        at = strstr(at, want);
        assert_non_null(at);
    }
    raw_done(&r);
    close_world(&w);
}

/* A request behind one that is answered later waits, then is served. */
static void test_pipeline_async(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    const char *two =
        "GET /hold HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n";
    raw_send(&r, two, strlen(two));
    run_ms(w.loop, 20);
    assert_int_equal(w.n_handled, 1);
    http_reply(w.held, 200, "text/plain", "first", 5);
    r.until = "/second";
    assert_int_equal(loop_run(w.loop, NULL), 0);
    assert_int_equal(w.n_handled, 2);
    assert_non_null(strstr(r.got.p, "first"));
    raw_done(&r);
    close_world(&w);
}

static void test_http10_stream(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    w.n_ticks = 2;
    raw_send(&r, "GET /ticks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 48);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    assert_null(strstr(r.got.p, "chunked"));
    assert_non_null(strstr(r.got.p, "\r\n\r\ntick\ntick\n"));
    raw_done(&r);
    close_world(&w);
}

static void test_expect_continue(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    const char *head =
        "POST /m HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    raw_send(&r, head, strlen(head));
    r.until = "100 Continue\r\n\r\n";
    assert_int_equal(loop_run(w.loop, NULL), 0);
    raw_send(&r, "hello", 5);
    r.until = "body=5";
    assert_int_equal(loop_run(w.loop, NULL), 0);
    raw_done(&r);
    close_world(&w);
}

static void test_connection_cap(void **state)
{
    struct http_server_opts o = {.max_connections = 2};
    struct world w;
    struct raw r[3];
    log_quiet(true);
    open_world(&w, &o);
    for (int i = 0; i < 3; i++)
        raw_open(&r[i], &w);
    assert_true(r[2].closed);
    assert_memory_equal(r[2].got.p, "HTTP/1.1 503 ", 13);
    assert_int_equal(http_server_counts(w.server).turned_away, 1);
    assert_int_equal(http_server_counts(w.server).connections, 2);
    raw_done(&r[0]);
    run_ms(w.loop, 10);
    raw_done(&r[2]);
    raw_open(&r[2], &w); /* room again */
    r[2].until = "body=0";
    raw_send(&r[2], GET "\r\n", strlen(GET) + 2);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    raw_done(&r[1]);
    raw_done(&r[2]);
    close_world(&w);
}

static void test_write_stall(void **state)
{
    struct http_server_opts o = {.write_stall_ms = 100};
    struct world w;
    struct raw r;
    open_world(&w, &o);
    w.slow_left = 100 << 20;
    raw_open(&r, &w);
    raw_send(&r, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", 31);
    loop_io_set(r.io, 0); /* never reads */
    run_ms(w.loop, 300);
    assert_int_equal(w.n_closed, 1);
    assert_int_equal(http_server_counts(w.server).stalled, 1);
    raw_done(&r);
    close_world(&w);
}

static void test_server_freed_with_requests(void **state)
{
    struct world w;
    struct raw r;
    open_world(&w, NULL);
    raw_open(&r, &w);
    raw_send(&r, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n", 31);
    run_ms(w.loop, 20);
    http_server_free(STEAL(w.server));
    assert_int_equal(w.n_closed, 1);
    raw_done(&r);
    close_world(&w);
}

static void test_listen_errors(void **state)
{
    struct world w;
    open_world(&w, NULL);
    const struct {
        const char *addr;
        enum err_code code;
    } cases[] = {{http_server_addr(w.server), ERR_CONFLICT},
                 {"127.0.0.1", ERR_INVALID},
                 {"127.0.0.1:99999", ERR_INVALID},
                 {"::1:80", ERR_INVALID},
                 {"[::1:80", ERR_INVALID},
                 {"203.0.113.9:0", ERR_INVALID},
                 {"no.such.invalid:80", ERR_UNREACHABLE}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        struct http_server_opts o = {.addr = cases[i].addr, .handler = handler, .ctx = &w};
        assert_null(http_server_new(w.loop, &o, &e));
        if (e.code != cases[i].code)
            fail_msg("%s: %s", cases[i].addr, e.msg);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),         cmocka_unit_test(test_big_body),
        cmocka_unit_test(test_stream),          cmocka_unit_test(test_client_gone),
        cmocka_unit_test(test_orphan),          cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_flood_is_cut),    cmocka_unit_test(test_abort),
        cmocka_unit_test(test_cancel),          cmocka_unit_test(test_raw),
        cmocka_unit_test(test_head_limit),      cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_pipeline_async),  cmocka_unit_test(test_http10_stream),
        cmocka_unit_test(test_expect_continue), cmocka_unit_test(test_connection_cap),
        cmocka_unit_test(test_write_stall),     cmocka_unit_test(test_server_freed_with_requests),
        cmocka_unit_test(test_listen_errors),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
