/* net/http: many calls at once that are cancelled, paused, aborted and answered in any order, by
 * seed.
 *
 * Worth most under a sanitizer: what is looked for is memory used after its end, a callback after a
 * cancel, a request that is told twice, and calls that never end. */
#include "net/http.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "os/file.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { CLIENTS = 40, CALLS = 1500, HELD = 64 };

struct held { /* a request that the handler keeps */
    struct chaos *chaos;
    struct http_req *r;
    struct loop_timer *timer;
    int writes_left;
    bool started;
};

struct client {
    struct chaos *chaos;
    struct http_call *call;
    struct loop_timer *timer;
    bool paused;
    size_t sent, expected; /* of a mirrored body; expected SIZE_MAX: anything */
};

struct chaos {
    struct loop *loop;
    struct rng rng;
    struct http_server *server;
    struct held held[HELD];
    struct client clients[CLIENTS];
    char *body;
    int n_started, n_ended, n_cancelled, n_closed, n_failed;
};

static void release(struct held *h)
{
    loop_timer_del(h->timer);
    *h = (struct held){0};
}

static void on_close(void *arg)
{
    struct held *h = arg;
    assert_non_null(h->r);
    h->chaos->n_closed++;
    release(h);
}

static void on_held(void *arg)
{
    struct held *h = arg;
    struct chaos *c = h->chaos;
    struct http_req *r = h->r;
    h->timer = NULL;
    if (!h->started && rng_below(&c->rng, 2)) {
        release(h);
        http_reply(r, 200, "text/plain", c->body, rng_below(&c->rng, 100000));
        return;
    }
    if (!h->started)
        http_start(r, 200, "text/event-stream");
    h->started = true;
    if (rng_below(&c->rng, 20) == 0) {
        release(h);
        http_abort(r);
    } else if (h->writes_left-- > 0) {
        http_write(r, c->body, rng_below(&c->rng, 200000));
        h->timer = loop_timer_add(c->loop, (int64_t)rng_below(&c->rng, 3), on_held, h);
    } else {
        release(h);
        http_end(r);
    }
}

static void hold(struct chaos *c, struct http_req *r)
{
    for (int i = 0; i < HELD; i++) {
        struct held *h = &c->held[i];
        if (h->r)
            continue;
        *h = (struct held){.chaos = c, .r = r, .writes_left = (int)rng_below(&c->rng, 6)};
        h->timer = loop_timer_add(c->loop, (int64_t)rng_below(&c->rng, 4), on_held, h);
        http_req_on_close(r, on_close, h);
        return;
    }
    http_reply(r, 503, "text/plain", "", 0);
}

static void handler(void *ctx, struct http_req *r)
{
    struct chaos *c = ctx;
    struct str body = http_req_body(r);
    if (str_eq(http_req_path(r), STR("/mirror")))
        http_reply(r, 200, "application/octet-stream", body.p, body.n);
    else if (rng_below(&c->rng, 30) == 0)
        http_abort(r);
    else
        hold(c, r);
}

static void next_call(void *arg);

static void rest(struct client *cl)
{
    cl->call = NULL;
    loop_timer_del(cl->timer);
    cl->timer = loop_timer_add(cl->chaos->loop, 0, next_call, cl);
}

static void on_body(void *arg, const char *p, size_t n)
{
    struct client *cl = arg;
    struct chaos *c = cl->chaos;
    assert_non_null(cl->call);
    cl->sent += n;
    uint64_t dice = rng_below(&c->rng, 60);
    if (dice == 0) {
        http_cancel(cl->call);
        c->n_cancelled++;
        rest(cl);
    } else if (dice < 5) {
        http_pause(cl->call, true);
        cl->paused = true;
    }
}

static void on_done(void *arg, const struct err *err)
{
    struct client *cl = arg;
    assert_non_null(cl->call);
    cl->chaos->n_ended++;
    cl->chaos->n_failed += err != NULL;
    if (!err && cl->expected != SIZE_MAX)
        assert_int_equal(cl->sent, cl->expected);
    rest(cl);
}

/* While a call runs: now and then it is resumed, or given up. */
static void on_poke(void *arg)
{
    struct client *cl = arg;
    struct chaos *c = cl->chaos;
    cl->timer = NULL;
    if (rng_below(&c->rng, 8) == 0) {
        http_cancel(cl->call);
        c->n_cancelled++;
        rest(cl);
        return;
    }
    if (cl->paused)
        http_pause(cl->call, false);
    cl->paused = false;
    cl->timer = loop_timer_add(c->loop, 3, on_poke, cl);
}

static bool all_idle(const struct chaos *c)
{
    for (int i = 0; i < CLIENTS; i++)
        if (c->clients[i].call)
            return false;
    return true;
}

static void next_call(void *arg)
{
    struct client *cl = arg;
    struct chaos *c = cl->chaos;
    cl->timer = NULL;
    if (c->n_started == CALLS) {
        if (all_idle(c))
            loop_stop(c->loop);
        return;
    }
    c->n_started++;
    bool mirror = rng_below(&c->rng, 3) == 0;
    struct http_call_opts o = {.addr = http_server_addr(c->server),
                               .fd = -1,
                               .method = "POST",
                               .path = mirror ? "/mirror" : "/hold",
                               .body = c->body,
                               .body_n = mirror ? rng_below(&c->rng, 300000) : 0,
                               .on_body = on_body,
                               .on_done = on_done,
                               .arg = cl};
    cl->sent = 0;
    cl->expected = mirror ? o.body_n : SIZE_MAX;
    cl->paused = false;
    cl->call = http_call_new(c->loop, &o);
    cl->timer = loop_timer_add(c->loop, 1 + (int64_t)rng_below(&c->rng, 6), on_poke, cl);
}

static void on_limit(void *arg)
{
    fail_msg("calls do not end");
}

static void run(uint64_t seed)
{
    struct chaos *c = mem_calloc(1, sizeof *c);
    c->loop = loop_new(NULL);
    c->rng.state = seed;
    c->body = mem_calloc(1, 300000);
    struct http_server_opts o = {.addr = "127.0.0.1:0", .handler = handler, .ctx = c};
    c->server = http_server_new(c->loop, &o, NULL);
    assert_non_null(c->server);
    struct loop_timer *limit = loop_timer_add(c->loop, 60000, on_limit, c);
    for (int i = 0; i < CLIENTS; i++) {
        c->clients[i].chaos = c;
        next_call(&c->clients[i]);
    }
    assert_int_equal(loop_run(c->loop, NULL), 0);
    loop_timer_del(limit);
    assert_int_equal(c->n_started, CALLS);
    assert_int_equal(c->n_ended + c->n_cancelled, CALLS);
    assert_true(c->n_cancelled > 0 && c->n_failed > 0 && c->n_closed > 0);
    http_server_free(c->server); /* what is still held is told */
    for (int i = 0; i < HELD; i++)
        assert_null(c->held[i].r);
    loop_free(c->loop);
    free(c->body);
    free(c);
}

static void test_chaos(void **state)
{
    for (uint64_t seed = 1; seed <= 3; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_chaos)};
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
