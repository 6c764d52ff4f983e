/* The client against a scripted server: answers, errors, streams, watches that come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "client/client.h"
#include "net/http.h"
#include "os/file.h"

#include <pthread.h>

/* A server on its own thread, so that the blocking face has somebody to talk to. */
struct peer {
    struct loop *loop;
    struct http_server *http;
    pthread_t thread;
    char url[96];
    int n_watches;
    char last_id[32], auth[128], body[256], method[16], accept[64];
    bool bad_event;
};

static void keep(char *dst, size_t cap, struct str v)
{
    str_copyf(dst, cap, "%.*s", (int)(v.p ? v.n : 0), v.p ? v.p : "");
}

static void text(struct http_req *r, int status, const char *body)
{
    http_reply(r, status, "application/json", body, strlen(body));
}

/* Three lives: the first sends two events and ends, the second is refused, the third stays. */
static void watch(struct peer *p, struct http_req *r)
{
    static const char first[] = "id: 7\nevent: tick\ndata: {\"n\":1}\n\n: heartbeat\n\n"
                                "id: 8\nevent: tick\ndata: {\"n\":2}\n\n";
    static const char third[] = "id: 9\nevent: tick\ndata: {\"n\":3}\n\n";
    keep(p->last_id, sizeof p->last_id, http_req_header(r, "last-event-id"));
    keep(p->accept, sizeof p->accept, http_req_header(r, "accept"));
    p->n_watches++;
    if (p->n_watches == 2) {
        text(r, 503, "{\"error\":{\"code\":\"UNAVAILABLE\",\"message\":\"not now\"}}");
        return;
    }
    http_start(r, 200, "text/event-stream");
    if (p->n_watches == 1) {
        http_write(r, first, sizeof first - 1);
        if (p->bad_event)
            http_write(r, "data: no JSON\n\n", 15);
        else
            http_end(r);
        return;
    }
    http_write(r, third, sizeof third - 1);
}

static void gone(void *arg)
{
}

static void handler(void *ctx, struct http_req *r)
{
    struct peer *p = ctx;
    http_req_on_close(r, gone, NULL); /* requests that are never answered end with their client */
    struct str path = http_req_path(r);
    keep(p->auth, sizeof p->auth, http_req_header(r, "authorization"));
    keep(p->body, sizeof p->body, http_req_body(r));
    keep(p->method, sizeof p->method, http_req_method(r));
    if (str_eq(path, STR("/ok")))
        text(r, 200, "{\"a\":1}");
    else if (str_eq(path, STR("/empty")))
        http_reply(r, 204, NULL, NULL, 0);
    else if (str_eq(path, STR("/missing")))
        text(r, 404,
             "{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"no x\",\"hint\":\"try y\"}}");
    else if (str_eq(path, STR("/refused")))
        text(r, 422, "{\"error\":{\"code\":\"NO_PLACEMENT\",\"message\":\"too big\"}}");
    else if (str_eq(path, STR("/openai")))
        text(r, 404, "{\"error\":{\"code\":\"model_not_found\",\"message\":\"no m\"}}");
    else if (str_eq(path, STR("/page")))
        http_reply(r, 502, "text/html", "<html>", 6);
    else if (str_eq(path, STR("/garbage")))
        text(r, 200, "{\"a\":");
    else if (str_eq(path, STR("/cut"))) {
        http_start(r, 200, "application/json");
        http_write(r, "{\"a\"", 4);
        http_abort(r);
    } else if (str_eq(path, STR("/stream"))) {
        http_start(r, 200, "text/plain");
        http_write(r, "one\n", 4);
        http_write(r, "two\n", 4);
        http_end(r);
    } else if (str_eq(path, STR("/watch")))
        watch(p, r);
    /* else: no answer */
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    loop_run(p->loop, NULL);
    return NULL;
}

