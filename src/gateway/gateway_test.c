/* The gateway in process: a control server that sends routes, fake engines behind a real tunnel
 * listener, an edge, and clients that see every span of an answer. One loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "api/messages.h"
#include "base/mem.h"
#include "base/num.h"
#include "gateway/gateway.h"
#include "net/http.h"
#include "net/sse.h"
#include "net/tunnel.h"
#include "os/file.h"
#include "os/loop.h"

#include <sodium.h>

enum { N_ENGINES = 3, TEST_MS = 20000, FLOOD_BYTES = 48 << 20 };
#define SALT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define SECRET "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define KEY "sk-test"

/* What a fake engine does with a request. */
enum script {
    STREAM,         /* three events and [DONE], one each time the test says so */
    STREAM_AT_ONCE, /* the same without waiting, in odd pieces */
    WHOLE,          /* a JSON answer */
    DIE_BEFORE,     /* closes without a byte */
    DIE_AT_HEAD,    /* a head, then closes */
    DIE_MID,        /* an event and a half, then closes */
    NO_DONE,        /* an event, then ends well but without [DONE] */
    LOADING,        /* 503 */
    TOO_LONG,       /* 400 exceed_context_size_error */
    SILENT,         /* takes the request and says nothing */
    UNSUPPORTED,    /* 501 */
    FLOOD,          /* 8 MiB of events */
};

struct world;
struct engine {
    struct world *w;
    struct http_server *http;
    uint16_t port;
    enum script script;
    int requests, closed;
    char body[256], id[80];
    struct http_req *held; /* STREAM: where the test writes */
    size_t flooded;
};
struct world {
    struct loop *loop;
    struct http_server *control, *edge;
    struct tunnel_listener *tunnel;
    struct gateway *gateway;
    struct engine engines[N_ENGINES];
    struct http_req *routes; /* the open watch */
    int n_endpoints;         /* of model "m" */
    const char *state;       /* of model "cold" */
    char edge_addr[64];
    bool timed_out;
};

/* ---- control server ---- */

static void send_routes(struct world *w)
{
    struct api_routes doc = {0};
    struct api_endpoint endpoints[N_ENGINES] = {0};
    struct api_route models[3] = {
        {.name = "m",
         .ctx = 4096,
         .n_slots = 1,
         .created_at = 1700000000000,
         .endpoints = endpoints,
         .n_endpoints = (uint32_t)w->n_endpoints},
        {.name = "cold", .ctx = 512, .n_slots = 1},
        {.name = "secret", .ctx = 512, .n_slots = 1, .state = "pending"},
    };
    STR_COPY(models[0].state, "ready");
    STR_COPY(models[1].state, w->state);
    for (int i = 0; i < w->n_endpoints; i++) {
        str_copyf(endpoints[i].replica, sizeof endpoints[i].replica, "r%d", i);
        endpoints[i].generation = 1;
        STR_COPY(endpoints[i].node_id, "node");
        STR_COPY(endpoints[i].addr, tunnel_listener_addr(w->tunnel));
        STR_COPY(endpoints[i].secret, SECRET);
        endpoints[i].slots = 1;
    }
    struct name_list *only = mem_calloc(1, sizeof *only);
    STR_COPY(only->items[0], "m");
    only->n = 1;
    struct api_key keys[3] = {{.id = "k1", .scope = "api"},
                              {.id = "k2", .scope = "api", .models = only},
                              {.id = "k3", .scope = "worker"}};
    static const char *const secrets[3] = {KEY, "sk-only-m", "sk-worker"};
    unsigned char salt[32], mac[32];
    STR_COPY(doc.key_salt, SALT);
    assert_int_equal(sodium_hex2bin(salt, 32, SALT, 64, NULL, NULL, NULL), 0);
    for (int i = 0; i < 3; i++) {
        crypto_auth_hmacsha256_state st;
        crypto_auth_hmacsha256_init(&st, salt, sizeof salt);
        crypto_auth_hmacsha256_update(&st, (const unsigned char *)secrets[i], strlen(secrets[i]));
        crypto_auth_hmacsha256_final(&st, mac);
        sodium_bin2hex(keys[i].hash, sizeof keys[i].hash, mac, sizeof mac);
    }
    doc.models = models;
    doc.n_models = 3;
    doc.keys = keys;
    doc.n_keys = 3;
    json_auto_t *tree = api_routes_to_json(&doc);
    mem_auto char *text = json_text(tree);
    buf_auto struct buf event;
    buf_init(&event, 1 << 20);
    sse_format(&event, "routes", "1", str_of(text));
    http_write(w->routes, event.p, event.n);
    free(only);
}

