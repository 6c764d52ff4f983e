/* Health polling and the first generation. */
#include "worker/probe.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/http.h"
#include "net/sse.h"

#include <string.h>

enum {
    POLL_FIRST_MS = 50,
    POLL_MAX_MS = 500,
    POLL_ANSWER_MS = 5000,  /* a loading server answers at once; one that does not is asked again */
    SPEED_WINDOW_MS = 5000, /* a slow model is not kept busy longer than this */
    ERROR_BODY_MAX = 4096,
};

/* ignore_eos: random or badly converted models may want to end at once. */
static const char REQUEST[] = "{\"prompt\":\"Hello\",\"n_predict\":16,\"stream\":true,"
                              "\"temperature\":0,\"cache_prompt\":false,\"ignore_eos\":true}";

struct probe {
    struct loop *loop;
    uint16_t port;
    struct probe_events ev;
    struct http_call *call;
    struct loop_timer *timer;
    struct sse_parser sse;
    struct buf error_body;
    int status;
    int64_t poll_ms, asked_ms, first_ms;
    uint32_t n_events;
    double tok_s;
    bool *freed; /* set by probe_free when it runs inside a callback */
};

static void poll(void *arg);
static void generate(struct probe *p);

static struct http_call_opts options(struct probe *p, char addr[32])
{
    str_copyf(addr, 32, "127.0.0.1:%u", p->port);
    return (struct http_call_opts){.addr = addr, .fd = -1, .arg = p};
}

/* ---- health ---- */

static void health_head(void *arg, const struct http_head *h)
{
    struct probe *p = arg;
    p->status = h->status;
}

static void health_done(void *arg, const struct err *err)
{
    struct probe *p = arg;
    p->call = NULL;
    if (!err && p->status == 200) {
        bool freed = false;
        p->freed = &freed;
        p->ev.on_loaded(p->ev.arg);
        if (freed)
            return;
        p->freed = NULL;
        generate(p);
        return;
    }
    p->timer = loop_timer_add(p->loop, p->poll_ms, poll, p);
    p->poll_ms = p->poll_ms * 2 < POLL_MAX_MS ? p->poll_ms * 2 : POLL_MAX_MS;
}

static void poll(void *arg)
{
    struct probe *p = arg;
    char addr[32];
    struct http_call_opts o = options(p, addr);
    p->timer = NULL;
    p->status = 0;
    o.method = "GET";
    o.path = "/health";
    o.first_byte_timeout_ms = o.idle_timeout_ms = POLL_ANSWER_MS;
    o.on_head = health_head;
    o.on_done = health_done;
    p->call = http_call_new(p->loop, &o);
}

/* ---- the first generation ---- */

static void failed(struct probe *p, const struct err *why)
{
    p->ev.on_failed(p->ev.arg, why); /* may free p: nothing after it */
}

/* The speed by the engine's own clock, from the last event; else by ours. */
static void report_speed(struct probe *p)
{
    int64_t ms = loop_now_ms(p->loop) - p->first_ms;
    double tok_s = p->tok_s;
    if (tok_s <= 0 && p->n_events > 1 && ms > 0)
        tok_s = (p->n_events - 1) * 1000.0 / (double)ms;
    if (tok_s > 0)
        p->ev.on_speed(p->ev.arg, tok_s); /* may free p */
}

static void on_event(void *arg, const struct sse_event *e)
{
    struct probe *p = arg;
    json_auto_t *doc = json_parse(e->data.p, e->data.n, NULL);
    if (json_object_get(doc, "error")) { /* a stream that begins with an error is no proof */
        buf_add(&p->error_body, e->data.p, e->data.n);
        return;
    }
    const json_t *timings = json_object_get(doc, "timings");
    double n = json_number_value(json_object_get(timings, "predicted_n"));
    if (n > 1)
        p->tok_s = json_number_value(json_object_get(timings, "predicted_per_second"));
    p->n_events++;
}

static void speed_over(void *arg)
{
    struct probe *p = arg;
    p->timer = NULL;
    http_cancel(STEAL(p->call));
    report_speed(p);
}

static void gen_body(void *arg, const char *data, size_t n)
{
    struct probe *p = arg;
    if (p->status != 200) {
        buf_add(&p->error_body, data, n);
        return;
    }
    bool had = p->n_events > 0;
    sse_feed(&p->sse, data, n, on_event, p);
    if (had || p->n_events == 0)
        return;
    p->first_ms = loop_now_ms(p->loop);
    p->timer = loop_timer_add(p->loop, SPEED_WINDOW_MS, speed_over, p);
    p->ev.on_token(p->ev.arg, (uint64_t)(p->first_ms - p->asked_ms));
}

static void gen_done(void *arg, const struct err *err)
{
    struct probe *p = arg;
    struct err why = {0};
    p->call = NULL;
    loop_timer_del(STEAL(p->timer));
    if (p->n_events > 0) {
        report_speed(p);
        return;
    }
    if (p->status != 200 ? p->status != 0 : p->error_body.n > 0)
        err_fill(&why, ERR_UNSUPPORTED, "the engine loaded but does not generate: status %d %.140s",
                 p->status, p->error_body.p ? p->error_body.p : "");
    else
        err_fill(&why, ERR_UNAVAILABLE, "the engine loaded but gave no token: %.150s",
                 err ? err->msg : "an empty answer");
    failed(p, &why);
}

static void generate(struct probe *p)
{
    char addr[32];
    struct http_call_opts o = options(p, addr);
    p->status = 0;
    p->asked_ms = loop_now_ms(p->loop);
    o.method = "POST";
    o.path = "/completion";
    o.body = REQUEST;
    o.body_n = sizeof REQUEST - 1;
    o.on_head = health_head;
    o.on_body = gen_body;
    o.on_done = gen_done;
    p->call = http_call_new(p->loop, &o);
}

struct probe *probe_new(struct loop *l, uint16_t port, const struct probe_events *ev)
{
    struct probe *p = mem_calloc(1, sizeof *p);
    p->loop = l;
    p->port = port;
    p->ev = *ev;
    p->poll_ms = POLL_FIRST_MS;
    sse_init(&p->sse);
    buf_init(&p->error_body, ERROR_BODY_MAX);
    p->timer = loop_timer_add(l, POLL_FIRST_MS, poll, p);
    return p;
}

void probe_free(struct probe *p)
{
    if (!p)
        return;
    if (p->freed)
        *p->freed = true;
    loop_timer_del(p->timer);
    if (p->call)
        http_cancel(p->call);
    sse_done(&p->sse);
    buf_done(&p->error_body);
    free(p);
}
