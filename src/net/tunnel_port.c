/* A loopback port whose connections are carried to a peer's service; and free ports. */
#include "net/tunnel.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "os/file.h"

enum {
    PORT_LO = 20000,
    PORT_HI = 32768, /* Linux hands out source ports from here on: one of them could be ours */
    LISTEN_TRIES = 32,
    CONNS_MAX = 1024,
    ACCEPT_BATCH = 32,
    RECENT = 1024,
    RECENT_MS = 60000,
};

/* ---- free ports ---- */

/* Ports belong to the process, not to a role: the one list of those just given away. */
static struct {
    pthread_mutex_t lock;
    struct {
        uint16_t port;
        int64_t at_ms;
    } given[RECENT];
    size_t next;
} ports = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool given_lately(uint16_t port, int64_t now_ms)
{
    for (size_t i = 0; i < RECENT; i++)
        if (ports.given[i].port == port && now_ms - ports.given[i].at_ms < RECENT_MS)
            return true;
    return false;
}

static bool can_bind(uint16_t port)
{
    char addr[24], text[ADDR_TEXT];
    str_copyf(addr, sizeof addr, "127.0.0.1:%u", port);
    fd_auto int fd = addr_listen(addr, text, NULL);
    return fd >= 0;
}

static bool take_port(uint16_t port)
{
    int64_t now_ms = os_now_ms();
    bool ok = !given_lately(port, now_ms) && can_bind(port);
    if (ok) {
        ports.given[ports.next].port = port;
        ports.given[ports.next].at_ms = now_ms;
        ports.next = (ports.next + 1) % RECENT;
    }
    return ok;
}

int net_free_port(uint16_t lo, uint16_t hi, uint16_t *port, struct err *err)
{
    if (lo == 0 || hi > PORT_HI || lo >= hi)
        return err_set(err, ERR_INVALID, "port range %u-%u is not below %d", lo, hi, PORT_HI);
    uint32_t n = (uint32_t)(hi - lo), start;
    os_random(&start, sizeof start); /* several programs on one host start at different places */
    pthread_mutex_lock(&ports.lock);
    bool found = false;
    for (uint32_t i = 0; i < n && !found; i++) {
        uint16_t candidate = (uint16_t)(lo + (start % n + i) % n);
        found = take_port(candidate);
        if (found)
            *port = candidate;
    }
    pthread_mutex_unlock(&ports.lock);
    return found ? 0 : err_set(err, ERR_UNAVAILABLE, "no free port in %u-%u", lo, hi - 1);
}

/* ---- the port ---- */

struct port_conn {
    struct tunnel_port *port;
    struct port_conn *next, **link;
    int fd; /* the engine's connection until it is spliced */
    struct loop_io *io;
    struct tunnel_dial *dial;
    struct splice *splice;
};

struct tunnel_port {
    struct loop *loop;
    char peer[280];
    struct tunnel_target target;
    int fd;
    struct loop_io *io;
    struct loop_timer *again;
    struct port_conn *conns;
    size_t n_conns;
    uint64_t sent; /* by connections that are over */
};

static void conn_close(struct port_conn *c)
{
    if (!c->port)
        return;
    struct tunnel_port *p = STEAL(c->port);
    p->n_conns--;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    tunnel_dial_cancel(c->dial);
    loop_io_del(c->io);
    fd_close(c->fd);
    p->sent += c->splice ? splice_read_a(c->splice) : 0;
    splice_free(c->splice);
    loop_defer(p->loop, free, c);
}

static void on_splice_end(void *arg)
{
    conn_close(arg);
}

static void on_dialed(void *arg, int fd, const struct err *err)
{
    struct port_conn *c = arg;
    c->dial = NULL;
    if (fd < 0) {
        log_line(LOG_WARN, "tunnel_dial_failed code=%s message=\"%s\" next=close_connection",
                 err_info(err->code)->name, err->msg);
        conn_close(c);
        return;
    }
    loop_io_del(STEAL(c->io));
    int engine_fd = c->fd;
    c->fd = -1;
    c->splice = splice_new(c->port->loop, engine_fd, fd, on_splice_end, c);
}

/* The engine gave up before the tunnel stood. */
static void on_engine_gone(void *arg, unsigned events)
{
    conn_close(arg);
}

static void new_conn(struct tunnel_port *p, int fd)
{
    struct port_conn *c = mem_calloc(1, sizeof *c);
    c->port = p;
    c->fd = fd;
    c->next = p->conns;
    c->link = &p->conns;
    if (c->next)
        c->next->link = &c->next;
    p->conns = c;
    p->n_conns++;
    c->io = loop_io_add(p->loop, fd, 0, on_engine_gone, c);
    c->dial = tunnel_dial_new(p->loop, p->peer, &p->target, TUNNEL_HANDSHAKE_MS, on_dialed, c);
}

static void on_again(void *arg)
{
    struct tunnel_port *p = arg;
    p->again = NULL;
    loop_io_set(p->io, LOOP_READ);
}

static void on_accept(void *arg, unsigned events)
{
    struct tunnel_port *p = arg;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = addr_accept(p->fd, NULL);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE) && !p->again) {
            loop_io_set(p->io, 0);
            p->again = loop_timer_add(p->loop, 100, on_again, p);
        }
        if (fd < 0)
            return;
        if (p->n_conns >= CONNS_MAX) {
            log_line(LOG_WARN, "tunnel_port_full connections=%zu next=close_connection",
                     p->n_conns);
            fd_close(fd);
            continue;
        }
        new_conn(p, fd);
    }
}

/* Between the test of a port and its use someone else can take it: then the next one. */
static int listen_somewhere(uint16_t *port, struct err *err)
{
    for (int i = 0; i < LISTEN_TRIES; i++) {
        char addr[24], text[ADDR_TEXT];
        if (net_free_port(PORT_LO, PORT_HI, port, err) != 0)
            return -1;
        str_copyf(addr, sizeof addr, "127.0.0.1:%u", *port);
        int fd = addr_listen(addr, text, NULL);
        if (fd >= 0)
            return fd;
    }
    return err_set(err, ERR_UNAVAILABLE, "no port in %d-%d stays free", PORT_LO, PORT_HI - 1);
}

struct tunnel_port *tunnel_port_new(struct loop *l, const char *peer_addr,
                                    const struct tunnel_target *t, uint16_t *port, struct err *err)
{
    int fd = listen_somewhere(port, err);
    if (fd < 0)
        return NULL;
    struct tunnel_port *p = mem_calloc(1, sizeof *p);
    p->loop = l;
    p->target = *t;
    STR_COPY(p->peer, peer_addr);
    p->fd = fd;
    p->io = loop_io_add(l, fd, LOOP_READ, on_accept, p);
    return p;
}

uint64_t tunnel_port_sent(const struct tunnel_port *p)
{
    uint64_t sum = p->sent;
    for (const struct port_conn *c = p->conns; c; c = c->next)
        sum += c->splice ? splice_read_a(c->splice) : 0;
    return sum;
}

void tunnel_port_free(struct tunnel_port *p)
{
    if (!p)
        return;
    while (p->conns)
        conn_close(p->conns);
    loop_io_del(p->io);
    loop_timer_del(p->again);
    fd_close(p->fd);
    loop_defer(p->loop, free, p);
}
