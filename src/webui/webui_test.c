/* Embedded assets and the rules of serving them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "webui/assets.h"
#include "webui/webui.h"

static struct str optional(const char *s)
{
    return s ? str_of(s) : (struct str){NULL, 0};
}

static void test_gzip(void **state)
{
    static const struct {
        const char *header;
        bool takes;
    } cases[] = {
        {NULL, false},          {"", false},
        {"gzip", true},         {"GZIP", true},
        {"br, gzip", true},     {"deflate,gzip;q=0.5", true},
        {"gzip;q=0", false},    {"gzip; q=0.000", false},
        {"gzip;q=0.001", true}, {"*", true},
        {"*;q=0", false},       {"*;q=0, gzip", true},
        {"gzip;q=0, *", false}, {"xgzip", false},
        {"gzipx", false},       {"identity", false},
        {", ,gzip", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (webui_takes_gzip(optional(cases[i].header)) != cases[i].takes)
            fail_msg("accept-encoding '%s': want %d", cases[i].header, cases[i].takes);
}

static void test_etag(void **state)
{
    static const struct {
        const char *header;
        bool known;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"\"x\", \"abc\"", true},
        {"*", true},
        {"abc", false},
        {"\"abcd\"", false},
        {"\"ab\"", false},
        {"\"abc", false},
        {"\"abc-gz\"", false},
        {"\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (webui_etag_known(optional(cases[i].header), "abc") != cases[i].known)
            fail_msg("if-none-match '%s': want %d", cases[i].header, cases[i].known);
}

static void test_find(void **state)
{
    const struct webui_asset *page = webui_find(STR("/"));
    assert_non_null(page);
    assert_ptr_equal(page, webui_find(STR("/index.html")));
    assert_string_equal(page->type, "text/html; charset=utf-8");
    assert_false(page->immutable);
    assert_null(webui_find(STR("")));
    assert_null(webui_find(STR("/index.htm")));
    assert_null(webui_find(STR("/assets/")));
    assert_null(webui_find(STR("/.sources")));
    assert_null(webui_find(STR("/index.html.gz")));
}

/* Every asset lies in the blob where the table says: text is text, gzip begins with its magic. */
static void test_assets(void **state)
{
    assert_true(webui_n_assets > 0);
    for (size_t i = 0; i < webui_n_assets; i++) {
        const struct webui_asset *a = &webui_assets[i];
        assert_int_equal(a->path[0], '/');
        assert_true(a->n > 0);
        assert_int_equal(strlen(a->etag), 20);
        if (strncmp(a->type, "text/html", 9) == 0)
            assert_memory_equal(webui_blob + a->at, "<!doctype html>", 15);
        if (a->gz_n > 0) {
            assert_int_equal(webui_blob[a->gz_at], 0x1f);
            assert_int_equal(webui_blob[a->gz_at + 1], 0x8b);
        }
        if (a->immutable)
            assert_int_equal(strncmp(a->path, "/assets/", 8), 0);
    }
}

/* The page names its script and style; each must be an asset, so that no request of the page fails.
 */
static void test_references(void **state)
{
    const struct webui_asset *page = webui_find(STR("/"));
    const char *p = (const char *)webui_blob + page->at, *end = p + page->n;
    size_t n = 0;
    for (; (p = memmem(p, (size_t)(end - p), "\"assets/", 8)); n++) {
        p++;
        const char *quote = memchr(p, '"', (size_t)(end - p));
        assert_non_null(quote);
        char path[128];
        assert_true(str_copyf(path, sizeof path, "/%.*s", (int)(quote - p), p));
        const struct webui_asset *a = webui_find(str_of(path));
        if (!a)
            fail_msg("the page names %s, which is not embedded", path);
        assert_true(a->immutable);
        p = quote;
    }
    /* Either the real page with both, or the plain one with neither. */
    assert_true(n == 2 || webui_n_assets == 1);
}

/* One request over a real connection. */
struct trip {
    struct loop *loop;
    int status;
    char etag[64], cache[64], policy[160], encoding[16];
    struct buf body;
    bool failed;
};

static void on_request(void *ctx, struct http_req *r)
{
    (void)ctx;
    if (!webui_handle(r))
        http_reply(r, 404, "text/plain", "none", 4);
}

static void keep(char *dst, size_t cap, const struct http_head *h, const char *name)
{
    struct str v = http_find(h->headers, h->n_headers, name);
    str_copyf(dst, cap, "%.*s", (int)v.n, v.p ? v.p : "");
}

