/* Inside the HTTP server: one connection and its request. I/O; the loop's thread.
 *
 * http_server.c owns reading, timing and the end of connections; http_reply.c builds replies. */
#ifndef NET_HTTP_CONN_H
#define NET_HTTP_CONN_H

#include "net/addr.h"
#include "net/deadline.h"
#include "net/http.h"

#include <sys/uio.h>

enum conn_state {
    CONN_HEAD,   /* waiting for or reading a head */
    CONN_BODY,   /* reading a body */
    CONN_REPLY,  /* the handler has the request */
    CONN_FLUSH,  /* the reply ended, the kernel has not taken all of it */
    CONN_LINGER, /* our side is closed: what the client still sends is dropped */
    CONN_DEAD,   /* freed at the end of the batch */
};

struct conn {
    struct http_server *server;
    struct conn *next, **link;
    int fd;
    struct loop_io *io;
    struct deadline deadline;
    enum conn_state state;
    struct buf in;  /* received, not consumed; not allocated while empty */
    struct buf out; /* accepted, not sent; not allocated while empty */
    size_t out_at;  /* sent bytes at the front of out */
    struct http_req *req;
    uint64_t window_bytes; /* body bytes since the rate was last looked at */
    bool peer_closed, close_after, broken, wake_queued, in_process;
    char peer[ADDR_TEXT];
};

struct http_req {
    struct conn *conn; /* NULL: the client is gone */
    struct loop *loop;
    char *head; /* the views below point into it */
    struct str method, target, query;
    char *path;
    struct http_header *headers;
    size_t n_headers;
    bool http10, keep_alive, head_only, chunked, expect_continue;
    uint64_t length; /* body bytes still to come */
    struct http_chunked decoder;
    struct buf body, extra;
    char id[65], peer[ADDR_TEXT];
    void (*on_close)(void *arg), *close_arg;
    void (*on_drain)(void *arg), *drain_arg;
    bool dispatched; /* the handler has it */
    bool started, chunked_reply, ended, freeing;
};

/* Sends or keeps. Never calls back: a failed connection is closed from the loop. */
void conn_send(struct conn *c, const struct iovec *iov, size_t n);
size_t conn_pending(const struct conn *c);
/* The reply is complete: the request goes, the connection turns to the next one or to its end. */
void conn_reply_ended(struct conn *c);
/* Closes the connection from the loop, on_close running first. */
void conn_break(struct conn *c);
/* The same for a stream that its client cannot keep up with. */
void conn_outrun(struct conn *c);
/* Has the loop look at the connection: on_drain, a buffered request, or its end. */
void conn_wake(struct conn *c);
/* Releases a request; its memory stays until the end of the batch. */
void req_release(struct http_req *r);

/* ---- http_url.c: pure ---- */
/* Splits a target into the decoded path (caller frees) and the raw query. -1: malformed or unsafe.
 */
int url_split(struct str target, char **path, struct str *query, struct err *err);
bool url_query(struct str query, const char *name, char *dst, size_t cap);

/* ---- http_reply.c ---- */
const char *http_status_text(int status);
/* A complete reply for a request that never became one; `body` holds the JSON. */
void http_error_page(struct buf *out, int status, const struct err *err);

#endif
