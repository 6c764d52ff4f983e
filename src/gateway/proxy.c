/* One proxied request. */
#include "gateway/proxy.h"

#include "base/mem.h"
#include "gateway/answer.h"
#include "net/tunnel.h"
#include "os/file.h"

#include <string.h>

enum {
    DIAL_MS = 5000,
    /* A long prompt on a slow device is minutes of silence before the first token, and a generation
     * that is not streamed is silent until its end; what ends them earlier is the client. */
    FIRST_BYTE_MS = 60 * 60 * 1000,
    IDLE_MS = 10 * 60 * 1000,
    SUSPECT_MS = 3000,
    GRACE_MS =
        200, /* the news that a model is ready may be on its way here when its first request is */
    MAX_HELD = 8 << 20,     /* an answer that is not streamed is held so far, and can be retried */
    MAX_EVENT = 1 << 20,    /* a longer event is passed on in pieces */
    HIGH_WATER = 256 << 10, /* waiting for a slow client: then the engine is not read any more */
};

struct proxy {
    struct proxy_pool *pool;
    struct proxy *next, **link;
    struct http_req *r;
    char model[CLUSTER_NAME];
    const char *path;
    struct endpoint *now;    /* counted, until released */
    struct endpoint **tried; /* held, so that none can come back under another name */
    size_t n_tried, cap_tried;
    struct tunnel_dial *dial;
    struct http_call *call;
    struct loop_timer *grace;
    int status;
    char type[128]; /* content type of the engine's answer */
    bool sse, started, paused, done_seen, error_seen, waited;
    struct buf held; /* not SSE: the answer so far; SSE: the event not yet whole */
};

static void attempt(struct proxy *p);

/* ---- life ---- */

static void drop_attempt(struct proxy *p)
{
    if (p->dial)
        tunnel_dial_cancel(p->dial);
    if (p->call)
        http_cancel(p->call);
    p->dial = NULL;
    p->call = NULL;
    routes_release(p->now);
    p->now = NULL;
}

static void proxy_free(struct proxy *p)
{
    loop_timer_del(p->grace);
    drop_attempt(p);
    for (size_t i = 0; i < p->n_tried; i++)
        endpoint_unref(p->tried[i]);
    free(p->tried);
    buf_done(&p->held);
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    free(p);
}

static void finish(struct proxy *p, enum outcome how)
{
    p->pool->outcomes[how]++;
    proxy_free(p);
}

static void on_close(void *arg)
{
    finish(arg, OUTCOME_CLIENT_ABORT);
}

/* The answer before the first byte. */
static void refuse(struct proxy *p, const struct answer *a)
{
    answer_send(p->r, a);
    finish(p, OUTCOME_ERROR_RESPONSE);
}

/* ---- the client's side ---- */

static void on_drain(void *arg)
{
    struct proxy *p = arg;
    p->paused = false;
    if (p->call)
        http_pause(p->call, false);
}

static void pass(struct proxy *p, const char *bytes, size_t n)
{
    if (n == 0)
        return;
    if (!p->started) {
        http_add_header(p->r, "cache-control", "no-cache");
        http_add_header(p->r, "x-accel-buffering", "no");
        http_start(p->r, 200, p->type);
        p->started = true;
    }
    http_write(p->r, bytes, n);
    if (!p->paused && p->call && http_pending(p->r) > HIGH_WATER) {
        p->paused = true;
        http_pause(p->call, true);
        http_on_drain(p->r, on_drain, p);
    }
}

/* Whole events: what ends a stream well, or says that the engine gave up, stands at a line's start.
 */
static void note_events(struct proxy *p, const char *bytes, size_t n)
{
    static const char done[] = "data: [DONE]", error[] = "data: {\"error\"", old[] = "error: {";
    for (const char *line = bytes, *end = bytes + n; line < end;) {
        size_t left = (size_t)(end - line);
        if (left >= sizeof done - 1 && memcmp(line, done, sizeof done - 1) == 0)
            p->done_seen = true;
        else if ((left >= sizeof error - 1 && memcmp(line, error, sizeof error - 1) == 0) ||
                 (left >= sizeof old - 1 && memcmp(line, old, sizeof old - 1) == 0))
            p->error_seen = true;
        const char *nl = memchr(line, '\n', left);
        line = nl ? nl + 1 : end;
    }
}