static void peer_open(struct peer *p, struct loop *l)
{
    struct err err = {0};
    p->loop = l ? l : loop_new(&err);
    p->http = http_server_new(
        p->loop, &(struct http_server_opts){.addr = "127.0.0.1:0", .handler = handler, .ctx = p},
        &err);
    if (!p->http)
        fail_msg("%s", err.msg);
    str_copyf(p->url, sizeof p->url, "http://%s", http_server_addr(p->http));
    if (!l)
        assert_int_equal(pthread_create(&p->thread, NULL, peer_main, p), 0);
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void peer_close(struct peer *p)
{
    loop_post(p->loop, stop, p->loop);
    pthread_join(p->thread, NULL);
    http_server_free(p->http);
    loop_free(p->loop);
}

static void test_answers(void **state)
{
    static const struct {
        const char *path;
        enum err_code code;
        const char *needle, *hint;
    } cases[] = {
        {"/ok", ERR_NONE},
        {"/empty", ERR_NONE},
        {"/missing", ERR_NOT_FOUND, "no x", "try y"},
        {"/refused", ERR_NO_PLACEMENT, "too big", ""},
        {"/openai", ERR_NOT_FOUND, "no m", ""},
        {"/page", ERR_UNREACHABLE, "status 502", ""},
        {"/garbage", ERR_COUNT, "answer of http://", ""},
        {"/cut", ERR_UNREACHABLE, "is it running? stowage serve", ""},
    };
    struct peer p = {0};
    struct err err = {0};
    char hint[240];
    peer_open(&p, NULL);
    struct client *c = client_new(NULL, p.url, "sk-abc", &err);
    assert_non_null(c);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_auto_t *doc = NULL;
        err = (struct err){0};
        int rc = client_do(c, "GET", cases[i].path, NULL, &doc, hint, &err);
        if (rc != (cases[i].code ? -1 : 0))
            fail_msg("%s: %d %s", cases[i].path, rc, err.msg);
        if (cases[i].code && cases[i].code != ERR_COUNT)
            assert_int_equal(err.code, cases[i].code);
        if (cases[i].needle && !strstr(err.msg, cases[i].needle))
            fail_msg("%s: %s", cases[i].path, err.msg);
        if (cases[i].hint)
            assert_string_equal(hint, cases[i].hint);
    }
    assert_string_equal(p.auth, "Bearer sk-abc");
    json_auto_t *body = json_pack("{s:s}", "x", "y"), *doc = NULL;
    assert_int_equal(client_do(c, "POST", "/ok", body, &doc, NULL, NULL), 0);
    assert_string_equal(p.method, "POST");
    assert_string_equal(p.body, "{\"x\":\"y\"}");
    assert_int_equal(json_integer_value(json_object_get(doc, "a")), 1);
    client_free(c);
    peer_close(&p);
}

static bool collect(void *arg, const char *p, size_t n)
{
    buf_add(arg, p, n);
    return true;
}

static bool refuse_more(void *arg, const char *p, size_t n)
{
    ++*(int *)arg;
    return false;
}

