/* The client, its calls on a loop, and the blocking face over them. */
#include "client/internal.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"

#include <string.h>

enum {
    CALL_MAX_ANSWER = 64 << 20, /* as JSON_BYTES_MAX */
    CALL_MAX_ERROR = 64 << 10,  /* of a refused stream's body that is read for its message */
    MAX_KEY = 512,
};

struct client_call {
    struct client *c;
    struct client_call *next, **link;
    struct http_call *http;
    struct loop_timer *timer;
    int64_t timeout_ms;
    int status;
    struct buf body;
    char *text; /* request body */
    void (*fn)(void *arg, const json_t *doc, const struct err *err);
    bool (*span)(void *arg, const char *p, size_t n); /* streams: a good answer goes here */
    void *arg;
    char *hint;
};

/* "http://host:port/prefix" into addr and prefix. */
static int parse_url(struct client *c, struct err *err)
{
    static const char scheme[] = "http://";
    if (strncmp(c->url, scheme, sizeof scheme - 1) != 0)
        return err_set(err, ERR_INVALID, "server address '%.120s' must start with http://", c->url);
    const char *host = c->url + sizeof scheme - 1;
    size_t n = strcspn(host, "/");
    if (n == 0 || n > 200 || strcspn(host, " \t\r\n@?#") < n)
        return err_set(err, ERR_INVALID, "server address '%.120s' names no host", c->url);
    const char *bracket = memchr(host, ']', n);
    const char *colon =
        memchr(bracket ? bracket : host, ':', bracket ? n - (size_t)(bracket - host) : n);
    if (colon) {
        mem_auto char *port = mem_strndup(colon + 1, n - (size_t)(colon + 1 - host));
        uint64_t number;
        if (num_u64(port, "port of the server address", 1, 65535, &number, err))
            return -1;
        c->addr = mem_strndup(host, n);
    } else {
        c->addr = mem_printf("%.*s:80", (int)n, host);
    }
    size_t rest = strlen(host + n);
    while (rest && host[n + rest - 1] == '/')
        rest--;
    c->prefix = mem_strndup(host + n, rest);
    return 0;
}

static int check_key(const char *key, struct err *err)
{
    size_t n = strlen(key);
    if (n > MAX_KEY)
        return err_set(err, ERR_INVALID, "the key has %zu characters, at most %d are possible", n,
                       MAX_KEY);
    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return err_set(err, ERR_INVALID, "the key has a character that no key has, at %zu",
                           i + 1);
    return 0;
}

struct client *client_new(struct loop *l, const char *url, const char *key, struct err *err)
{
    struct client *c = mem_calloc(1, sizeof *c);
    c->url = mem_strdup(url);
    if (parse_url(c, err) || (key && check_key(key, err))) {
        client_free(c);
        return NULL;
    }
    c->headers = key && *key ? mem_printf("Authorization: Bearer %s\r\n", key) : mem_strdup("");
    os_random(&c->seed, sizeof c->seed);
    c->loop = l;
    if (!l) {
        c->own_loop = true;
        c->loop = loop_new(err);
        if (!c->loop) {
            client_free(c);
            return NULL;
        }
    }
    return c;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    while (c->calls)
        client_call_cancel(c->calls);
    client_watch_unlink_all(c);
    if (c->own_loop)
        loop_free(c->loop);
    free(c->url);
    free(c->addr);
    free(c->prefix);
    free(c->headers);
    free(c);
}

char *client_path(const struct client *c, const char *path)
{
    return mem_printf("%s%s", c->prefix, path);
}

void client_explain(const struct client *c, const struct err *from, struct err *err)
{
    if (from->code == ERR_UNREACHABLE)
        err_fill(err, ERR_UNREACHABLE,
                 "no answer from %.100s (%.60s): is it running? stowage serve", c->url, from->msg);
    else
        err_fill(err, from->code, "%s: %.160s", c->url, from->msg);
}

static enum err_code code_of_status(int status)
{
    switch (status) {
    case 401:
        return ERR_AUTH;
    case 403:
        return ERR_FORBIDDEN;
    case 404:
        return ERR_NOT_FOUND;
    case 409:
        return ERR_CONFLICT;
    case 413:
        return ERR_LIMIT;
    case 422:
        return ERR_UNSUPPORTED;
    case 502:
        return ERR_UNREACHABLE;
    case 503:
        return ERR_UNAVAILABLE;
    case 504:
        return ERR_TIMEOUT;
    default:
        return status >= 400 && status < 500 ? ERR_INVALID : ERR_INTERNAL;
    }
}

void client_read_error(const struct client *c, int status, struct str body, char *hint,
                       struct err *err)
{
    json_auto_t *doc = body.n ? json_parse(body.p, body.n, NULL) : NULL;
    const json_t *e = json_is_object(doc) ? json_object_get(doc, "error") : NULL;
    const char *message = json_string_value(json_object_get(e, "message"));
    const char *code = json_string_value(json_object_get(e, "code"));
    const char *said = json_string_value(json_object_get(e, "hint"));
    if (hint && said)
        str_copy(hint, 240, said);
    if (!message) {
        err_fill(err, code_of_status(status), "%.100s answered with status %d and no reason",
                 c->url, status);
        return;
    }
    /* /v1 answers in OpenAI's shape, whose codes are others: then the status decides. */
    enum err_code known = err_by_name(code);
    bool ours = known != ERR_INTERNAL || (code && strcmp(code, "INTERNAL") == 0);
    err_fill(err, ours ? known : code_of_status(status), "%s", message);
}

/* ---- calls ---- */

static void call_free(struct client_call *call)
{
    loop_timer_del(call->timer);
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    buf_done(&call->body);
    free(call->text);
    free(call);
}

