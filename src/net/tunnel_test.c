/* net/tunnel: handshake, refusals, splicing with back-pressure, ports. */
#include "net/tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/tunnel_hello.h"
#include "os/file.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char SECRET[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char WRONG[] = "10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/* ---- a worker with one service: an echo server ---- */

struct echo {
    struct world *world;
    int fd;
    struct loop_io *io;
    struct echo *next;
    bool open;
};

struct world {
    struct loop *loop;
    struct tunnel_listener *listener;
    int echo_fd;
    struct loop_io *echo_io;
    struct echo *echoes;
    uint16_t service_port;
    bool rest; /* the service does not read */
    int n_services, n_service_ends;
    size_t echoed;
};

static void end_echo(struct echo *e)
{
    if (!e->open)
        return;
    e->open = false;
    loop_io_del(e->io);
    close(e->fd);
    e->world->n_service_ends++;
}

static void on_echo(void *arg, unsigned events)
{
    struct echo *e = arg;
    char bytes[16384];
    if (e->world->rest)
        return;
    ssize_t n = recv(e->fd, bytes, sizeof bytes, 0);
    if (n <= 0) {
        end_echo(e);
        return;
    }
    e->world->echoed += (size_t)n;
    for (ssize_t at = 0; at < n;) { /* the test's own pace: small answers fit the socket */
        ssize_t put = send(e->fd, bytes + at, (size_t)(n - at), MSG_NOSIGNAL);
        if (put < 0 && errno != EAGAIN)
            return;
        at += put > 0 ? put : 0;
    }
}

static void on_echo_accept(void *arg, unsigned events)
{
    struct world *w = arg;
    struct echo *e = mem_calloc(1, sizeof *e);
    *e = (struct echo){.world = w, .fd = addr_accept(w->echo_fd, NULL), .next = w->echoes};
    e->open = true;
    w->echoes = e;
    w->n_services++;
    e->io = loop_io_add(w->loop, e->fd, w->rest ? 0 : LOOP_READ, on_echo, e);
}

static bool lookup(void *arg, const char *replica, uint32_t generation, enum tunnel_service service,
                   char secret[TUNNEL_SECRET_HEX + 1], uint16_t *port)
{
    struct world *w = arg;
    if (strcmp(replica, "r1") != 0 || generation != 7)
        return false;
    memcpy(secret, SECRET, sizeof SECRET);
    *port = service == TUNNEL_RPC ? w->service_port : 1; /* nobody listens on port 1 */
    return true;
}

static void on_limit(void *arg)
{
    fail_msg("the test takes too long");
}

static void open_world(struct world *w)
{
    char text[ADDR_TEXT];
    *w = (struct world){.loop = loop_new(NULL)};
    w->echo_fd = addr_listen("127.0.0.1:0", text, NULL);
    w->service_port = addr_port(w->echo_fd);
    w->echo_io = loop_io_add(w->loop, w->echo_fd, LOOP_READ, on_echo_accept, w);
    struct tunnel_listener_opts o = {"127.0.0.1:0", "n1", lookup, w};
    w->listener = tunnel_listen(w->loop, &o, NULL);
    assert_non_null(w->listener);
    loop_timer_add(w->loop, 30000, on_limit, w);
    log_quiet(true);
}

static void close_world(struct world *w)
{
    tunnel_listener_free(w->listener);
    for (struct echo *e = w->echoes, *next; e; e = next) {
        next = e->next;
        end_echo(e);
        free(e);
    }
    loop_io_del(w->echo_io);
    close(w->echo_fd);
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

static struct tunnel_target good_target(void)
{
    struct tunnel_target t = {.replica = "r1", .generation = 7, .member = "n1"};
    t.service = TUNNEL_RPC;
    memcpy(t.secret, SECRET, sizeof SECRET);
    return t;
}

/* ---- dialing ---- */

struct dialed {
    struct loop *loop;
    int fd, calls;
    struct err err;
};

static void on_dialed(void *arg, int fd, const struct err *err)
{
    struct dialed *d = arg;
    d->calls++;
    d->fd = fd;
    d->err = err ? *err : (struct err){0};
    loop_stop(d->loop);
}

static struct dialed dial(struct world *w, const char *addr, const struct tunnel_target *t)
{
    struct dialed d = {.loop = w->loop, .fd = -1};
    tunnel_dial_new(w->loop, addr, t, 300, on_dialed, &d);
    assert_int_equal(d.calls, 0);
    assert_int_equal(loop_run(w->loop, NULL), 0);
    assert_int_equal(d.calls, 1);
    return d;
}

static void read_exactly(struct world *w, int fd, char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = recv(fd, p + at, n - at, 0);
        if (got > 0)
            at += (size_t)got;
        else if (got < 0 && errno == EAGAIN)
            run_ms(w->loop, 1);
        else
            fail_msg("the tunnel ended after %zu of %zu bytes", at, n);
    }
}

