/* A watch: one event stream kept open, with full jitter between tries and resume by id. */
#include "client/internal.h"

#include "base/mem.h"
#include "base/rng.h"
#include "net/sse.h"

#include <string.h>

enum {
    WAIT_MIN_MS = 200,
    WAIT_MAX_MS = 5000,
    /* Three missed heartbeats of the server (one each 15 s): the path is dead although TCP is not.
     */
    SILENCE_MS = 45000,
    FIRST_BYTE_MS = 15000,
    MAX_ERROR = 64 << 10,
    MAX_ID = 128,
};

struct client_watch {
    struct client *c;
    struct client_watch *next, **link;
    char *path;
    struct http_call *http;
    struct loop_timer *timer;
    struct sse_parser sse;
    struct buf error;
    char last_id[MAX_ID];
    int status;
    bool up, told;
    bool bad;  /* the peer sent an event that is no JSON */
    int busy;  /* callbacks of ours on the stack; the memory lives until the last has returned */
    bool dead; /* freed by its owner */
    uint32_t failures;
    struct rng rng;
    void (*fn)(void *arg, const char *event, const json_t *data);
    void (*on_state)(void *arg, bool up, const struct err *err);
    void *arg;
};

static void connect_now(void *arg);

static void tell(struct client_watch *w, bool up, const struct err *err)
{
    if (w->told && w->up == up)
        return;
    w->up = up;
    w->told = true;
    if (w->on_state)
        w->on_state(w->arg, up, err);
}

static void destroy(struct client_watch *w)
{
    sse_done(&w->sse);
    buf_done(&w->error);
    free(w->path);
    free(w);
}

/* Ends a callback of ours; false when the owner freed the watch inside. */
static bool leave(struct client_watch *w)
{
    bool alive = !w->dead;
    w->busy--;
    if (!alive && w->busy == 0)
        destroy(w);
    return alive;
}

void client_watch_free(struct client_watch *w)
{
    if (!w)
        return;
    if (w->http)
        http_cancel(w->http);
    loop_timer_del(w->timer);
    w->http = NULL;
    w->timer = NULL;
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    w->dead = true;
    if (w->busy == 0)
        destroy(w);
}

void client_watch_unlink_all(struct client *c)
{
    while (c->watches)
        client_watch_free(c->watches);
}

static void down(struct client_watch *w, const struct err *err)
{
    w->busy++;
    tell(w, false, err);
    if (!w->dead) {
        int64_t span = (int64_t)WAIT_MIN_MS << (w->failures < 5 ? w->failures : 5);
        if (span > WAIT_MAX_MS)
            span = WAIT_MAX_MS;
        w->failures++;
        w->timer = loop_timer_add(w->c->loop, 1 + (int64_t)rng_below(&w->rng, (uint64_t)span),
                                  connect_now, w);
    }
    leave(w);
}

static void on_event(void *arg, const struct sse_event *e)
{
    struct client_watch *w = arg;
    if (w->dead || w->bad)
        return;
    json_auto_t *data = e->data.n ? json_parse(e->data.p, e->data.n, NULL) : NULL;
    if (e->data.n && !data) {
        w->bad = true; /* a peer that sends no JSON is asked again from the start */
        return;
    }
    if (e->id.n && e->id.n < sizeof w->last_id)
        str_copyf(w->last_id, sizeof w->last_id, "%.*s", (int)e->id.n, e->id.p);
    mem_auto char *name = e->event.n ? mem_strndup(e->event.p, e->event.n) : mem_strdup("message");
    w->failures = 0;
    w->fn(w->arg, name, data);
}

static void on_head(void *arg, const struct http_head *h)
{
    struct client_watch *w = arg;
    w->status = h->status;
    if (h->status != 200)
        return;
    w->busy++;
    tell(w, true, NULL);
    leave(w);
}

static void on_body(void *arg, const char *p, size_t n)
{
    struct client_watch *w = arg;
    if (w->status != 200) {
        buf_add(&w->error, p, n);
        return;
    }
    w->busy++;
    int rc = sse_feed(&w->sse, p, n, on_event, w);
    bool bad = w->bad;
    if (!leave(w) || (rc == 0 && !bad))
        return;
    struct err err = {0};
    err_fill(&err, ERR_CORRUPT, "%.100s%.60s: %s", w->c->url, w->path,
             rc ? "an event is too long" : "an event is not JSON");
    http_cancel(w->http);
    w->http = NULL;
    down(w, &err);
}

static void on_done(void *arg, const struct err *transport)
{
    struct client_watch *w = arg;
    struct err err = {0};
    w->http = NULL;
    if (transport)
        client_explain(w->c, transport, &err);
    else if (w->status != 200)
        client_read_error(w->c, w->status, buf_str(&w->error), NULL, &err);
    else
        err_fill(&err, ERR_UNREACHABLE, "%.100s ended the watch", w->c->url);
    down(w, &err);
}

static void connect_now(void *arg)
{
    struct client_watch *w = arg;
    w->timer = NULL;
    w->status = 0;
    w->bad = false;
    buf_clear(&w->error);
    sse_done(&w->sse);
    sse_init(&w->sse);
    mem_auto char *full = client_path(w->c, w->path);
    mem_auto char *headers =
        mem_printf("%sAccept: text/event-stream\r\n%s%s%s", w->c->headers,
                   w->last_id[0] ? "Last-Event-ID: " : "", w->last_id, w->last_id[0] ? "\r\n" : "");
    w->http =
        http_call_new(w->c->loop, &(struct http_call_opts){.addr = w->c->addr,
                                                           .fd = -1,
                                                           .method = "GET",
                                                           .path = full,
                                                           .headers = headers,
                                                           .first_byte_timeout_ms = FIRST_BYTE_MS,
                                                           .idle_timeout_ms = SILENCE_MS,
                                                           .on_head = on_head,
                                                           .on_body = on_body,
                                                           .on_done = on_done,
                                                           .arg = w});
}

struct client_watch *client_watch_new(struct client *c, const char *path,
                                      void (*fn)(void *arg, const char *event, const json_t *data),
                                      void (*on_state)(void *arg, bool up, const struct err *err),
                                      void *arg)
{
    struct client_watch *w = mem_calloc(1, sizeof *w);
    w->c = c;
    w->path = mem_strdup(path);
    w->fn = fn;
    w->on_state = on_state;
    w->arg = arg;
    w->rng.state = rng_u64(&(struct rng){c->seed++});
    buf_init(&w->error, MAX_ERROR);
    sse_init(&w->sse);
    w->next = c->watches;
    w->link = &c->watches;
    if (w->next)
        w->next->link = &w->next;
    c->watches = w;
    w->timer = loop_timer_add(c->loop, 0, connect_now, w);
    return w;
}