static void routes_closed(void *arg)
{
    ((struct world *)arg)->routes = NULL;
}

static void control_handler(void *ctx, struct http_req *r)
{
    struct world *w = ctx;
    w->routes = r;
    http_req_on_close(r, routes_closed, w);
    http_start(r, 200, "text/event-stream");
    send_routes(w);
}

/* ---- engines ---- */

static const char *const EVENTS[] = {
    "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\n",
    "data: [DONE]\n\n",
};

static void engine_closed(void *arg)
{
    struct engine *e = arg;
    e->closed++;
    e->held = NULL;
}

static void put(struct http_req *r, const char *s)
{
    http_write(r, s, strlen(s));
}

/* Events of 8 KiB: thousands of tiny segments nobody reads yet make the kernel drop and retransmit.
 */
static void flood(void *arg)
{
    struct engine *e = arg;
    static const char head[] = "data: {\"choices\":[{\"delta\":{\"content\":\"",
                      tail[] = "\"}}]}\n\n";
    char event[8192];
    memset(event, 'x', sizeof event);
    memcpy(event, head, sizeof head - 1);
    memcpy(event + sizeof event - (sizeof tail - 1), tail, sizeof tail - 1);
    for (int i = 0; i < 16 && e->flooded < FLOOD_BYTES; i++, e->flooded += sizeof event)
        http_write(e->held, event, sizeof event);
    if (e->flooded < FLOOD_BYTES) {
        http_on_drain(e->held, flood, e);
        return;
    }
    put(e->held, EVENTS[2]);
    http_end(e->held);
    e->held = NULL;
}

static void answer_stream(struct engine *e, struct http_req *r)
{
    http_start(r, 200, "text/event-stream");
    switch (e->script) {
    case STREAM_AT_ONCE:
        put(r, EVENTS[0]);
        http_write(r, EVENTS[1], 20);
        put(r, EVENTS[1] + 20);
        put(r, EVENTS[2]);
        http_end(r);
        return;
    case DIE_AT_HEAD:
        http_abort(r);
        return;
    case DIE_MID:
        put(r, EVENTS[0]);
        http_write(r, EVENTS[1], 20);
        http_abort(r);
        return;
    case NO_DONE:
        put(r, EVENTS[0]);
        http_end(r);
        return;
    case FLOOD:
        e->held = r;
        e->flooded = 0;
        flood(e);
        return;
    default:
        e->held = r;
        return;
    }
}

static void answer_error(struct http_req *r, int status, const char *text)
{
    http_reply(r, status, "application/json", text, strlen(text));
}

static void engine_handler(void *ctx, struct http_req *r)
{
    struct engine *e = ctx;
    struct str body = http_req_body(r), id = http_req_header(r, "x-request-id");
    e->requests++;
    str_copyf(e->body, sizeof e->body, "%.*s", (int)body.n, body.p);
    str_copyf(e->id, sizeof e->id, "%.*s", (int)id.n, id.p ? id.p : "");
    http_req_on_close(r, engine_closed, e);
    switch (e->script) {
    case WHOLE:
        answer_error(r, 200, "{\"object\":\"chat.completion\",\"model\":\"m\"}");
        return;
    case DIE_BEFORE:
        http_abort(r);
        return;
    case LOADING:
        answer_error(r, 503,
                     "{\"error\":{\"message\":\"Loading model\",\"type\":"
                     "\"unavailable_error\",\"code\":503}}");
        return;
    case TOO_LONG:
        answer_error(r, 400,
                     "{\"error\":{\"code\":400,\"message\":\"too long\",\"type\":"
                     "\"exceed_context_size_error\",\"n_prompt_tokens\":5000,"
                     "\"n_ctx\":4096}}");
        return;
    case UNSUPPORTED:
        answer_error(r, 501,
                     "{\"error\":{\"code\":501,\"message\":\"no embeddings here\",\"type\":"
                     "\"not_supported_error\"}}");
        return;
    case SILENT:
        e->held = r;
        return;
    default:
        answer_stream(e, r);
    }
}

