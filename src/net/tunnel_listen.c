/* The accepting end of tunnels. */
#include "net/tunnel_hello.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/deadline.h"
#include "net/splice.h"
#include "os/file.h"

enum {
    TUNNELS_MAX = 4096,
    HANDSHAKES_MAX = 256, /* strangers can open connections: they must not crowd out the rest */
    ACCEPT_BATCH = 32,
    ACCEPT_PAUSE_MS = 100,
};

enum tun_state { TUN_SECURE, TUN_NONCE, TUN_HELLO, TUN_SERVICE, TUN_OPEN, TUN_DEAD };

struct tun {
    struct tunnel_listener *listener;
    struct tun *next, **link;
    enum tun_state state;
    struct stream stream;
    struct loop_io *io, *service_io;
    int service_fd;
    struct deadline deadline;
    struct splice *splice;
    unsigned char nonce[HELLO_NONCE], hello[HELLO_BYTES];
    size_t at;
    struct tunnel_target target;
    char peer[ADDR_TEXT];
};

struct tunnel_listener {
    struct loop *loop;
    struct tunnel_listener_opts o;
    char member[64], addr[ADDR_TEXT];
    int fd;
    struct loop_io *io;
    struct deadline accept_pause;
    struct tun *tuns;
    size_t n_tuns, n_handshakes;
};

static void tun_close(struct tun *t)
{
    if (t->state == TUN_DEAD)
        return;
    t->listener->n_tuns--;
    t->listener->n_handshakes -= t->state != TUN_OPEN;
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    loop_io_del(t->io);
    loop_io_del(t->service_io);
    deadline_done(&t->deadline);
    if (t->state == TUN_OPEN) {
        splice_free(t->splice);
    } else {
        t->stream.ops->close(&t->stream);
        fd_close(t->service_fd);
    }
    t->state = TUN_DEAD;
    loop_defer(t->listener->loop, free, t);
}

static void refuse(struct tun *t, enum hello_status status, const char *why)
{
    unsigned char byte = (unsigned char)status;
    log_line(LOG_WARN, "tunnel_refused peer=%s replica=%s generation=%u member=%s reason=%s",
             t->peer, t->target.replica[0] ? t->target.replica : "-", t->target.generation,
             t->target.member[0] ? t->target.member : "-", why);
    t->stream.ops->write(&t->stream, &byte, 1);
    tun_close(t);
}

static void on_splice_end(void *arg)
{
    tun_close(arg);
}

/* The service took the connection: from here on the bytes are not ours. */
static void open_tunnel(struct tun *t)
{
    unsigned char ok = HELLO_OK;
    if (t->stream.ops->write(&t->stream, &ok, 1) != 1) {
        tun_close(t);
        return;
    }
    loop_io_del(t->io);
    loop_io_del(t->service_io);
    t->io = t->service_io = NULL;
    deadline_done(&t->deadline);
    t->listener->n_handshakes--;
    t->state = TUN_OPEN;
    t->splice =
        splice_streams(t->listener->loop, t->stream, stream_plain(t->service_fd), on_splice_end, t);
}

static void on_service(void *arg, unsigned events)
{
    struct tun *t = arg;
    if (addr_connect_error(t->service_fd) != 0)
        refuse(t, HELLO_NO_SERVICE, "service_not_listening");
    else
        open_tunnel(t);
}

static void connect_service(struct tun *t, uint16_t port)
{
    char text[24];
    str_copyf(text, sizeof text, "127.0.0.1:%u", port);
    struct addrinfo *ai = addr_resolve(text, false, NULL);
    t->service_fd = ai ? addr_connect(ai) : -1;
    if (ai)
        freeaddrinfo(ai);
    if (t->service_fd < 0) {
        refuse(t, HELLO_NO_SERVICE, "service_not_listening");
        return;
    }
    t->state = TUN_SERVICE;
    loop_io_set(t->io, 0);
    t->service_io = loop_io_add(t->listener->loop, t->service_fd, LOOP_WRITE, on_service, t);
}

static void on_hello(struct tun *t)
{
    const struct tunnel_listener_opts *o = &t->listener->o;
    char secret[TUNNEL_SECRET_HEX + 1] = "";
    uint16_t port = 0;
    if (hello_read(t->hello, &t->target) != 0) {
        t->target = (struct tunnel_target){0};
        refuse(t, HELLO_REFUSED, "malformed_hello");
        return;
    }
    bool known = o->lookup(o->arg, t->target.replica, t->target.generation, t->target.service,
                           secret, &port);
    bool verified = known && hello_verify(t->hello, t->nonce, secret);
    memset(secret, 0, sizeof secret);
    if (!known)
        refuse(t, HELLO_UNKNOWN, "not_here");
    else if (!verified)
        refuse(t, HELLO_REFUSED, "wrong_secret");
    else if (strcmp(t->target.member, t->listener->member) != 0)
        refuse(t, HELLO_UNKNOWN, "other_member");
    else
        connect_service(t, port);
}