/* Bytes up to the end of the last whole event: an empty line ends one. */
static size_t whole_events(const char *p, size_t n)
{
    for (size_t i = n; i >= 2; i--) {
        if (p[i - 1] != '\n')
            continue;
        if (p[i - 2] == '\n' || (i >= 3 && p[i - 2] == '\r' && p[i - 3] == '\n'))
            return i;
    }
    return 0;
}

static void pass_events(struct proxy *p, const char *bytes, size_t n)
{
    /* The usual case copies nothing: the engine writes one whole event at a time. */
    if (p->held.n == 0) {
        size_t whole = whole_events(bytes, n);
        note_events(p, bytes, whole);
        pass(p, bytes, whole);
        buf_add(&p->held, bytes + whole, n - whole);
        return;
    }
    if (p->held.n + n > MAX_EVENT) {
        pass(p, p->held.p, p->held.n);
        buf_clear(&p->held);
        pass(p, bytes, n);
        return;
    }
    buf_add(&p->held, bytes, n);
    size_t whole = whole_events(p->held.p, p->held.n);
    note_events(p, p->held.p, whole);
    pass(p, p->held.p, whole);
    buf_drop(&p->held, whole);
}

/* ---- the end of an attempt ---- */

static void broken_stream(struct proxy *p)
{
    if (!p->sse) {
        http_abort(p->r); /* a cut transfer is the only thing left to say */
    } else {
        if (!p->error_seen) {
            struct answer a = {.status = 502, .code = "upstream_died"};
            str_copyf(a.message, sizeof a.message,
                      "The engine of '%s' ended in the middle of the answer", p->model);
            json_auto_t *doc = answer_tree(&a);
            mem_auto char *text = json_text(doc);
            mem_auto char *event = mem_printf("data: %s\n\n", text);
            http_write(p->r, event, strlen(event));
        }
        http_end(p->r);
    }
    finish(p, OUTCOME_ERROR_EVENT);
}

/* The attempt came to nothing: on to another endpoint while the client has seen no byte. */
static void failed(struct proxy *p, const char *why)
{
    log_line(LOG_WARN, "upstream failed request=%s model=%s replica=%s started=%d error=\"%s\"",
             http_req_id(p->r), p->model, p->now->api.replica, p->started, why);
    p->now->suspect_until = loop_now_ms(p->pool->loop) + SUSPECT_MS;
    drop_attempt(p);
    if (p->started) {
        broken_stream(p);
        return;
    }
    buf_clear(&p->held);
    p->pool->retries++;
    attempt(p);
}

static void answer_whole(struct proxy *p)
{
    if (p->status >= 200 && p->status < 300) {
        http_reply(p->r, p->status, p->type, p->held.p, p->held.n);
        finish(p, OUTCOME_COMPLETE);
        return;
    }
    struct answer a;
    answer_of_engine(p->status, buf_str(&p->held), p->model, &a);
    if (a.param && !strstr(p->path, "/chat/"))
        a.param = strstr(p->path, "/embeddings") ? "input" : "prompt";
    refuse(p, &a);
}

static void on_call_done(void *arg, const struct err *err)
{
    struct proxy *p = arg;
    p->call = NULL;
    if (p->sse && p->done_seen) {
        http_end(p->r); /* whatever befell the connection after the last event */
        finish(p, OUTCOME_COMPLETE);
    } else if (err) {
        failed(p, err->msg);
    } else if (p->sse) {
        failed(p, "the stream ended without [DONE]");
    } else if (!p->sse && p->status == 503) {
        failed(p, "the engine is still loading");
    } else if (p->started) {
        http_end(p->r);
        finish(p, OUTCOME_COMPLETE);
    } else {
        answer_whole(p);
    }
}

/* ---- the engine's side ---- */

static void on_head(void *arg, const struct http_head *h)
{
    struct proxy *p = arg;
    struct str type = http_find(h->headers, h->n_headers, "content-type");
    p->status = h->status;
    str_copyf(p->type, sizeof p->type, "%.*s", (int)(type.p ? type.n : 0), type.p ? type.p : "");
    if (!p->type[0])
        STR_COPY(p->type, "application/json");
    p->sse = h->status == 200 && strncmp(p->type, "text/event-stream", 17) == 0;
}