static bool lookup(void *arg, const char *replica, uint32_t generation, enum tunnel_service service,
                   char secret[TUNNEL_SECRET_HEX + 1], uint16_t *port)
{
    struct world *w = arg;
    if (replica[0] != 'r' || generation != 1 || service != TUNNEL_HTTP)
        return false;
    str_copy(secret, TUNNEL_SECRET_HEX + 1, SECRET);
    *port = w->engines[replica[1] - '0'].port;
    return true;
}

/* ---- world ---- */

static void edge_handler(void *ctx, struct http_req *r)
{
    gateway_handle(ctx, r);
}

static struct http_server *serve(struct world *w, http_handler fn, void *ctx, struct err *err)
{
    struct http_server *s =
        http_server_new(w->loop,
                        &(struct http_server_opts){
                            .addr = "127.0.0.1:0", .handler = fn, .ctx = ctx, .max_body = 1 << 20},
                        err);
    if (!s)
        fail_msg("%s", err->msg);
    return s;
}

static void too_late(void *arg)
{
    struct world *w = arg;
    w->timed_out = true;
    loop_stop(w->loop);
}

/* Runs the loop until *flag, or fails. */
static void run_until(struct world *w, const bool *flag, const char *what)
{
    w->timed_out = false;
    struct loop_timer *t = loop_timer_add(w->loop, TEST_MS, too_late, w);
    while (!*flag && !w->timed_out)
        assert_int_equal(loop_run(w->loop, NULL), 0);
    if (w->timed_out)
        fail_msg("timed out waiting for %s", what);
    loop_timer_del(t);
}

static void stop_now(void *arg)
{
    loop_stop(arg);
}

/* Lets everything that is due happen. */
static void settle(struct world *w, int64_t ms)
{
    loop_timer_add(w->loop, ms, stop_now, w->loop);
    loop_run(w->loop, NULL);
}

static struct world *world_new(int n_endpoints)
{
    struct err err = {0};
    struct world *w = mem_calloc(1, sizeof *w);
    assert_true(sodium_init() >= 0);
    log_quiet(true);
    w->loop = loop_new(&err);
    w->n_endpoints = n_endpoints;
    w->state = "starting";
    for (int i = 0; i < N_ENGINES; i++) {
        struct engine *e = &w->engines[i];
        uint64_t port;
        e->w = w;
        e->http = serve(w, engine_handler, e, &err);
        assert_int_equal(
            num_u64(strrchr(http_server_addr(e->http), ':') + 1, "port", 1, 65535, &port, &err), 0);
        e->port = (uint16_t)port;
    }
    w->tunnel =
        tunnel_listen(w->loop,
                      &(struct tunnel_listener_opts){
                          .addr = "127.0.0.1:0", .member = "node", .lookup = lookup, .arg = w},
                      &err);
    if (!w->tunnel)
        fail_msg("%s", err.msg);
    w->control = serve(w, control_handler, w, &err);
    mem_auto char *url = mem_printf("http://%s", http_server_addr(w->control));
    w->gateway = gateway_new(
        &(struct gateway_opts){.loop = w->loop, .server_url = url, .key = "sk-gateway"}, &err);
    assert_non_null(w->gateway);
    w->edge = serve(w, edge_handler, w->gateway, &err);
    STR_COPY(w->edge_addr, http_server_addr(w->edge));
    while (!w->routes)
        settle(w, 20);
    settle(w, 50);
    return w;
}