static void test_good(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    struct dialed d = dial(&w, tunnel_listener_addr(w.listener), &t);
    if (d.fd < 0)
        fail_msg("%s", d.err.msg);
    assert_int_equal(send(d.fd, "hello", 5, MSG_NOSIGNAL), 5);
    char text[5];
    read_exactly(&w, d.fd, text, 5);
    assert_memory_equal(text, "hello", 5);
    close(d.fd);
    run_ms(w.loop, 20);
    assert_int_equal(w.n_services, 1);
    assert_int_equal(w.n_service_ends, 1);
    close_world(&w);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *name, *replica, *member, *secret;
        uint32_t generation;
        int service;
        enum err_code code;
    } cases[] = {
        {"wrong secret", "r1", "n1", WRONG, 7, TUNNEL_RPC, ERR_AUTH},
        {"older generation", "r1", "n1", SECRET, 6, TUNNEL_RPC, ERR_NOT_FOUND},
        {"newer generation", "r1", "n1", SECRET, 8, TUNNEL_RPC, ERR_NOT_FOUND},
        {"other replica", "r2", "n1", SECRET, 7, TUNNEL_RPC, ERR_NOT_FOUND},
        {"other member", "r1", "n2", SECRET, 7, TUNNEL_RPC, ERR_NOT_FOUND},
        {"service not listening", "r1", "n1", SECRET, 7, TUNNEL_HTTP, ERR_UNREACHABLE},
        {"unknown service", "r1", "n1", SECRET, 7, 9, ERR_AUTH},
        {"short secret", "r1", "n1", "0011", 7, TUNNEL_RPC, ERR_INVALID},
        {"no member", "r1", "", SECRET, 7, TUNNEL_RPC, ERR_INVALID},
    };
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tunnel_target t = {.generation = cases[i].generation};
        STR_COPY(t.replica, cases[i].replica);
        STR_COPY(t.member, cases[i].member);
        STR_COPY(t.secret, cases[i].secret);
        t.service = (enum tunnel_service)cases[i].service;
        struct dialed d = dial(&w, tunnel_listener_addr(w.listener), &t);
        if (d.fd >= 0 || d.err.code != cases[i].code)
            fail_msg("%s: %s", cases[i].name, d.err.msg);
        assert_null(strstr(d.err.msg, SECRET));
    }
    assert_int_equal(w.n_services, 0);
    close_world(&w);
}

static void test_unreachable(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    struct dialed d = dial(&w, "127.0.0.1:1", &t);
    assert_int_equal(d.err.code, ERR_UNREACHABLE);
    d = dial(&w, "nonsense", &t);
    assert_int_equal(d.err.code, ERR_INVALID);
    char text[ADDR_TEXT];
    int mute = addr_listen("127.0.0.1:0", text, NULL); /* accepts by backlog, says nothing */
    d = dial(&w, text, &t);
    assert_int_equal(d.err.code, ERR_TIMEOUT);
    close(mute);
    close_world(&w);
}

/* What the stranger sends, from a recorded hello on: all must end without a connection to the
 * service. */
static void test_hostile_hello(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    unsigned char old[HELLO_BYTES], nonce[HELLO_NONCE] = {1, 2, 3};
    assert_int_equal(hello_write(&t, nonce, old, NULL), 0);
    for (int i = 0; i < 6; i++) {
        struct addrinfo *ai = addr_resolve(tunnel_listener_addr(w.listener), false, NULL);
        int fd = addr_connect(ai);
        freeaddrinfo(ai);
        char theirs[HELLO_NONCE];
        run_ms(w.loop, 5);
        read_exactly(&w, fd, theirs, sizeof theirs);
        unsigned char hello[HELLO_BYTES];
        memcpy(hello, old, sizeof hello); /* 0: the replay of a hello made for another nonce */
        if (i >= 1)
            assert_int_equal(hello_write(&t, (unsigned char *)theirs, hello, NULL), 0);
        if (i == 1)
            hello[60] ^= 1; /* any byte that the mac covers */
        if (i == 2)
            hello[HELLO_BYTES - 1] ^= 1;
        if (i == 3)
            memset(hello + 8, 'A', 40); /* a name without an end */
        if (i == 4)
            memset(hello, 0xff, sizeof hello);
        if (i == 5)
            hello[95] = 1; /* reserved bytes */
        assert_int_equal(send(fd, hello, sizeof hello, MSG_NOSIGNAL), sizeof hello);
        char status;
        read_exactly(&w, fd, &status, 1);
        assert_int_not_equal(status, HELLO_OK);
        run_ms(w.loop, 5);
        assert_int_equal(recv(fd, &status, 1, 0), 0);
        close(fd);
    }
    assert_int_equal(w.n_services, 0);
    close_world(&w);
}