void client_call_cancel(struct client_call *call)
{
    if (!call)
        return;
    if (call->http)
        http_cancel(call->http);
    call_free(call);
}

/* The last thing a call does: frees itself, then tells. */
static void call_finish(struct client_call *call, const json_t *doc, const struct err *err)
{
    void (*fn)(void *, const json_t *, const struct err *) = call->fn;
    void *arg = call->arg;
    call_free(call);
    fn(arg, doc, err);
}

static void on_head(void *arg, const struct http_head *h)
{
    struct client_call *call = arg;
    call->status = h->status;
}

static bool good(const struct client_call *call)
{
    return call->status >= 200 && call->status < 300;
}

static void on_body(void *arg, const char *p, size_t n)
{
    struct client_call *call = arg;
    if (!call->span || !good(call)) {
        buf_add(&call->body, p, n);
    } else if (!call->span(call->arg, p, n)) {
        http_cancel(call->http);
        call->http = NULL;
        call_finish(call, NULL, NULL); /* a stream that its reader left is no failure */
    }
}

static void on_done(void *arg, const struct err *transport)
{
    struct client_call *call = arg;
    struct err e = {0};
    json_auto_t *doc = NULL;
    call->http = NULL;
    if (transport)
        client_explain(call->c, transport, &e);
    else if (!good(call))
        client_read_error(call->c, call->status, buf_str(&call->body), call->hint, &e);
    else if (call->body.full)
        err_fill(&e, ERR_LIMIT, "the answer of %.100s is longer than %d bytes", call->c->url,
                 CALL_MAX_ANSWER);
    else if (call->body.n && !(doc = json_parse(call->body.p, call->body.n, &e)))
        err_wrap(&e, "answer of %.100s", call->c->url);
    call_finish(call, doc, e.code ? &e : NULL);
}

static void on_timeout(void *arg)
{
    struct client_call *call = arg;
    struct err e = {0};
    call->timer = NULL;
    err_fill(&e, ERR_TIMEOUT, "%.100s did not answer within %lld ms", call->c->url,
             (long long)call->timeout_ms);
    http_cancel(call->http);
    call->http = NULL;
    call_finish(call, NULL, &e);
}

static struct client_call *start(struct client *c, const struct client_call *like,
                                 const char *method, const char *path, const json_t *body)
{
    struct client_call *call = mem_calloc(1, sizeof *call);
    *call = *like;
    call->c = c;
    call->next = c->calls;
    call->link = &c->calls;
    if (call->next)
        call->next->link = &call->next;
    c->calls = call;
    buf_init(&call->body, call->span ? CALL_MAX_ERROR : CALL_MAX_ANSWER);
    call->text = body ? json_text(body) : NULL;
    mem_auto char *full = client_path(c, path);
    call->http = http_call_new(
        c->loop, &(struct http_call_opts){.addr = c->addr,
                                          .fd = -1,
                                          .method = method,
                                          .path = full,
                                          .headers = c->headers,
                                          .body = call->text,
                                          .body_n = call->text ? strlen(call->text) : 0,
                                          .on_head = on_head,
                                          .on_body = on_body,
                                          .on_done = on_done,
                                          .arg = call});
    if (call->timeout_ms > 0)
        call->timer = loop_timer_add(c->loop, call->timeout_ms, on_timeout, call);
    return call;
}

struct client_call *client_send(struct client *c, const char *method, const char *path,
                                const json_t *body, int64_t timeout_ms,
                                void (*fn)(void *arg, const json_t *doc, const struct err *err),
                                void *arg)
{
    return start(c, &(struct client_call){.fn = fn, .arg = arg, .timeout_ms = timeout_ms}, method,
                 path, body);
}

/* ---- blocking ---- */

struct waiting {
    struct loop *loop;
    bool done;
    json_t *doc;
    struct err err;
    bool (*fn)(void *arg, const char *p, size_t n);
    void *arg;
};

static void wait_done(void *arg, const json_t *doc, const struct err *err)
{
    struct waiting *w = arg;
    w->done = true;
    w->doc = doc ? json_incref((json_t *)doc) : NULL;
    if (err)
        w->err = *err;
    loop_stop(w->loop);
}

static bool wait_span(void *arg, const char *p, size_t n)
{
    struct waiting *w = arg;
    return w->fn(w->arg, p, n);
}

static int wait_for(struct client *c, struct waiting *w, struct err *err)
{
    if (!c->own_loop)
        return err_set(err, ERR_INTERNAL, "a blocking call on a client that belongs to a loop");
    while (!w->done)
        if (loop_run(c->loop, err))
            return -1;
    if (w->err.code) {
        if (err)
            *err = w->err;
        json_decref(w->doc);
        return -1;
    }
    return 0;
}

enum { BLOCKING_TIMEOUT_MS = 120000 };

int client_do(struct client *c, const char *method, const char *path, const json_t *body,
              json_t **out, char hint[240], struct err *err)
{
    struct waiting w = {.loop = c->loop};
    if (hint)
        hint[0] = 0;
    if (c->own_loop)
        start(c,
              &(struct client_call){
                  .fn = wait_done, .arg = &w, .hint = hint, .timeout_ms = BLOCKING_TIMEOUT_MS},
              method, path, body);
    if (wait_for(c, &w, err))
        return -1;
    if (out)
        *out = w.doc;
    else
        json_decref(w.doc);
    return 0;
}

int client_stream(struct client *c, const char *method, const char *path, const json_t *body,
                  bool (*fn)(void *arg, const char *p, size_t n), void *arg, struct err *err)
{
    struct waiting w = {.loop = c->loop, .fn = fn, .arg = arg};
    if (c->own_loop)
        start(c, &(struct client_call){.fn = wait_done, .span = wait_span, .arg = &w}, method, path,
              body);
    return wait_for(c, &w, err);
}