static void on_body(void *arg, const char *bytes, size_t n)
{
    struct proxy *p = arg;
    if (p->sse) {
        pass_events(p, bytes, n);
    } else if (p->started) {
        pass(p, bytes, n);
    } else if (p->held.n + n <= MAX_HELD) {
        buf_add(&p->held, bytes, n);
    } else if (p->status == 200) {
        pass(p, p->held.p, p->held.n);
        buf_clear(&p->held);
        pass(p, bytes, n);
    } /* an error text of that length is cut */
}

/* traceparent is passed on when it is well-formed, since headers are rebuilt and never relayed raw.
 */
static bool is_traceparent(struct str v)
{
    if (v.n != 55)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        bool dash = i == 2 || i == 35 || i == 52;
        if (dash ? v.p[i] != '-' : !strchr("0123456789abcdef", v.p[i]) || !v.p[i])
            return false;
    }
    return true;
}

static void on_dialled(void *arg, int fd, const struct err *err)
{
    struct proxy *p = arg;
    p->dial = NULL;
    if (fd < 0) {
        failed(p, err->msg);
        return;
    }
    struct str trace = http_req_header(p->r, "traceparent"), body = http_req_body(p->r);
    bool traced = trace.p && is_traceparent(trace);
    mem_auto char *headers =
        mem_printf("x-request-id: %s\r\n%s%.*s%s", http_req_id(p->r), traced ? "traceparent: " : "",
                   traced ? 55 : 0, traced ? trace.p : "", traced ? "\r\n" : "");
    p->call = http_call_new(p->pool->loop,
                            &(struct http_call_opts){.addr = "",
                                                     .fd = fd,
                                                     .method = "POST",
                                                     .path = p->path,
                                                     .headers = headers,
                                                     .body = body.p,
                                                     .body_n = body.n,
                                                     .first_byte_timeout_ms = FIRST_BYTE_MS,
                                                     .idle_timeout_ms = IDLE_MS,
                                                     .on_head = on_head,
                                                     .on_body = on_body,
                                                     .on_done = on_call_done,
                                                     .arg = p});
}

static void on_grace(void *arg)
{
    struct proxy *p = arg;
    p->grace = NULL;
    attempt(p);
}

static void nothing_left(struct proxy *p)
{
    if (!p->n_tried && !p->waited) {
        p->waited = true;
        p->grace = loop_timer_add(p->pool->loop, GRACE_MS, on_grace, p);
        return;
    }
    const struct api_route *m = routes_model(p->pool->routes, p->model);
    struct answer a = {.status = 502, .code = "upstream_failed", .retry_s = 1};
    if (p->n_tried)
        str_copyf(a.message, sizeof a.message,
                  "All %zu replicas of '%s' that were ready failed to answer", p->n_tried,
                  p->model);
    else if (m)
        answer_not_ready(m, &a);
    else
        str_copyf(a.message, sizeof a.message, "The model '%s' was just removed", p->model);
    refuse(p, &a);
}

static void attempt(struct proxy *p)
{
    p->status = 0;
    p->now =
        routes_pick(p->pool->routes, p->model, p->tried, p->n_tried, loop_now_ms(p->pool->loop));
    if (!p->now) {
        nothing_left(p);
        return;
    }
    mem_grow(&p->tried, &p->cap_tried, p->n_tried + 1, sizeof(struct endpoint *));
    p->tried[p->n_tried++] = p->now;
    p->now->refs++;
    const struct api_endpoint *e = &p->now->api;
    struct tunnel_target target = {.generation = e->generation, .service = TUNNEL_HTTP};
    STR_COPY(target.replica, e->replica);
    STR_COPY(target.member, e->node_id);
    STR_COPY(target.secret, e->secret);
    p->dial = tunnel_dial_new(p->pool->loop, e->addr, &target, DIAL_MS, on_dialled, p);
}

void proxy_start(struct proxy_pool *pool, struct http_req *r, const char *model,
                 const char *upstream_path)
{
    struct proxy *p = mem_calloc(1, sizeof *p);
    p->pool = pool;
    p->r = r;
    p->path = upstream_path;
    STR_COPY(p->model, model);
    buf_init(&p->held, MAX_HELD);
    p->next = pool->first;
    p->link = &pool->first;
    if (p->next)
        p->next->link = &p->next;
    pool->first = p;
    http_req_on_close(r, on_close, p);
    attempt(p);
}

void proxy_drop_all(struct proxy_pool *pool)
{
    while (pool->first)
        proxy_free(pool->first);
}