static void test_hello_roundtrip(void **state)
{
    struct tunnel_target t = good_target(), back;
    unsigned char nonce[HELLO_NONCE] = {9}, hello[HELLO_BYTES];
    t.generation = 0xfedcba98;
    assert_int_equal(hello_write(&t, nonce, hello, NULL), 0);
    assert_int_equal(hello_read(hello, &back), 0);
    assert_string_equal(back.replica, t.replica);
    assert_string_equal(back.member, t.member);
    assert_int_equal(back.generation, t.generation);
    assert_int_equal(back.service, t.service);
    assert_true(hello_verify(hello, nonce, SECRET));
    assert_false(hello_verify(hello, nonce, WRONG));
    assert_false(hello_verify(hello, nonce, ""));
    for (size_t i = 0; i < HELLO_BYTES; i++) { /* every byte counts */
        hello[i] ^= 0x10;
        assert_false(hello_verify(hello, nonce, SECRET));
        hello[i] ^= 0x10;
    }
}

static void test_drop(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    struct dialed d = dial(&w, tunnel_listener_addr(w.listener), &t);
    tunnel_drop(w.listener, "r2");
    run_ms(w.loop, 10);
    assert_int_equal(w.n_service_ends, 0);
    tunnel_drop(w.listener, "r1");
    run_ms(w.loop, 10);
    assert_int_equal(w.n_service_ends, 1);
    char c;
    assert_int_equal(recv(d.fd, &c, 1, 0), 0);
    close(d.fd);
    close_world(&w);
}

static void test_cancel(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    struct dialed d = {.loop = w.loop};
    struct tunnel_dial *dialing =
        tunnel_dial_new(w.loop, tunnel_listener_addr(w.listener), &t, 300, on_dialed, &d);
    tunnel_dial_cancel(dialing);
    run_ms(w.loop, 30);
    assert_int_equal(d.calls, 0);
    close_world(&w);
}

/* ---- the port for an engine ---- */

static int connect_port(struct world *w, uint16_t port)
{
    char text[24];
    str_copyf(text, sizeof text, "127.0.0.1:%u", port);
    struct addrinfo *ai = addr_resolve(text, false, NULL);
    int fd = addr_connect(ai);
    freeaddrinfo(ai);
    assert_true(fd >= 0);
    run_ms(w->loop, 2);
    return fd;
}

static void test_port(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    uint16_t port = 0;
    struct tunnel_port *p =
        tunnel_port_new(w.loop, tunnel_listener_addr(w.listener), &t, &port, NULL);
    assert_non_null(p);
    assert_true(port < 32768);
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = connect_port(&w, port);
        char c = (char)('a' + i);
        assert_int_equal(send(fds[i], &c, 1, MSG_NOSIGNAL), 1); /* before the tunnel stands */
    }
    for (int i = 0; i < 5; i++) {
        char c;
        read_exactly(&w, fds[i], &c, 1);
        assert_int_equal(c, 'a' + i);
    }
    close(fds[0]);
    run_ms(w.loop, 20);
    assert_int_equal(w.n_service_ends, 1);
    tunnel_port_free(p);
    run_ms(w.loop, 20);
    assert_int_equal(w.n_service_ends, 5);
    for (int i = 1; i < 5; i++)
        close(fds[i]);
    close_world(&w);
}

static void test_port_refused(void **state)
{
    struct world w;
    open_world(&w);
    struct tunnel_target t = good_target();
    t.generation = 6;
    uint16_t port = 0;
    struct tunnel_port *p =
        tunnel_port_new(w.loop, tunnel_listener_addr(w.listener), &t, &port, NULL);
    int fd = connect_port(&w, port);
    run_ms(w.loop, 30);
    char c;
    assert_int_equal(recv(fd, &c, 1, 0), 0);
    close(fd);
    tunnel_port_free(p);
    close_world(&w);
}

