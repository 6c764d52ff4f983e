/* Byte stream of a tunnel: the seam behind which mutual TLS 1.3 goes. I/O; the loop's thread.
 *
 * Plain TCP is the only driver: a trusted network is assumed and named as such (docs/decisions).
 * All calls are non-blocking on a socket that the loop watches for what they ask. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

struct stream;
struct stream_ops {
    const char *name;
    /* Before the first byte: 1 ready, 0 call again when the socket is ready for *want (LOOP_READ or
     * LOOP_WRITE), -1 with err (ERR_AUTH, ERR_CORRUPT). */
    int (*handshake)(struct stream *s, unsigned *want, struct err *err);
    /* As recv and send: 0 is the peer's end, -1 with errno (EAGAIN: later). */
    ssize_t (*read)(struct stream *s, void *p, size_t n);
    ssize_t (*write)(struct stream *s, const void *p, size_t n);
    void (*end)(struct stream *s);   /* nothing more will be written */
    void (*close)(struct stream *s); /* and the socket with it */
};
struct stream {
    const struct stream_ops *ops;
    int fd;
    void *state; /* the driver's */
};

/* Takes the socket over. */
struct stream stream_plain(int fd);

#endif
