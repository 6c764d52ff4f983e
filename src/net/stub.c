/* Placeholders that let callers link while the module is being written. */
#include "net/http.h"
#include "net/sse.h"
#include "net/tunnel.h"
#include "net/download.h"

#include <stdlib.h>

int64_t http_parse_head(const char *p, size_t n, bool response, struct http_head *out, struct err *err)
{
    abort();
}
struct str http_find(const struct http_header *h, size_t n, const char *name)
{
    abort();
}
int64_t http_chunked_next(struct http_chunked *c, const char *in, size_t n, struct str *out, bool *done, struct err *err)
{
    abort();
}
struct http_server *http_server_new(struct loop *l, const struct http_server_opts *o, struct err *err)
{
    abort();
}
const char *http_server_addr(const struct http_server *s)
{
    abort();
}
void http_server_free(struct http_server *s)
{
    abort();
}
struct str http_req_method(const struct http_req *r)
{
    abort();
}
struct str http_req_path(const struct http_req *r)
{
    abort();
}
bool http_req_query(const struct http_req *r, const char *name, char *dst, size_t cap)
{
    abort();
}
struct str http_req_header(const struct http_req *r, const char *name)
{
    abort();
}
struct str http_req_body(const struct http_req *r)
{
    abort();
}
const char *http_req_peer(const struct http_req *r)
{
    abort();
}
const char *http_req_id(const struct http_req *r)
{
    abort();
}
struct loop *http_req_loop(const struct http_req *r)
{
    abort();
}
void http_req_on_close(struct http_req *r, void (*fn)(void *arg), void *arg)
{
    abort();
}
void http_add_header(struct http_req *r, const char *name, const char *value)
{
    abort();
}
void http_reply(struct http_req *r, int status, const char *content_type, const void *p, size_t n)
{
    abort();
}
void http_reply_json(struct http_req *r, int status, json_t *body )
{
    abort();
}
void http_reply_err(struct http_req *r, const struct err *err, const char *hint)
{
    abort();
}
void http_start(struct http_req *r, int status, const char *content_type)
{
    abort();
}
void http_write(struct http_req *r, const void *p, size_t n)
{
    abort();
}
void http_end(struct http_req *r)
{
    abort();
}
void http_abort(struct http_req *r)
{
    abort();
}
size_t http_pending(const struct http_req *r)
{
    abort();
}
void http_on_drain(struct http_req *r, void (*fn)(void *arg), void *arg)
{
    abort();
}
struct http_call *http_call_new(struct loop *l, const struct http_call_opts *o)
{
    abort();
}
void http_cancel(struct http_call *c)
{
    abort();
}
void http_pause(struct http_call *c, bool paused)
{
    abort();
}
void sse_init(struct sse_parser *s)
{
    abort();
}
void sse_done(struct sse_parser *s)
{
    abort();
}
int sse_feed(struct sse_parser *s, const char *p, size_t n, void (*fn)(void *arg, const struct sse_event *e), void *arg)
{
    abort();
}
void sse_format(struct buf *out, const char *event, const char *id, struct str data)
{
    abort();
}
struct tunnel_dial *tunnel_dial_new(struct loop *l, const char *addr, const struct tunnel_target *t, int64_t timeout_ms, void (*on_done)(void *arg, int fd, const struct err *err), void *arg)
{
    abort();
}
void tunnel_dial_cancel(struct tunnel_dial *d)
{
    abort();
}
struct tunnel_listener *tunnel_listen(struct loop *l, const struct tunnel_listener_opts *o, struct err *err)
{
    abort();
}
const char *tunnel_listener_addr(const struct tunnel_listener *t)
{
    abort();
}
void tunnel_drop(struct tunnel_listener *t, const char *replica)
{
    abort();
}
void tunnel_listener_free(struct tunnel_listener *t)
{
    abort();
}
struct tunnel_port *tunnel_port_new(struct loop *l, const char *peer_addr, const struct tunnel_target *t, uint16_t *port, struct err *err)
{
    abort();
}
void tunnel_port_free(struct tunnel_port *p)
{
    abort();
}
struct splice *splice_new(struct loop *l, int a, int b, void (*on_end)(void *arg), void *arg)
{
    abort();
}
void splice_free(struct splice *s)
{
    abort();
}
int net_free_port(uint16_t lo, uint16_t hi, uint16_t *port, struct err *err)
{
    abort();
}
int net_download(const struct download_opts *o, struct err *err)
{
    abort();
}
int net_sha256_file(const char *path, char hex[65], struct err *err)
{
    abort();
}