static void on_head(void *arg, const struct http_head *h)
{
    struct trip *t = arg;
    t->status = h->status;
    keep(t->etag, sizeof t->etag, h, "etag");
    keep(t->cache, sizeof t->cache, h, "cache-control");
    keep(t->policy, sizeof t->policy, h, "content-security-policy");
    keep(t->encoding, sizeof t->encoding, h, "content-encoding");
}

static void on_body(void *arg, const char *p, size_t n)
{
    buf_add(&((struct trip *)arg)->body, p, n);
}

static void on_done(void *arg, const struct err *err)
{
    struct trip *t = arg;
    t->failed = err != NULL;
    loop_stop(t->loop);
}

/* `headers` are whole lines or NULL; t->body is the caller's to buf_done. */
static void go(struct trip *t, const char *method, const char *path, const char *headers)
{
    *t = (struct trip){.loop = loop_new(NULL)};
    buf_init(&t->body, 16 << 20);
    struct http_server *s = http_server_new(
        t->loop, &(struct http_server_opts){.addr = "127.0.0.1:0", .handler = on_request}, NULL);
    assert_non_null(s);
    http_call_new(t->loop, &(struct http_call_opts){.addr = http_server_addr(s),
                                                    .fd = -1,
                                                    .method = method,
                                                    .path = path,
                                                    .headers = headers,
                                                    .on_head = on_head,
                                                    .on_body = on_body,
                                                    .on_done = on_done,
                                                    .arg = t});
    assert_int_equal(loop_run(t->loop, NULL), 0);
    http_server_free(s);
    loop_free(t->loop);
    assert_false(t->failed);
}

static void test_requests(void **state)
{
    const struct webui_asset *page = webui_find(STR("/"));
    char known[128];
    str_copyf(known, sizeof known, "If-None-Match: \"%s\"\r\n", page->etag);
    const struct {
        const char *method, *path, *headers;
        int status;
        size_t n; /* of the body */
        const char *encoding;
    } cases[] = {
        {"GET", "/", NULL, 200, page->n, ""},
        {"GET", "/?x=1", NULL, 200, page->n, ""},
        {"HEAD", "/", NULL, 200, 0, ""},
        {"GET", "/", "Accept-Encoding: gzip\r\n", 200, page->gz_n, "gzip"},
        {"GET", "/", known, 304, 0, ""},
        {"GET", "/", "If-None-Match: \"other\"\r\n", 200, page->n, ""},
        {"GET", "/nothing", NULL, 404, 4, ""},
        {"POST", "/", NULL, 404, 4, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trip t;
        go(&t, cases[i].method, cases[i].path, cases[i].headers);
        if (t.status != cases[i].status || t.body.n != cases[i].n ||
            strcmp(t.encoding, cases[i].encoding) != 0)
            fail_msg("%s %s %s: %d, %zu bytes, '%s'", cases[i].method, cases[i].path,
                     cases[i].headers ? cases[i].headers : "", t.status, t.body.n, t.encoding);
        if (t.status == 200 && strcmp(cases[i].method, "GET") == 0)
            assert_memory_equal(t.body.p, webui_blob + (*t.encoding ? page->gz_at : page->at),
                                t.body.n);
        if (t.status != 404) {
            assert_non_null(strstr(t.policy, "default-src 'self'"));
            assert_string_equal(t.cache, "no-cache");
            assert_non_null(strstr(t.etag, page->etag));
            assert_int_equal(strstr(t.etag, "-gz\"") != NULL, *t.encoding != 0);
        }
        buf_done(&t.body);
    }
}

/* The gzip variant has a validator of its own: the plain one's must not answer 304 for it. */
static void test_variant_validators(void **state)
{
    const struct webui_asset *page = webui_find(STR("/"));
    char headers[160];
    struct trip t;
    for (int gz = 0; gz < 2; gz++) {
        str_copyf(headers, sizeof headers, "Accept-Encoding: gzip\r\nIf-None-Match: \"%s%s\"\r\n",
                  page->etag, gz ? "-gz" : "");
        go(&t, "GET", "/", headers);
        assert_int_equal(t.status, gz ? 304 : 200);
        buf_done(&t.body);
    }
}

static void test_immutable(void **state)
{
    for (size_t i = 0; i < webui_n_assets; i++) {
        struct trip t;
        go(&t, "GET", webui_assets[i].path, NULL);
        assert_int_equal(t.status, 200);
        assert_int_equal(strstr(t.cache, "immutable") != NULL, webui_assets[i].immutable);
        buf_done(&t.body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_etag),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_assets),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_variant_validators),
        cmocka_unit_test(test_immutable),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
