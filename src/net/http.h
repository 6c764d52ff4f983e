/* HTTP/1.1: strict codec, server and client on an event loop. I/O; owned by the loop's thread.
 *
 * Codec rules are RFC 9112 with nothing tolerated: both Content-Length and Transfer-Encoding, two
 * lengths, bare LF, obs-fold, space before the colon, NUL and friends are 400 and close. Headers
 * are rebuilt, never relayed raw. Limits are named below; one past is answered (431, 413, 408) and
 * counted. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "os/loop.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    HTTP_MAX_HEAD = 32 << 10, /* request or status line and headers */
    HTTP_MAX_HEADERS = 100,
    HTTP_MAX_BODY = 64 << 20,     /* default for a buffered body */
    HTTP_HEAD_TIMEOUT_MS = 10000, /* from the first byte to the end of the head */
    HTTP_IDLE_TIMEOUT_MS = 75000,
    HTTP_WRITE_STALL_MS = 30000,   /* no byte taken by the client */
    HTTP_BODY_WINDOW_MS = 10000,   /* a request body must bring ... */
    HTTP_BODY_WINDOW_BYTES = 4096, /* ... this much per window (408 else) */
    HTTP_MAX_PENDING = 64 << 20,   /* of one streamed reply: past it the client is cut off */
    HTTP_MAX_CONNECTIONS = 16000,
};

struct http_header {
    struct str name, value; /* name as sent; compare without case */
};

/* ---- codec (pure functions of bytes; used by both sides, fuzzed) ---- */
struct http_head {
    bool response;
    struct str method, target; /* request */
    int status;                /* response */
    int minor;                 /* 0 or 1 */
    struct http_header headers[HTTP_MAX_HEADERS];
    size_t n_headers;
    bool keep_alive, chunked, has_length, expect_continue;
    uint64_t length;
};
/* Parses the head at p. Returns bytes used (> 0), 0 when more bytes are needed, -1 with err
 * (ERR_INVALID, ERR_LIMIT). Views point into p. */
int64_t http_parse_head(const char *p, size_t n, bool response, struct http_head *out,
                        struct err *err);
struct str http_find(const struct http_header *h, size_t n,
                     const char *name); /* p NULL when absent */

/* Incremental decoder of a chunked body: feeds *p,*n, gives decoded spans. */
struct http_chunked {
    int state;
    uint64_t left;
    size_t line;     /* bytes of the current size or trailer line */
    size_t overhead; /* bytes of extensions and trailers so far */
};
/* Consumes from in; sets *out to the next decoded span (may be empty). Returns bytes consumed, or
 * -1 (ERR_INVALID); *done is set after the last chunk and trailers (trailers are dropped). */
int64_t http_chunked_next(struct http_chunked *c, const char *in, size_t n, struct str *out,
                          bool *done, struct err *err);

/* ---- server ---- */
struct http_server;
/* One request and its reply. It lives until the reply ended, or until on_close has been called:
 * after either it must not be touched. (Without on_close it stays until the reply ends, client or
 * not.) */
struct http_req;
/* Called when head and body are complete. The handler must reply now or later, exactly once. */
typedef void (*http_handler)(void *ctx, struct http_req *r);
struct http_server_opts {
    const char *addr; /* "127.0.0.1:8080", "[::1]:8080", ":0" (IPv4) picks a port */
    http_handler handler;
    void *ctx;
    uint64_t max_body; /* 0: HTTP_MAX_BODY */
    /* 0: the limits named above. */
    int64_t head_timeout_ms, idle_timeout_ms, write_stall_ms, body_window_ms;
    size_t max_connections;
};
/* NULL with ERR_CONFLICT (port taken: names it), ERR_INVALID, ERR_UNREACHABLE (no such name),
 * ERR_IO. */
struct http_server *http_server_new(struct loop *l, const struct http_server_opts *o,
                                    struct err *err);