static void world_free(struct world *w)
{
    http_server_free(w->edge);
    gateway_free(w->gateway);
    http_server_free(w->control);
    tunnel_listener_free(w->tunnel);
    for (int i = 0; i < N_ENGINES; i++)
        http_server_free(w->engines[i].http);
    settle(w, 20);
    loop_free(w->loop);
    free(w);
}

/* ---- client ---- */

struct caller {
    struct world *w;
    struct http_call *call;
    int status;
    char retry_after[16], should_retry[16], id[80], type[64];
    struct buf body;
    bool done, failed, some;
    size_t stop_at; /* wakes the loop when the body has so many bytes */
};

static void copy_header(const struct http_head *h, const char *name, char *dst, size_t cap)
{
    struct str v = http_find(h->headers, h->n_headers, name);
    str_copyf(dst, cap, "%.*s", (int)(v.p ? v.n : 0), v.p ? v.p : "");
}

static void c_head(void *arg, const struct http_head *h)
{
    struct caller *c = arg;
    c->status = h->status;
    copy_header(h, "retry-after", c->retry_after, sizeof c->retry_after);
    copy_header(h, "x-should-retry", c->should_retry, sizeof c->should_retry);
    copy_header(h, "x-request-id", c->id, sizeof c->id);
    copy_header(h, "content-type", c->type, sizeof c->type);
}

static void c_body(void *arg, const char *p, size_t n)
{
    struct caller *c = arg;
    buf_add(&c->body, p, n);
    if (c->stop_at && c->body.n >= c->stop_at) {
        c->some = true;
        loop_stop(c->w->loop);
    }
}

static void c_done(void *arg, const struct err *err)
{
    struct caller *c = arg;
    c->done = true;
    c->failed = err != NULL;
    c->call = NULL;
    loop_stop(c->w->loop);
}

static void send(struct world *w, struct caller *c, const char *method, const char *path,
                 const char *headers, const char *body)
{
    *c = (struct caller){.w = w};
    buf_init(&c->body, 64 << 20);
    c->call = http_call_new(w->loop, &(struct http_call_opts){.addr = w->edge_addr,
                                                              .fd = -1,
                                                              .method = method,
                                                              .path = path,
                                                              .headers = headers,
                                                              .body = body,
                                                              .body_n = body ? strlen(body) : 0,
                                                              .on_head = c_head,
                                                              .on_body = c_body,
                                                              .on_done = c_done,
                                                              .arg = c});
}

#define AUTH "Authorization: Bearer " KEY "\r\n"
#define CHAT "/v1/chat/completions"
#define ASK "{\"model\":\"m\",\"stream\":true,\"messages\":[]}"

static void ask(struct world *w, struct caller *c, const char *body)
{
    send(w, c, "POST", CHAT, AUTH, body);
    run_until(w, &c->done, "the answer");
}

static void wait_body(struct world *w, struct caller *c, size_t n)
{
    c->some = c->body.n >= n;
    c->stop_at = n;
    run_until(w, &c->some, "a span of the answer");
}

/* ---- tests ---- */

static void test_relay(void **state)
{
    struct world *w = world_new(1);
    struct engine *e = &w->engines[0];
    struct caller c;
    size_t sent = 0;
    e->script = STREAM;
    send(w, &c, "POST", CHAT, AUTH, ASK);
    for (int i = 0; i < 3; i++) {
        while (!e->held)
            settle(w, 5);
        put(e->held, EVENTS[i]);
        sent += strlen(EVENTS[i]);
        int64_t before = os_now_ms();
        wait_body(w, &c, sent); /* before the next one is written */
        assert_true(os_now_ms() - before < 200);
    }
    http_end(e->held);
    run_until(w, &c.done, "the end");
    assert_false(c.failed);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.type, "text/event-stream");
    assert_int_equal(c.body.n, sent);
    assert_string_equal(e->body, ASK);
    assert_string_equal(e->id, c.id);
    assert_true(c.id[0]);
    buf_done(&c.body);
    e->script = STREAM_AT_ONCE;
    ask(w, &c, ASK);
    mem_auto char *all = mem_printf("%s%s%s", EVENTS[0], EVENTS[1], EVENTS[2]);
    assert_string_equal(c.body.p, all);
    buf_done(&c.body);
    world_free(w);
}