static void send_nonce(struct tun *t)
{
    ssize_t put = t->stream.ops->write(&t->stream, t->nonce + t->at, HELLO_NONCE - t->at);
    if (put < 0 && errno != EAGAIN) {
        tun_close(t);
        return;
    }
    t->at += put > 0 ? (size_t)put : 0;
    t->state = t->at == HELLO_NONCE ? TUN_HELLO : TUN_NONCE;
    loop_io_set(t->io, t->state == TUN_HELLO ? LOOP_READ : LOOP_WRITE);
    if (t->state == TUN_HELLO)
        t->at = 0;
}

static void secure(struct tun *t)
{
    unsigned want = 0;
    struct err err = {0};
    int rc = t->stream.ops->handshake(&t->stream, &want, &err);
    if (rc < 0)
        refuse(t, HELLO_REFUSED, "handshake");
    else if (rc > 0)
        send_nonce(t);
    else
        loop_io_set(t->io, want);
}

static void read_hello(struct tun *t)
{
    ssize_t got = t->stream.ops->read(&t->stream, t->hello + t->at, HELLO_BYTES - t->at);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        tun_close(t);
        return;
    }
    t->at += (size_t)got;
    if (t->at == HELLO_BYTES)
        on_hello(t);
}

static void on_tun(void *arg, unsigned events)
{
    struct tun *t = arg;
    if (t->state == TUN_SECURE)
        secure(t);
    else if (t->state == TUN_NONCE)
        send_nonce(t);
    else if (t->state == TUN_HELLO)
        read_hello(t);
    else
        tun_close(t); /* the dialer left while its service was being connected */
}

static void on_deadline(void *arg)
{
    tun_close(arg);
}

static void new_tun(struct tunnel_listener *l, int fd, const char *peer)
{
    struct tun *t = mem_calloc(1, sizeof *t);
    t->listener = l;
    t->service_fd = -1;
    STR_COPY(t->peer, peer);
    t->stream = stream_plain(fd);
    os_random(t->nonce, sizeof t->nonce);
    t->next = l->tuns;
    t->link = &l->tuns;
    if (t->next)
        t->next->link = &t->next;
    l->tuns = t;
    l->n_tuns++;
    l->n_handshakes++;
    deadline_init(&t->deadline, l->loop, on_deadline, t);
    deadline_set(&t->deadline, TUNNEL_HANDSHAKE_MS);
    t->io = loop_io_add(l->loop, fd, LOOP_READ, on_tun, t);
    secure(t);
}

static void on_accept(void *arg, unsigned events)
{
    struct tunnel_listener *l = arg;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        char peer[ADDR_TEXT];
        int fd = addr_accept(l->fd, peer);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
            log_line(LOG_WARN, "tunnel_accept_failed errno=%d next=retry", errno);
            loop_io_set(l->io, 0);
            deadline_set(&l->accept_pause, ACCEPT_PAUSE_MS);
        }
        if (fd < 0)
            return;
        if (l->n_tuns >= TUNNELS_MAX || l->n_handshakes >= HANDSHAKES_MAX) {
            log_line(LOG_WARN, "tunnel_refused peer=%s reason=too_many tunnels=%zu handshakes=%zu",
                     peer, l->n_tuns, l->n_handshakes);
            fd_close(fd);
            continue;
        }
        new_tun(l, fd, peer);
    }
}

static void on_accept_again(void *arg)
{
    loop_io_set(((struct tunnel_listener *)arg)->io, LOOP_READ);
}

struct tunnel_listener *tunnel_listen(struct loop *l, const struct tunnel_listener_opts *o,
                                      struct err *err)
{
    char text[ADDR_TEXT];
    if (strlen(o->member) >= sizeof(((struct tunnel_target *)0)->member))
        return err_null(err, ERR_INVALID, "node id \"%s\" is too long", o->member);
    int fd = addr_listen(o->addr, text, err);
    if (fd < 0)
        return NULL;
    struct tunnel_listener *t = mem_calloc(1, sizeof *t);
    t->loop = l;
    t->o = *o;
    t->o.addr = t->o.member = NULL;
    STR_COPY(t->member, o->member);
    STR_COPY(t->addr, text);
    t->fd = fd;
    deadline_init(&t->accept_pause, l, on_accept_again, t);
    t->io = loop_io_add(l, fd, LOOP_READ, on_accept, t);
    return t;
}

const char *tunnel_listener_addr(const struct tunnel_listener *t)
{
    return t->addr;
}

void tunnel_drop(struct tunnel_listener *l, const char *replica)
{
    for (struct tun *t = l->tuns, *next; t; t = next) {
        next = t->next;
        if (strcmp(t->target.replica, replica) == 0)
            tun_close(t);
    }
}

void tunnel_listener_free(struct tunnel_listener *l)
{
    if (!l)
        return;
    while (l->tuns)
        tun_close(l->tuns);
    loop_io_del(l->io);
    deadline_done(&l->accept_pause);
    fd_close(l->fd);
    loop_defer(l->loop, free, l);
}