const char *http_server_addr(const struct http_server *s); /* with the real port */
struct http_counts {
    size_t connections;   /* now */
    uint64_t requests;    /* that reached the handler */
    uint64_t refused;     /* malformed, too large or too slow: 400, 408, 413, 431 */
    uint64_t turned_away; /* 503: no connection left */
    uint64_t stalled;     /* cut off: the client took no byte, or a stream outran it */
};
struct http_counts http_server_counts(const struct http_server *s);
/* Stops accepting and closes every connection (on_close runs). */
void http_server_free(struct http_server *s);

struct str http_req_method(const struct http_req *r);
struct str http_req_path(
    const struct http_req *r); /* decoded, no query; never contains NUL, "." or ".." segments */
/* Decoded query parameter into dst; false when absent or too long. */
bool http_req_query(const struct http_req *r, const char *name, char *dst, size_t cap);
struct str http_req_header(const struct http_req *r, const char *name); /* p NULL when absent */
struct str http_req_body(const struct http_req *r);
const char *http_req_peer(const struct http_req *r); /* "10.0.0.2:40112" */
const char *http_req_id(const struct http_req *r);   /* also sent as x-request-id */
/* The client went away (closed even one side, stalled, cut off) before the reply ended; called from
 * the loop, at most once, never after http_end. */
void http_req_on_close(struct http_req *r, void (*fn)(void *arg), void *arg);

/* Extra header of the reply; call before replying. Name and value are checked for CR, LF, NUL. */
void http_add_header(struct http_req *r, const char *name, const char *value);
void http_reply(struct http_req *r, int status, const char *content_type, const void *p, size_t n);
void http_reply_json(struct http_req *r, int status, json_t *body /* taken */);
/* {"error":{"code","message","hint","params"}} with the status of err's code; hint may be NULL. */
void http_reply_err(struct http_req *r, const struct err *err, const char *hint);
/* Streaming: start once, write any number of times, end once. The body is chunked (for an HTTP/1.0
 * client: ended by closing). Each write goes to the kernel at once; what it does not take is kept
 * up to HTTP_MAX_PENDING, so a producer that can outrun its client waits for http_on_drain. */
void http_start(struct http_req *r, int status, const char *content_type);
void http_write(struct http_req *r, const void *p, size_t n);
void http_end(struct http_req *r);
/* Ends the connection without the last chunk: the client sees a cut stream. */
void http_abort(struct http_req *r);
size_t
http_pending(const struct http_req *r); /* bytes accepted by http_write, not yet by the kernel */
void http_on_drain(struct http_req *r, void (*fn)(void *arg),
                   void *arg); /* once, when pending is 0 */

/* ---- client ---- */
struct http_call; /* one request in flight; freed by itself after on_done, or by http_cancel */
struct http_call_opts {
    const char *addr;          /* "host:port"; or "" when fd is given */
    int fd;                    /* a connected stream to use and close (tunnel), or -1 */
    const char *method, *path; /* path with query */
    const char *headers; /* "Name: value\r\n" lines, or NULL (Host, Content-Length are ours) */
    const void *body;
    size_t body_n;
    const char *content_type; /* NULL: application/json when there is a body */
    int64_t connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms; /* 0: 5 s, none, none */
    /* All optional but on_done. on_head is called once with the final status. */
    void (*on_head)(void *arg, const struct http_head *h);
    void (*on_body)(void *arg, const char *p, size_t n);
    void (*on_done)(void *arg, const struct err *err /* NULL: complete */);
    void *arg;
};
/* Never fails at once: errors (ERR_UNREACHABLE, ERR_TIMEOUT, ERR_CORRUPT) arrive by on_done, later.
 */
struct http_call *http_call_new(struct loop *l, const struct http_call_opts *o);
void http_cancel(struct http_call *c); /* no further callback */
/* Back-pressure: stops reading the body; what was read already (64 KiB at most) may still arrive.
 * The idle time-out rests meanwhile. */
void http_pause(struct http_call *c, bool paused);

#endif