static void test_retry(void **state)
{
    static const enum script before[] = {DIE_BEFORE, DIE_AT_HEAD, LOADING};
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        struct world *w = world_new(3);
        struct caller c;
        for (int k = 0; k < N_ENGINES; k++)
            w->engines[k].script = before[i];
        w->engines[2].script = STREAM_AT_ONCE;
        for (int round = 0; round < 3; round++) {
            ask(w, &c, ASK);
            assert_int_equal(c.status, 200);
            assert_non_null(strstr(c.body.p, "[DONE]"));
            assert_null(strstr(c.body.p, "error"));
            buf_done(&c.body);
        }
        assert_int_equal(w->engines[2].requests, 3);
        /* never twice to the same one, and the failed ones are avoided for a while */
        assert_int_equal(w->engines[0].requests + w->engines[1].requests, 2);
        w->engines[2].script = before[i];
        int was = w->engines[2].requests;
        ask(w, &c, ASK);
        assert_int_equal(c.status, 502);
        assert_non_null(strstr(c.body.p, "upstream_failed"));
        assert_int_equal(w->engines[2].requests, was + 1);
        buf_done(&c.body);
        world_free(w);
    }
}

static void test_death_midway(void **state)
{
    static const enum script mid[] = {DIE_MID, NO_DONE};
    for (size_t i = 0; i < ARRAY_LEN(mid); i++) {
        struct world *w = world_new(2);
        struct caller c;
        w->engines[0].script = w->engines[1].script = mid[i];
        ask(w, &c, ASK);
        assert_int_equal(c.status, 200);
        assert_false(c.failed); /* the stream ends in order */
        size_t n = strlen(EVENTS[0]);
        assert_memory_equal(c.body.p, EVENTS[0], n);
        assert_memory_equal(c.body.p + n, "data: {\"error\":", 15); /* no torn event between */
        assert_non_null(strstr(c.body.p, "upstream_died"));
        assert_null(strstr(c.body.p, "[DONE]"));
        assert_int_equal(w->engines[0].requests + w->engines[1].requests, 1);
        buf_done(&c.body);
        world_free(w);
    }
}

static void test_client_leaves(void **state)
{
    static const enum script scripts[] = {STREAM, SILENT};
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct world *w = world_new(1);
        struct engine *e = &w->engines[0];
        struct caller c;
        e->script = scripts[i];
        send(w, &c, "POST", CHAT, AUTH, ASK);
        while (!e->held)
            settle(w, 5);
        if (scripts[i] == STREAM) {
            put(e->held, EVENTS[0]);
            wait_body(w, &c, strlen(EVENTS[0]));
        }
        http_cancel(c.call);
        for (int k = 0; k < 100 && !e->closed; k++)
            settle(w, 5);
        assert_int_equal(e->closed, 1);
        assert_int_equal(e->requests, 1);
        buf_done(&c.body);
        world_free(w);
    }
}

/* A slow reader: everything arrives, whole and in order, although far more than any buffer. */
static void test_flood(void **state)
{
    struct world *w = world_new(1);
    struct caller c;
    w->engines[0].script = FLOOD;
    send(w, &c, "POST", CHAT, AUTH, ASK);
    wait_body(w, &c, 1);
    http_pause(c.call, true);
    size_t stuck = 0;
    for (int same = 0; same < 3;) { /* until the kernel's own buffers are full */
        settle(w, 100);
        same = stuck == w->engines[0].flooded ? same + 1 : 0;
        stuck = w->engines[0].flooded;
    }
    assert_true(stuck < FLOOD_BYTES); /* the engine was held back */
    c.stop_at = 0;
    http_pause(c.call, false);
    run_until(w, &c.done, "the end of the flood");
    assert_true(c.body.n > FLOOD_BYTES);
    assert_memory_equal(c.body.p + c.body.n - 14, "data: [DONE]\n\n", 14);
    buf_done(&c.body);
    world_free(w);
}