static void test_streams(void **state)
{
    struct peer p = {0};
    struct err err = {0};
    buf_auto struct buf got;
    int calls = 0;
    buf_init(&got, 1000);
    peer_open(&p, NULL);
    struct client *c = client_new(NULL, p.url, NULL, &err);
    assert_int_equal(client_stream(c, "GET", "/stream", NULL, collect, &got, &err), 0);
    assert_string_equal(got.p, "one\ntwo\n");
    assert_string_equal(p.auth, "");
    assert_int_equal(client_stream(c, "GET", "/stream", NULL, refuse_more, &calls, &err), 0);
    assert_int_equal(calls, 1);
    assert_int_equal(client_stream(c, "GET", "/missing", NULL, refuse_more, &calls, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(calls, 1);
    client_free(c);
    peer_close(&p);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *url, *key;
        bool ok;
    } cases[] = {
        {"http://127.0.0.1:8080", NULL, true},
        {"http://hill", NULL, true},
        {"http://[::1]:8080/", NULL, true},
        {"http://hill:8080/stowage/", "sk-1", true},
        {"https://hill", NULL, false},
        {"hill:8080", NULL, false},
        {"http://", NULL, false},
        {"http://hill:0", NULL, false},
        {"http://hill:70000", NULL, false},
        {"http://hill:80x", NULL, false},
        {"http://a b", NULL, false},
        {"http://hill", "sk with space", false},
        {"http://hill", "sk\r\nX: y", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        struct client *c = client_new(NULL, cases[i].url, cases[i].key, &err);
        if ((c != NULL) != cases[i].ok)
            fail_msg("%s: %s", cases[i].url, c ? "accepted" : err.msg);
        client_free(c);
    }
}

static void test_unreachable(void **state)
{
    struct err err = {0};
    struct client *c = client_new(NULL, "http://127.0.0.1:1", NULL, &err);
    assert_int_equal(client_do(c, "GET", "/ok", NULL, NULL, NULL, &err), -1);
    assert_int_equal(err.code, ERR_UNREACHABLE);
    assert_non_null(strstr(err.msg, "http://127.0.0.1:1"));
    assert_non_null(strstr(err.msg, "stowage serve"));
    client_free(c);
}

/* ---- on a loop ---- */

struct seen {
    struct loop *loop;
    struct client_watch *watch;
    int numbers[8], n, ups, downs;
    struct err last, answer;
    bool done, free_inside;
};

static void on_tick(void *arg, const char *event, const json_t *data)
{
    struct seen *s = arg;
    assert_string_equal(event, "tick");
    s->numbers[s->n++] = (int)json_integer_value(json_object_get(data, "n"));
    if (s->free_inside) {
        client_watch_free(s->watch);
        loop_stop(s->loop);
    }
    if (s->n == 3)
        loop_stop(s->loop);
}

static void on_state(void *arg, bool up, const struct err *err)
{
    struct seen *s = arg;
    s->ups += up;
    s->downs += !up;
    if (err)
        s->last = *err;
}

static void on_answer(void *arg, const json_t *doc, const struct err *err)
{
    struct seen *s = arg;
    s->done = true;
    if (err)
        s->answer = *err;
    loop_stop(s->loop);
}

static void too_late(void *arg)
{
    fail_msg("timed out");
}

static void test_watch(void **state)
{
    for (int bad = 0; bad < 2; bad++) {
        struct err err = {0};
        struct loop *l = loop_new(&err);
        struct peer p = {.bad_event = bad};
        struct seen s = {.loop = l};
        peer_open(&p, l);
        struct client *c = client_new(l, p.url, "sk-w", &err);
        struct loop_timer *t = loop_timer_add(l, 10000, too_late, NULL);
        client_watch_new(c, "/watch", on_tick, on_state, &s);
        assert_int_equal(loop_run(l, NULL), 0);
        loop_timer_del(t);
        assert_int_equal(s.numbers[0], 1);
        assert_int_equal(s.numbers[1], 2);
        assert_int_equal(s.numbers[2], 3);
        assert_int_equal(s.ups, 2);
        assert_int_equal(s.downs, 1); /* one outage, although two tries failed */
        assert_string_equal(p.last_id, "8");
        assert_string_equal(p.accept, "text/event-stream");
        assert_string_equal(p.auth, "Bearer sk-w");
        client_free(c); /* with its watch */
        http_server_free(p.http);
        loop_free(l);
    }
}

static void test_watch_freed_inside(void **state)
{
    struct err err = {0};
    struct loop *l = loop_new(&err);
    struct peer p = {0};
    struct seen s = {.loop = l, .free_inside = true};
    peer_open(&p, l);
    struct client *c = client_new(l, p.url, NULL, &err);
    s.watch = client_watch_new(c, "/watch", on_tick, on_state, &s);
    struct loop_timer *t = loop_timer_add(l, 10000, too_late, NULL);
    assert_int_equal(loop_run(l, NULL), 0);
    loop_timer_del(t);
    assert_int_equal(s.n, 1);
    client_free(c);
    http_server_free(p.http);
    loop_free(l);
}

static void test_calls(void **state)
{
    struct err err = {0};
    struct loop *l = loop_new(&err);
    struct peer p = {0};
    struct seen s = {.loop = l}, cancelled = {.loop = l};
    peer_open(&p, l);
    struct client *c = client_new(l, p.url, NULL, &err);
    struct loop_timer *t = loop_timer_add(l, 10000, too_late, NULL);
    client_call_cancel(client_send(c, "GET", "/ok", NULL, 1000, on_answer, &cancelled));
    client_send(c, "GET", "/silent", NULL, 100, on_answer, &s);
    loop_run(l, NULL);
    assert_true(s.done);
    assert_int_equal(s.answer.code, ERR_TIMEOUT);
    assert_false(cancelled.done);
    client_send(c, "GET", "/silent", NULL, 0, on_answer, &cancelled);
    client_free(c); /* cancels */
    assert_false(cancelled.done);
    loop_timer_del(t);
    http_server_free(p.http);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_streams),
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_unreachable),
        cmocka_unit_test(test_watch),     cmocka_unit_test(test_watch_freed_inside),
        cmocka_unit_test(test_calls),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    log_quiet(true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
