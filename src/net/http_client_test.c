/* net/http: what the client makes of replies, good and bad, and of orders it cannot carry out. */
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/file.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

struct fetch {
    struct loop *loop;
    struct http_call *call;
    int status;
    struct buf body;
    struct err err;
    bool done;
};

static void on_head(void *arg, const struct http_head *h)
{
    ((struct fetch *)arg)->status = h->status;
}

static void on_body(void *arg, const char *p, size_t n)
{
    buf_add(&((struct fetch *)arg)->body, p, n);
}

static void on_done(void *arg, const struct err *err)
{
    struct fetch *f = arg;
    assert_false(f->done);
    f->done = true;
    f->err = err ? *err : (struct err){0};
    loop_stop(f->loop);
}

static struct http_call_opts fetch_opts(struct fetch *f, struct loop *l, const char *method,
                                        const char *path)
{
    *f = (struct fetch){.loop = l};
    buf_init(&f->body, 1 << 20);
    return (struct http_call_opts){.fd = -1,
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
    assert_false(f->done); /* errors arrive later, too */
    assert_int_equal(loop_run(f->loop, NULL), 0);
}

struct fake {
    struct loop *loop;
    int fd, peer;
    struct loop_io *io;
    const char *answer;
    bool keep_open;
};

static void on_fake_peer(void *arg, unsigned events)
{
    struct fake *s = arg;
    char bytes[65536];
    if (recv(s->peer, bytes, sizeof bytes, 0) <= 0 || !s->answer)
        return;
    size_t n = strlen(s->answer);
    assert_int_equal(send(s->peer, s->answer, n, MSG_NOSIGNAL), n);
    s->answer = NULL;
    if (!s->keep_open)
        shutdown(s->peer, SHUT_WR);
}

static const struct {
    const char *name, *answer;
    bool keep_open;
    int status;
    const char *body;
    enum err_code code;
} ANSWERS[] = {
    {"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true, 200, "hi", ERR_NONE},
    {"chunked",
     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n", true,
     200, "hi!", ERR_NONE},
    {"until close", "HTTP/1.0 200 OK\r\n\r\nhi", false, 200, "hi", ERR_NONE},
    {"interim",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 404 "
     "No\r\nContent-Length: 0\r\n\r\n",
     true, 404, "", ERR_NONE},
    {"cut length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", false, 200, "hi",
     ERR_UNREACHABLE},
    {"cut chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", false, 200,
     "hi", ERR_UNREACHABLE},
    {"cut head", "HTTP/1.1 200 OK\r\nContent-", false, 0, "", ERR_UNREACHABLE},
    {"nothing", "", false, 0, "", ERR_UNREACHABLE},
    {"not http", "SSH-2.0-OpenSSH\r\n", true, 0, "", ERR_CORRUPT},
    {"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
     true, 0, "", ERR_CORRUPT},
    {"bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true, 200, "",
     ERR_CORRUPT},
    {"switching", "HTTP/1.1 101 Switch\r\n\r\n", true, 0, "", ERR_CORRUPT},
    {"silent", NULL, true, 0, "", ERR_TIMEOUT},
    {"stalled", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", true, 200, "hi", ERR_TIMEOUT},
};

static void test_answers(void **state)
{
    struct loop *l = loop_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(ANSWERS); i++) {
        int sv[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
        struct fake s = {.loop = l, .peer = sv[1], .answer = ANSWERS[i].answer};
        s.keep_open = ANSWERS[i].keep_open;
        s.io = loop_io_add(l, sv[1], LOOP_READ, on_fake_peer, &s);
        struct fetch f;
        struct http_call_opts o = fetch_opts(&f, l, "GET", "/");
        o.addr = "";
        o.fd = sv[0];
        o.first_byte_timeout_ms = o.idle_timeout_ms = 60;
        fetch_run(&f, &o);
        if (f.err.code != ANSWERS[i].code)
            fail_msg("%s: %s", ANSWERS[i].name, f.err.msg);
        assert_int_equal(f.status, ANSWERS[i].status);
        assert_string_equal(f.body.p ? f.body.p : "", ANSWERS[i].body);
        loop_io_del(s.io);
        close(sv[1]);
        buf_done(&f.body);
    }
    loop_free(l);
}

static void test_call_errors(void **state)
{
    static const struct {
        const char *addr, *method, *path, *headers;
        enum err_code code;
    } cases[] = {
        {"127.0.0.1:1", "GET", "/", NULL, ERR_UNREACHABLE},
        {"127.0.0.1", "GET", "/", NULL, ERR_INVALID},
        {"", "GET", "/", NULL, ERR_INVALID},
        {"127.0.0.1:1", "GET", "/a b", NULL, ERR_INVALID},
        {"127.0.0.1:1", "GET", "/\r\nX: y", NULL, ERR_INVALID},
        {"127.0.0.1:1", "GET", "x", NULL, ERR_INVALID},
        {"127.0.0.1:1", "GET", "/", "A: b", ERR_INVALID},
        {"127.0.0.1:1", "GET", "/", "A: b\r\n\r\nGET", ERR_INVALID},
        {"no.such.invalid:1", "GET", "/", NULL, ERR_UNREACHABLE},
    };
    struct loop *l = loop_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct fetch f;
        struct http_call_opts o = fetch_opts(&f, l, cases[i].method, cases[i].path);
        o.addr = cases[i].addr;
        o.headers = cases[i].headers;
        fetch_run(&f, &o);
        if (f.err.code != cases[i].code)
            fail_msg("case %zu: %s", i, f.err.msg);
    }
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_call_errors),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