static void test_whole_answers(void **state)
{
    struct world *w = world_new(1);
    struct caller c;
    static const struct {
        enum script script;
        int status;
        const char *needles[4];
    } cases[] = {
        {WHOLE, 200, {"chat.completion"}},
        {TOO_LONG, 400, {"context_length_exceeded", "5000", "4096"}},
        {UNSUPPORTED, 400, {"unsupported_operation", "no embeddings here"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w->engines[0].script = cases[i].script;
        ask(w, &c, "{\"model\":\"m\"}");
        assert_int_equal(c.status, cases[i].status);
        for (size_t k = 0; k < 4 && cases[i].needles[k]; k++)
            if (!strstr(c.body.p, cases[i].needles[k]))
                fail_msg("no '%s' in %s", cases[i].needles[k], c.body.p);
        buf_done(&c.body);
    }
    world_free(w);
}

static void test_refusals(void **state)
{
    struct world *w = world_new(1);
    struct caller c;
    static const struct {
        const char *name, *method, *path, *headers, *body;
        int status;
        const char *code, *needle, *retry_after, *should_retry;
    } cases[] = {
        {"no key", "POST", CHAT, NULL, ASK, 401, "invalid_api_key"},
        {"wrong key", "POST", CHAT, "Authorization: Bearer sk-no\r\n", ASK, 401, "invalid_api_key"},
        {"basic auth", "POST", CHAT, "Authorization: Basic c2s6\r\n", ASK, 401, "invalid_api_key"},
        {"worker's key", "GET", "/v1/models", "x-api-key: sk-worker\r\n", NULL, 401,
         "invalid_api_key"},
        {"bad JSON", "POST", CHAT, AUTH, "{\"model\":", 400, NULL, "not valid JSON"},
        {"no model", "POST", CHAT, AUTH, "{}", 400, "missing_model"},
        {"unknown model", "POST", CHAT, AUTH, "{\"model\":\"nope\"}", 404, "model_not_found",
         "there is: m, cold, secret"},
        {"not allowed", "POST", CHAT, "x-api-key: sk-only-m\r\n", "{\"model\":\"cold\"}", 404,
         "model_not_found", "there is: m."},
        {"starting", "POST", CHAT, AUTH, "{\"model\":\"cold\"}", 503, "model_not_ready", "starting",
         "2"},
        {"pending", "POST", CHAT, AUTH, "{\"model\":\"secret\"}", 503, "model_not_ready", "pending",
         "15"},
        {"wrong method", "GET", CHAT, AUTH, NULL, 405, "method_not_allowed"},
        {"unknown path", "GET", "/v1/nothing", AUTH, NULL, 404, "unknown_path"},
        {"unknown model by path", "GET", "/v1/models/nope", AUTH, NULL, 404, "model_not_found"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        send(w, &c, cases[i].method, cases[i].path, cases[i].headers, cases[i].body);
        run_until(w, &c.done, cases[i].name);
        json_auto_t *doc = json_parse(c.body.p, c.body.n, NULL);
        const json_t *e = json_object_get(doc, "error");
        const char *code = json_string_value(json_object_get(e, "code"));
        if (c.status != cases[i].status)
            fail_msg("%s: status %d: %s", cases[i].name, c.status, c.body.p);
        assert_non_null(json_object_get(e, "message"));
        assert_non_null(json_object_get(e, "type"));
        assert_non_null(json_object_get(e, "param"));
        if (cases[i].code)
            assert_string_equal(code, cases[i].code);
        if (cases[i].needle && !strstr(c.body.p, cases[i].needle))
            fail_msg("%s: no '%s' in %s", cases[i].name, cases[i].needle, c.body.p);
        assert_string_equal(c.retry_after, cases[i].retry_after ? cases[i].retry_after : "");
        buf_done(&c.body);
    }
    assert_int_equal(w->engines[0].requests, 0);
    /* scaled to zero: no retry helps */
    w->state = "stopped";
    send_routes(w);
    settle(w, 50);
    ask(w, &c, "{\"model\":\"cold\"}");
    assert_int_equal(c.status, 503);
    assert_string_equal(c.should_retry, "false");
    buf_done(&c.body);
    /* larger than the edge takes */
    mem_auto char *big = mem_calloc(1, (1 << 20) + 100);
    memset(big, ' ', (1 << 20) + 90);
    send(w, &c, "POST", CHAT, AUTH, big);
    run_until(w, &c.done, "the refusal of a large body");
    assert_true(c.status == 413 || c.failed);
    buf_done(&c.body);
    world_free(w);
}

static void test_models(void **state)
{
    struct world *w = world_new(1);
    struct caller c;
    send(w, &c, "GET", "/v1/models", AUTH, NULL);
    run_until(w, &c.done, "models");
    json_auto_t *doc = json_parse(c.body.p, c.body.n, NULL);
    const json_t *data = json_object_get(doc, "data");
    assert_int_equal(json_array_size(data), 3);
    const json_t *m = json_array_get(data, 0);
    assert_string_equal(json_string_value(json_object_get(m, "id")), "m");
    assert_int_equal(json_integer_value(json_object_get(m, "max_model_len")), 4096);
    assert_int_equal(json_integer_value(json_object_get(m, "context_length")), 4096);
    assert_int_equal(json_integer_value(json_object_get(m, "created")), 1700000000);
    buf_done(&c.body);
    send(w, &c, "GET", "/v1/models", "x-api-key: sk-only-m\r\n", NULL);
    run_until(w, &c.done, "models of a key");
    json_auto_t *own = json_parse(c.body.p, c.body.n, NULL);
    assert_int_equal(json_array_size(json_object_get(own, "data")), 1);
    buf_done(&c.body);
    send(w, &c, "GET", "/v1/models/cold", AUTH, NULL);
    run_until(w, &c.done, "one model");
    json_auto_t *one = json_parse(c.body.p, c.body.n, NULL);
    assert_string_equal(json_string_value(json_object_get(one, "state")), "starting");
    buf_done(&c.body);
    world_free(w);
}

/* Requests spread over endpoints by what is outstanding; a change of routes keeps the counts, and a
 * request outlives the routes it was sent by. */
static void test_balance(void **state)
{
    struct world *w = world_new(2);
    struct caller c[4];
    for (int i = 0; i < N_ENGINES; i++)
        w->engines[i].script = STREAM;
    for (int i = 0; i < 2; i++) {
        send(w, &c[i], "POST", CHAT, AUTH, ASK);
        settle(w, 60);
    }
    assert_int_equal(w->engines[0].requests, 1);
    assert_int_equal(w->engines[1].requests, 1);
    w->n_endpoints = 3;
    send_routes(w);
    settle(w, 60);
    send(w, &c[2], "POST", CHAT, AUTH, ASK);
    settle(w, 60);
    assert_int_equal(w->engines[2].requests, 1);
    w->n_endpoints = 0;
    send_routes(w);
    settle(w, 60);
    for (int i = 0; i < N_ENGINES; i++) {
        put(w->engines[i].held, EVENTS[2]);
        http_end(w->engines[i].held);
    }
    for (int i = 0; i < 3; i++) {
        run_until(w, &c[i].done, "an answer without its route");
        assert_string_equal(c[i].body.p, EVENTS[2]);
        buf_done(&c[i].body);
    }
    ask(w, &c[3], ASK);
    assert_int_equal(c[3].status, 503);
    buf_done(&c[3].body);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay),        cmocka_unit_test(test_retry),
        cmocka_unit_test(test_death_midway), cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_flood),        cmocka_unit_test(test_whole_answers),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_models),
        cmocka_unit_test(test_balance),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
