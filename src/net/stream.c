/* The plain driver: the socket as it is. */
#include "net/stream.h"

#include <errno.h>
#include <sys/socket.h>

#include "os/file.h"

static int plain_handshake(struct stream *s, unsigned *want, struct err *err)
{
    return 1;
}

static ssize_t plain_read(struct stream *s, void *p, size_t n)
{
    ssize_t got;
    do
        got = recv(s->fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static ssize_t plain_write(struct stream *s, const void *p, size_t n)
{
    ssize_t put;
    do
        put = send(s->fd, p, n, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put;
}

static void plain_end(struct stream *s)
{
    shutdown(s->fd, SHUT_WR);
}

static void plain_close(struct stream *s)
{
    fd_close(s->fd);
    s->fd = -1;
}

static const struct stream_ops PLAIN = {
    .name = "plain",
    .handshake = plain_handshake,
    .read = plain_read,
    .write = plain_write,
    .end = plain_end,
    .close = plain_close,
};

struct stream stream_plain(int fd)
{
    return (struct stream){.ops = &PLAIN, .fd = fd};
}