static void test_free_port(void **state)
{
    uint16_t port = 0, seen[40];
    struct err e = {0};
    char text[ADDR_TEXT];
    int taken = addr_listen("127.0.0.1:29991", text, NULL);
    for (int i = 0; i < 19; i++) {
        assert_int_equal(net_free_port(29980, 30000, &port, &e), 0);
        assert_in_range(port, 29980, 29999);
        assert_int_not_equal(port, taken >= 0 ? 29991 : 0);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(seen[k], port);
        seen[i] = port;
    }
    assert_int_equal(net_free_port(29980, 30000, &port, &e), -1); /* all given away */
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    fd_close(taken);
    assert_int_equal(net_free_port(32000, 40000, &port, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_int_equal(net_free_port(30000, 30000, &port, &e), -1);
}

/* ---- splicing ---- */

struct pump {
    struct loop *loop;
    int fd;
    struct loop_io *io;
    size_t to_send, sent, got;
    bool rest, half_closed, ended;
    unsigned char in, out; /* the next byte expected and to send */
};

static void on_pump(void *arg, unsigned events)
{
    struct pump *p = arg;
    static unsigned char bytes[65536];
    if (events & LOOP_READ) {
        ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);
        for (ssize_t i = 0; i < n; i++)
            if (bytes[i] != p->in++)
                fail_msg("byte %zu differs", p->got + (size_t)i);
        p->got += n > 0 ? (size_t)n : 0;
        p->ended = n == 0;
    }
    if ((events & LOOP_WRITE) && p->sent < p->to_send) {
        size_t n = p->to_send - p->sent < sizeof bytes ? p->to_send - p->sent : sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)(p->out + i);
        ssize_t put = send(p->fd, bytes, n, MSG_NOSIGNAL);
        p->sent += put > 0 ? (size_t)put : 0;
        p->out = (unsigned char)(p->out + (put > 0 ? put : 0));
    }
    if (p->sent == p->to_send && !p->half_closed) {
        p->half_closed = true;
        shutdown(p->fd, SHUT_WR);
    }
    loop_io_set(p->io,
                (p->rest || p->ended ? 0 : LOOP_READ) | (p->sent < p->to_send ? LOOP_WRITE : 0));
}

static void on_splice_end(void *arg)
{
    loop_stop(arg);
}

/* 100 MB one way, 40 MB the other at the same time; each end is passed on while the other way goes
 * on. */
static void test_splice(void **state)
{
    struct world w;
    open_world(&w);
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
    struct pump left = {.loop = w.loop, .fd = a[0], .to_send = 100u << 20};
    struct pump right = {.loop = w.loop, .fd = b[0], .to_send = 40u << 20, .rest = true};
    left.io = loop_io_add(w.loop, a[0], LOOP_READ | LOOP_WRITE, on_pump, &left);
    right.io = loop_io_add(w.loop, b[0], LOOP_WRITE, on_pump, &right);
    struct splice *s = splice_new(w.loop, a[1], b[1], on_splice_end, w.loop);
    run_ms(w.loop, 100);
    size_t stuck = left.sent;
    assert_in_range(stuck, 1, 2 << 20); /* the right does not read: the left is held back */
    run_ms(w.loop, 50);
    assert_int_equal(left.sent, stuck);
    right.rest = false;
    loop_io_set(right.io, LOOP_READ | LOOP_WRITE);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    run_ms(w.loop, 20);
    assert_int_equal(right.got, 100u << 20);
    assert_int_equal(left.got, 40u << 20);
    assert_true(left.ended && right.ended);
    assert_true(splice_read_a(s) == 100u << 20);
    splice_free(s);
    loop_io_del(left.io);
    loop_io_del(right.io);
    close(a[0]);
    close(b[0]);
    close_world(&w);
}

/* A receiver that vanishes ends the splice although the sender still sends. */
static void test_splice_lost(void **state)
{
    struct world w;
    open_world(&w);
    int a[2], b[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
    struct pump left = {.loop = w.loop, .fd = a[0], .to_send = 1u << 30};
    left.io = loop_io_add(w.loop, a[0], LOOP_READ | LOOP_WRITE, on_pump, &left);
    struct splice *s = splice_new(w.loop, a[1], b[1], on_splice_end, w.loop);
    run_ms(w.loop, 20);
    close(b[0]);
    assert_int_equal(loop_run(w.loop, NULL), 0);
    assert_true(left.sent < 1u << 30);
    splice_free(s);
    loop_io_del(left.io);
    close(a[0]);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_hostile_hello),
        cmocka_unit_test(test_hello_roundtrip),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_port),
        cmocka_unit_test(test_port_refused),
        cmocka_unit_test(test_free_port),
        cmocka_unit_test(test_splice),
        cmocka_unit_test(test_splice_lost),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
