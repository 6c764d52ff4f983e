/* Harness of the server's tests. */
#include "server/test_world.h"

#include "base/mem.h"
#include "base/num.h"
#include "os/file.h"

#include <fcntl.h>
#include <unistd.h>

/* ---- a model file: a llama of one layer; weights are a hole ---- */

static void put_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof v);
}
static void put_u64(struct buf *b, uint64_t v)
{
    buf_add(b, &v, sizeof v);
}
static void put_text(struct buf *b, const char *s)
{
    put_u64(b, strlen(s));
    buf_adds(b, s);
}
static void put_kv_u32(struct buf *b, const char *key, uint32_t v)
{
    put_text(b, key);
    put_u32(b, 4);
    put_u32(b, v);
}

static void write_model(const char *path)
{
    enum { EMBD = 64, VOCAB = 32, F16 = 1 };
    static const struct {
        const char *name;
        uint64_t a, b;
    } TENSORS[] = {
        {"token_embd.weight", EMBD, VOCAB},  {"output.weight", EMBD, VOCAB},
        {"output_norm.weight", EMBD, 1},     {"blk.0.attn_norm.weight", EMBD, 1},
        {"blk.0.attn_q.weight", EMBD, EMBD}, {"blk.0.attn_k.weight", EMBD, EMBD},
        {"blk.0.attn_v.weight", EMBD, EMBD}, {"blk.0.attn_output.weight", EMBD, EMBD},
        {"blk.0.ffn_norm.weight", EMBD, 1},  {"blk.0.ffn_gate.weight", EMBD, EMBD},
        {"blk.0.ffn_up.weight", EMBD, EMBD}, {"blk.0.ffn_down.weight", EMBD, EMBD},
    };
    buf_auto struct buf b;
    buf_init(&b, 1 << 20);
    buf_adds(&b, "GGUF");
    put_u32(&b, 3);
    put_u64(&b, ARRAY_LEN(TENSORS));
    put_u64(&b, 7);
    put_text(&b, "general.architecture");
    put_u32(&b, 8);
    put_text(&b, "llama");
    put_kv_u32(&b, "llama.block_count", 1);
    put_kv_u32(&b, "llama.embedding_length", EMBD);
    put_kv_u32(&b, "llama.feed_forward_length", EMBD);
    put_kv_u32(&b, "llama.attention.head_count", 4);
    put_kv_u32(&b, "llama.attention.head_count_kv", 4);
    put_kv_u32(&b, "llama.context_length", 4096);
    uint64_t offset = 0;
    for (size_t i = 0; i < ARRAY_LEN(TENSORS); i++) {
        put_text(&b, TENSORS[i].name);
        put_u32(&b, 2);
        put_u64(&b, TENSORS[i].a);
        put_u64(&b, TENSORS[i].b);
        put_u32(&b, F16);
        put_u64(&b, offset);
        offset += num_pad_sat(TENSORS[i].a * TENSORS[i].b * 2, 32);
    }
    while (b.n % 32)
        buf_addc(&b, 0);
    assert_int_equal(file_write(path, b.p, b.n, 0600, NULL), 0);
    assert_int_equal(truncate(path, (off_t)(b.n + offset)), 0);
}

/* ---- the world ---- */

static void handler(void *ctx, struct http_req *r)
{
    server_handle(((struct world *)ctx)->s, r);
}

static void start(struct world *w, const char *addr)
{
    struct err err = {0};
    struct server_opts o = {
        .loop = w->loop, .state_dir = w->dir, .store_driver = w->driver, .url = "http://x"};
    w->s = server_new(&o, &err);
    if (!w->s)
        fail_msg("%s", err.msg);
    w->s->lost_after_ms = 600;
    w->s->drain_ms = 100;
    w->s->tick_every_ms = 100;
    server_start_ticks(w->s);
    struct http_server_opts h = {.addr = addr, .handler = handler, .ctx = w};
    w->http = http_server_new(w->loop, &h, &err);
    if (!w->http)
        fail_msg("%s", err.msg);
    STR_COPY(w->addr, http_server_addr(w->http));
}

