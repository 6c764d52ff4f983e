/* Requests as handlers see them, and replies. */
#include "net/http_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "os/file.h"

/* ---- the request ---- */

struct str http_req_method(const struct http_req *r)
{
    return r->method;
}

struct str http_req_path(const struct http_req *r)
{
    return str_of(r->path);
}

bool http_req_query(const struct http_req *r, const char *name, char *dst, size_t cap)
{
    return url_query(r->query, name, dst, cap);
}

struct str http_req_header(const struct http_req *r, const char *name)
{
    return http_find(r->headers, r->n_headers, name);
}

struct str http_req_body(const struct http_req *r)
{
    return buf_str(&r->body);
}

const char *http_req_peer(const struct http_req *r)
{
    return r->peer;
}

const char *http_req_id(const struct http_req *r)
{
    return r->id;
}

static void close_orphan(void *arg)
{
    struct http_req *r = arg;
    if (r->freeing || !r->on_close)
        return;
    r->on_close(r->close_arg);
    req_release(r);
}

void http_req_on_close(struct http_req *r, void (*fn)(void *arg), void *arg)
{
    r->on_close = fn;
    r->close_arg = arg;
    if (!r->conn && fn && !r->ended)
        loop_defer(r->loop, close_orphan, r); /* went away while nobody listened */
}

/* ---- heads ---- */

static const struct {
    int status;
    const char *text;
} STATUSES[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(STATUSES); i++)
        if (STATUSES[i].status == status)
            return STATUSES[i].text;
    return "Status";
}

static bool header_safe(const char *s, bool name)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f || (name && (*s == ':' || *s == ' ')))
            return *s == '\t' && !name;
    return true;
}

void http_add_header(struct http_req *r, const char *name, const char *value)
{
    /* A value can hold foreign text (a model's name); a header it would split is left out whole. */
    bool ok = *name && header_safe(name, true) && header_safe(value, false);
    if (ok)
        buf_addf(&r->extra, "%s: %s\r\n", name, value);
    if (!ok || r->extra.full)
        log_line(LOG_ERROR, "http_header_dropped id=%s name=%s next=reply_without_it", r->id, name);
}

static bool is_json(const char *content_type)
{
    return content_type && strncmp(content_type, "application/json", 16) == 0;
}

static void add_common(struct buf *b, const char *content_type)
{
    if (content_type)
        buf_addf(b, "content-type: %s\r\n", content_type);
    buf_adds(b, "x-content-type-options: nosniff\r\n");
    if (is_json(content_type))
        buf_adds(b, "cache-control: no-store\r\n");
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

/* `length` < 0: a stream. */
static void add_head(struct buf *b, struct http_req *r, int status, const char *content_type,
                     int64_t length)
{
    if (length < 0 && r->http10)
        r->keep_alive = false; /* only the end of the connection can end such a body */
    if (!r->keep_alive && r->conn)
        r->conn->close_after = true;
    buf_addf(b, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    add_common(b, content_type);
    buf_addf(b, "x-request-id: %s\r\n", r->id);
    if (length >= 0 && !has_no_body(status))
        buf_addf(b, "content-length: %lld\r\n", (long long)length);
    else if (length < 0 && !r->http10)
        buf_adds(b, "transfer-encoding: chunked\r\n");
    if (!r->keep_alive)
        buf_adds(b, "connection: close\r\n");
    else if (r->http10)
        buf_adds(b, "connection: keep-alive\r\n");
    buf_add(b, r->extra.p, r->extra.n);
    buf_adds(b, "\r\n");
}

/* ---- whole replies ---- */

static void finish(struct http_req *r)
{
    r->ended = true;
    if (r->conn)
        conn_reply_ended(r->conn);
    else
        req_release(r);
}

void http_reply(struct http_req *r, int status, const char *content_type, const void *p, size_t n)
{
    assert(!r->started && !r->ended);
    r->started = true;
    if (r->conn) {
        buf_auto struct buf head;
        buf_init(&head, 32768);
        add_head(&head, r, status, content_type, (int64_t)n);
        bool body = n && !r->head_only && !has_no_body(status);
        struct iovec iov[] = {{head.p, head.n}, {(void *)p, n}};
        conn_send(r->conn, iov, body ? 2 : 1);
    }
    finish(r);
}

void http_reply_json(struct http_req *r, int status, json_t *body)
{
    mem_auto char *text = json_text(body);
    json_decref(body);
    http_reply(r, status, "application/json", text, strlen(text));
}

static json_t *error_json(const struct err *err, const char *hint)
{
    json_t *root = json_object(), *e = json_put_object(root, "error");
    json_put_str(e, "code", err_info(err->code)->name);
    json_put_str(e, "message", err->msg);
    if (hint)
        json_put_str(e, "hint", hint);
    else
        json_object_set_new(e, "hint", json_null());
    json_put_object(e, "params");
    return root;
}

void http_reply_err(struct http_req *r, const struct err *err, const char *hint)
{
    int status = err_info(err->code)->http;
    if (status == 401)
        http_add_header(r, "www-authenticate", "Bearer");
    http_reply_json(r, status, error_json(err, hint));
}

void http_error_page(struct buf *out, int status, const struct err *err)
{
    json_auto_t *body = error_json(err, NULL);
    mem_auto char *text = json_text(body);
    buf_addf(out, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
    add_common(out, "application/json");
    buf_addf(out, "content-length: %zu\r\nconnection: close\r\n\r\n%s", strlen(text), text);
}

/* ---- streams ---- */

void http_start(struct http_req *r, int status, const char *content_type)
{
    assert(!r->started && !r->ended);
    r->started = true;
    r->chunked_reply = !r->http10;
    if (!r->conn)
        return;
    buf_auto struct buf head;
    buf_init(&head, 32768);
    add_head(&head, r, status, content_type, -1);
    conn_send(r->conn, &(struct iovec){head.p, head.n}, 1);
}

void http_write(struct http_req *r, const void *p, size_t n)
{
    assert(r->started && !r->ended);
    if (!r->conn || !n || r->head_only)
        return;
    if (conn_pending(r->conn) > 0 && conn_pending(r->conn) + n > HTTP_MAX_PENDING) {
        conn_outrun(r->conn);
        return;
    }
    char size[24];
    str_copyf(size, sizeof size, "%zx\r\n", n);
    struct iovec iov[] = {{size, strlen(size)}, {(void *)p, n}, {(char *)"\r\n", 2}};
    if (r->chunked_reply)
        conn_send(r->conn, iov, 3);
    else
        conn_send(r->conn, iov + 1, 1);
}

void http_end(struct http_req *r)
{
    assert(r->started && !r->ended);
    if (r->conn && r->chunked_reply && !r->head_only)
        conn_send(r->conn, &(struct iovec){(char *)"0\r\n\r\n", 5}, 1);
    finish(r);
}

void http_abort(struct http_req *r)
{
    struct conn *c = r->conn;
    r->ended = true;
    if (!c) {
        req_release(r);
        return;
    }
    if (r->started && !r->chunked_reply && !r->head_only) {
        /* Without chunks a plain close would look like the end of the body: reset instead. */
        struct linger reset = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    conn_break(c);
}

size_t http_pending(const struct http_req *r)
{
    return r->conn ? conn_pending(r->conn) : 0;
}

void http_on_drain(struct http_req *r, void (*fn)(void *arg), void *arg)
{
    r->on_drain = fn;
    r->drain_arg = arg;
    if (r->conn && fn && !conn_pending(r->conn))
        conn_wake(r->conn);
}