void world_open(struct world *w, const char *driver)
{
    *w = (struct world){.driver = driver};
    log_quiet(true);
    w->loop = loop_new(NULL);
    assert_non_null(w->loop);
    STR_COPY(w->dir, "/tmp/stowage-server-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    str_copyf(w->model, sizeof w->model, "%s/tiny.gguf", w->dir);
    write_model(w->model);
    start(w, "127.0.0.1:0");
}

void world_restart(struct world *w)
{
    char addr[64];
    STR_COPY(addr, w->addr);
    server_free(w->s);
    http_server_free(w->http);
    start(w, addr);
}

void world_close(struct world *w)
{
    while (w->workers) {
        struct fake_worker *f = w->workers;
        w->workers = f->next;
        worker_free(f);
    }
    server_free(w->s);
    http_server_free(w->http);
    run_ms(w, 20); /* calls that are on their way end */
    loop_free(w->loop);
    file_remove_tree(w->dir, NULL);
}

struct waiting {
    struct world *w;
    bool (*cond)(struct world *w, void *arg);
    void *arg;
    const char *what;
    int64_t deadline_ms;
    bool met;
};

static void poll_cond(void *arg)
{
    struct waiting *x = arg;
    x->met = x->cond(x->w, x->arg);
    if (x->met || os_now_ms() > x->deadline_ms)
        loop_stop(x->w->loop);
    else
        loop_timer_add(x->w->loop, 5, poll_cond, x);
}

void until(struct world *w, bool (*cond)(struct world *w, void *arg), void *arg, const char *what)
{
    struct waiting x = {w, cond, arg, what, os_now_ms() + 10000, false};
    loop_timer_add(w->loop, 0, poll_cond, &x);
    loop_run(w->loop, NULL);
    if (!x.met)
        fail_msg("waited in vain: %s", what);
}

static bool time_over(struct world *w, void *arg)
{
    return os_now_ms() >= *(int64_t *)arg;
}

void run_ms(struct world *w, int64_t ms)
{
    int64_t end = os_now_ms() + ms;
    until(w, time_over, &end, "time");
}

/* ---- requests ---- */

struct asking {
    int status;
    struct buf body;
    bool done;
};

static void ask_head(void *arg, const struct http_head *h)
{
    ((struct asking *)arg)->status = h->status;
}

static void ask_body(void *arg, const char *p, size_t n)
{
    buf_add(&((struct asking *)arg)->body, p, n);
}

static void ask_done(void *arg, const struct err *err)
{
    struct asking *a = arg;
    a->done = true;
    if (err)
        a->status = -(int)err->code;
}

static bool asked(struct world *w, void *arg)
{
    return ((struct asking *)arg)->done;
}

int ask(struct world *w, const char *method, const char *path, const char *key, const char *body,
        json_t **out)
{
    struct asking a = {0};
    mem_auto char *headers = key ? mem_printf("Authorization: Bearer %s\r\n", key) : NULL;
    buf_init(&a.body, 16 << 20);
    struct http_call_opts o = {.addr = w->addr,
                               .fd = -1,
                               .method = method,
                               .path = path,
                               .headers = headers,
                               .body = body,
                               .body_n = body ? strlen(body) : 0,
                               .on_head = ask_head,
                               .on_body = ask_body,
                               .on_done = ask_done,
                               .arg = &a};
    http_call_new(w->loop, &o);
    until(w, asked, &a, path);
    if (out)
        *out = a.body.n ? json_parse(a.body.p, a.body.n, NULL) : NULL;
    buf_done(&a.body);
    return a.status;
}

json_t *want(struct world *w, int status, const char *method, const char *path, const char *fmt,
             ...)
{
    buf_auto struct buf body;
    va_list ap;
    json_t *doc;
    buf_init(&body, 1 << 20);
    va_start(ap, fmt);
    buf_addv(&body, fmt, ap);
    va_end(ap);
    int got = ask(w, method, path, server_admin_key(w->s), body.n ? body.p : NULL, &doc);
    if (got != status) {
        mem_auto char *text = json_text(doc);
        fail_msg("%s %s: %d, expected %d: %s", method, path, got, status, text);
    }
    return doc;
}

const char *at(const json_t *doc, const char *path, char buf[64])
{
    char word[64];
    const json_t *v = doc;
    while (*path && v) {
        size_t n = strcspn(path, ".");
        str_copyf(word, sizeof word, "%.*s", (int)n, path);
        uint64_t i;
        if (json_is_array(v))
            v = num_u64(word, "index", 0, 100000, &i, NULL) ? NULL : json_array_get(v, i);
        else
            v = json_object_get(v, word);
        path += n + (path[n] == '.');
    }
    buf[0] = 0;
    if (json_is_string(v))
        str_copy(buf, 64, json_string_value(v));
    else if (json_is_integer(v))
        str_copyf(buf, 64, "%lld", (long long)json_integer_value(v));
    else if (json_is_boolean(v))
        str_copy(buf, 64, json_is_true(v) ? "true" : "false");
    return buf;
}

/* ---- watches ---- */

static void watch_event(void *arg, const struct sse_event *e)
{
    struct watch *x = arg;
    str_copyf(x->event, sizeof x->event, "%.*s", (int)e->event.n, e->event.p);
    json_decref(x->last);
    x->last = json_parse(e->data.p, e->data.n, NULL);
    assert_non_null(x->last);
    x->n++;
    x->n_nodes += strcmp(x->event, "node") == 0;
    x->n_deployments += strcmp(x->event, "deployment") == 0;
    x->n_replicas += strcmp(x->event, "replica") == 0;
    x->n_deleted += json_is_true(json_object_get(x->last, "deleted"));
    if (x->on_event)
        x->on_event(x);
}

static void watch_head(void *arg, const struct http_head *h)
{
    ((struct watch *)arg)->status = h->status;
}

static void watch_body(void *arg, const char *p, size_t n)
{
    struct watch *x = arg;
    if (x->status == 200)
        sse_feed(&x->sse, p, n, watch_event, x);
}

static void watch_done(void *arg, const struct err *err)
{
    struct watch *x = arg;
    x->done = true;
    x->call = NULL;
}

void watch_open(struct watch *x, struct world *w, const char *path, const char *key)
{
    void (*on_event)(struct watch *) = x->on_event;
    void *arg = x->arg;
    mem_auto char *headers = mem_printf("Authorization: Bearer %s\r\n", key);
    *x = (struct watch){.w = w, .on_event = on_event, .arg = arg};
    sse_init(&x->sse);
    struct http_call_opts o = {.addr = w->addr,
                               .fd = -1,
                               .method = "GET",
                               .path = path,
                               .headers = headers,
                               .on_head = watch_head,
                               .on_body = watch_body,
                               .on_done = watch_done,
                               .arg = x};
    x->call = http_call_new(w->loop, &o);
}

void watch_close(struct watch *x)
{
    if (!x->w)
        return;
    if (x->call)
        http_cancel(x->call);
    sse_done(&x->sse);
    json_decref(x->last);
    *x = (struct watch){0};
}
