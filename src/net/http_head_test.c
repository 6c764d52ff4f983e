/* net/http codec: what a head and a chunked body may look like, in every split. */
#include "net/http.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/http_conn.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#define H "Host: x\r\n"

enum want { OK, BAD, LIMIT, MORE };

static const struct {
    const char *name;
    enum want want;
    const char *text;
} REQUESTS[] = {
    {"plain", OK, "GET / HTTP/1.1\r\n" H "\r\n"},
    {"no headers, 1.0", OK, "GET / HTTP/1.0\r\n\r\n"},
    {"empty value", OK, "GET / HTTP/1.1\r\n" H "A:\r\n\r\n"},
    {"no space after colon", OK, "GET / HTTP/1.1\r\n" H "A:b\r\n\r\n"},
    {"spaces around value", OK, "GET / HTTP/1.1\r\n" H "A: \t b \t\r\n\r\n"},
    {"high bytes in value", OK, "GET / HTTP/1.1\r\n" H "A: \xc3\xa9\r\n\r\n"},
    {"absolute form", OK, "GET http://x/y?z HTTP/1.1\r\n" H "\r\n"},
    {"absolute form without path", OK, "GET http://x HTTP/1.1\r\n" H "\r\n"},
    {"asterisk", OK, "OPTIONS * HTTP/1.1\r\n" H "\r\n"},
    {"length zero", OK, "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n"},
    {"chunked in capitals", OK, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\n"},
    {"empty host", OK, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
    {"host with port", OK, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"},
    {"incomplete", MORE, "GET / HTTP/1.1\r\n" H},
    {"incomplete end", MORE, "GET / HTTP/1.1\r\n" H "\r"},
    {"nothing", MORE, ""},
    {"leading empty line", BAD, "\r\nGET / HTTP/1.1\r\n" H "\r\n"},
    {"cl and te", BAD,
     "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"te and cl", BAD,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"},
    {"two lengths", BAD, "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\n"},
    {"two equal lengths", BAD,
     "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\ncontent-length: 3\r\n\r\n"},
    {"length list", BAD, "POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\n"},
    {"empty length", BAD, "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"},
    {"length +5", BAD, "POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"},
    {"length -5", BAD, "POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n"},
    {"length 0x5", BAD, "POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n"},
    {"length 5 5", BAD, "POST / HTTP/1.1\r\n" H "Content-Length: 5 5\r\n\r\n"},
    {"length beyond 64 bits", BAD,
     "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551621\r\n\r\n"},
    {"te xchunked", BAD, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"},
    {"te list", BAD, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"},
    {"te identity", BAD, "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n"},
    {"te twice", BAD,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"te empty", BAD, "POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n"},
    {"te with vertical tab", BAD,
     "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n"},
    {"te in 1.0", BAD, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"bare lf", BAD, "GET / HTTP/1.1\n" H "\r\n"},
    {"bare lf in headers", BAD, "GET / HTTP/1.1\r\nHost: x\n\r\n"},
    {"bare lf at the end", BAD, "GET / HTTP/1.1\r\n" H "\n"},
    {"bare cr in value", BAD, "GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n"},
    {"obs-fold", BAD, "GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n"},
    {"obs-fold with tab", BAD, "GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n"},
    {"space before first header", BAD, "GET / HTTP/1.1\r\n Host: x\r\n\r\n"},
    {"space before colon", BAD, "GET / HTTP/1.1\r\n" H "A : b\r\n\r\n"},
    {"no colon", BAD, "GET / HTTP/1.1\r\n" H "A\r\n\r\n"},
    {"empty name", BAD, "GET / HTTP/1.1\r\n" H ": b\r\n\r\n"},
    {"name with brackets", BAD, "GET / HTTP/1.1\r\n" H "A[1]: b\r\n\r\n"},
    {"delete in value", BAD, "GET / HTTP/1.1\r\n" H "A: b\x7f\r\n\r\n"},
    {"no host", BAD, "GET / HTTP/1.1\r\n\r\n"},
    {"two hosts", BAD, "GET / HTTP/1.1\r\n" H H "\r\n"},
    {"host with slash", BAD, "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"},
    {"host with user", BAD, "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n"},
    {"absolute form of another host", BAD, "GET http://y/ HTTP/1.1\r\n" H "\r\n"},
    {"absolute form with user", BAD, "GET http://x@y/ HTTP/1.1\r\n" H "\r\n"},
    {"authority form", BAD, "CONNECT x:443 HTTP/1.1\r\n" H "\r\n"},
    {"asterisk for get", BAD, "GET * HTTP/1.1\r\n" H "\r\n"},
    {"relative target", BAD, "GET x HTTP/1.1\r\n" H "\r\n"},
    {"fragment", BAD, "GET /#a HTTP/1.1\r\n" H "\r\n"},
    {"high byte in target", BAD, "GET /\xc3 HTTP/1.1\r\n" H "\r\n"},
    {"tab in target", BAD, "GET /\t HTTP/1.1\r\n" H "\r\n"},
    {"two spaces", BAD, "GET  / HTTP/1.1\r\n" H "\r\n"},
    {"space at the end", BAD, "GET / HTTP/1.1 \r\n" H "\r\n"},
    {"no version", BAD, "GET /\r\n" H "\r\n"},
    {"version 0.9", BAD, "GET / HTTP/0.9\r\n" H "\r\n"},
    {"version 1.2", BAD, "GET / HTTP/1.2\r\n" H "\r\n"},
    {"version 2.0", BAD, "PRI * HTTP/2.0\r\n\r\n"},
    {"version in small letters", BAD, "GET / http/1.1\r\n" H "\r\n"},
    {"version 1.10", BAD, "GET / HTTP/1.10\r\n" H "\r\n"},
    {"method with colon", BAD, "G:T / HTTP/1.1\r\n" H "\r\n"},
    {"endless method", BAD, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" H "\r\n"},
    {"unknown expectation", BAD, "POST / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n"},
    {"tls", BAD, "\x16\x03\x01\x02\r\n"},
};

static enum want parse(const char *p, size_t n, bool response, struct http_head *h)
{
    struct err e = {0};
    int64_t used = http_parse_head(p, n, response, h, &e);
    if (used < 0)
        return e.code == ERR_LIMIT ? LIMIT : BAD;
    assert_true((size_t)used <= n);
    return used ? OK : MORE;
}

/* Every prefix says "more", or what the whole says: bytes that come late change nothing. The copy
 * has the exact size, so that a sanitizer sees a read past it. */
static void check_prefixes(const char *name, const char *text, size_t n, bool response,
                           enum want want)
{
    struct http_head h;
    for (size_t k = 0; k <= n; k++) {
        char *exact = malloc(k ? k : 1);
        memcpy(exact, text, k);
        enum want got = parse(exact, k, response, &h);
        free(exact);
        if (got != want && (k == n || got != MORE))
            fail_msg("%s: %d after %zu of %zu bytes", name, got, k, n);
    }
}

static void test_requests(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(REQUESTS); i++)
        check_prefixes(REQUESTS[i].name, REQUESTS[i].text, strlen(REQUESTS[i].text), false,
                       REQUESTS[i].want);
    static const char nul[] = "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n";
    check_prefixes("nul in value", nul, sizeof nul - 1, false, BAD);
    static const char nul_name[] = "GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n";
    check_prefixes("nul in name", nul_name, sizeof nul_name - 1, false, BAD);
    static const char nul_host[] = "GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n";
    check_prefixes("nul in host", nul_host, sizeof nul_host - 1, false, BAD);
}

static void test_responses(void **state)
{
    static const struct {
        const char *name;
        enum want want;
        const char *text;
    } cases[] = {
        {"plain", OK, "HTTP/1.1 200 OK\r\n\r\n"},
        {"empty reason", OK, "HTTP/1.1 200 \r\n\r\n"},
        {"1.0", OK, "HTTP/1.0 599 x y\r\nA: b\r\n\r\n"},
        {"no space after status", BAD, "HTTP/1.1 200\r\n\r\n"},
        {"two digits", BAD, "HTTP/1.1 20 OK now\r\n\r\n"},
        {"four digits", BAD, "HTTP/1.1 2000 OK\r\n\r\n"},
        {"status 099", BAD, "HTTP/1.1 099 OK\r\n\r\n"},
        {"status 600", BAD, "HTTP/1.1 600 OK\r\n\r\n"},
        {"status +20", BAD, "HTTP/1.1 +20 OK\r\n\r\n"},
        {"cl and te", BAD,
         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"two lengths", BAD, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n"},
        {"escape in reason", BAD, "HTTP/1.1 200 \x1b[31m\r\n\r\n"},
        {"not http", BAD, "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_prefixes(cases[i].name, cases[i].text, strlen(cases[i].text), true, cases[i].want);
}

static void test_meaning(void **state)
{
    static const struct {
        const char *text;
        bool keep_alive, chunked, has_length, expect;
        uint64_t length;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" H "\r\n", true, false, false, false, 0},
        {"GET / HTTP/1.0\r\n\r\n", false, false, false, false, 0},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false, false, false, 0},
        {"GET / HTTP/1.1\r\n" H "Connection: x, CLOSE ,y\r\n\r\n", false, false, false, false, 0},
        {"GET / HTTP/1.1\r\n" H "Connection: x\r\nconnection: close\r\n\r\n", false, false, false,
         false, 0},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 007\r\n\r\n", true, false, true, false, 7},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n", true,
         true, false, true, 0},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 999999999999999999\r\n\r\n", true, false, true,
         false, 999999999999999999},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_head h;
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), false, &h), OK);
        assert_int_equal(h.keep_alive, cases[i].keep_alive);
        assert_int_equal(h.chunked, cases[i].chunked);
        assert_int_equal(h.has_length, cases[i].has_length);
        assert_int_equal(h.expect_continue, cases[i].expect);
        assert_true(h.length == cases[i].length);
    }
}

static void test_limits(void **state)
{
    struct http_head h;
    buf_auto struct buf b;
    buf_init(&b, 1 << 20);
    buf_adds(&b, "GET / HTTP/1.1\r\n" H "a: ");
    size_t start = b.n;
    for (int i = 0; i < 65536; i++)
        buf_addc(&b, 'x');
    assert_int_equal(parse(b.p, HTTP_MAX_HEAD - 1, false, &h), MORE);
    assert_int_equal(parse(b.p, HTTP_MAX_HEAD, false, &h), LIMIT);
    memcpy(b.p + HTTP_MAX_HEAD - 4, "\r\n\r\n", 4);
    assert_int_equal(parse(b.p, b.n, false, &h), OK);
    memcpy(b.p + HTTP_MAX_HEAD - 4, "x\r\n\r\n", 5);
    assert_int_equal(parse(b.p, b.n, false, &h), LIMIT);
    b.n = start - 3;
    for (int i = 1; i < HTTP_MAX_HEADERS; i++)
        buf_adds(&b, "a:\r\n");
    size_t full = b.n;
    buf_adds(&b, "\r\n");
    assert_int_equal(parse(b.p, b.n, false, &h), OK);
    assert_int_equal(h.n_headers, HTTP_MAX_HEADERS);
    b.n = full;
    for (int i = 0; i < 9900; i++)
        buf_adds(&b, "a:\r\n");
    buf_adds(&b, "\r\n");
    assert_int_equal(parse(b.p, b.n, false, &h), LIMIT);
}

/* Text of a chunked body, decoded; NULL for malformed; "..." appended while incomplete. */
static const struct {
    const char *name, *in, *out;
} BODIES[] = {
    {"one", "3\r\nabc\r\n0\r\n\r\n", "abc"},
    {"two", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde"},
    {"hex", "A\r\n0123456789\r\n00a\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
    {"empty", "0\r\n\r\n", ""},
    {"zeros", "0000\r\n\r\n", ""},
    {"extension", "3;a=\"b c\";d\r\nabc\r\n0;x\r\n\r\n", "abc"},
    {"trailers", "3\r\nabc\r\n0\r\nHost: evil\r\nA:\r\n\r\n", "abc"},
    {"more after the end", "0\r\n\r\nGET / HTTP/1.1\r\n", ""},
    {"unfinished", "3\r\nab", "ab..."},
    {"no end", "3\r\nabc\r\n0\r\n", "abc..."},
    {"bytes like framing", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"},
    {"0x5", "0x5\r\nabcde\r\n0\r\n\r\n", NULL},
    {"+5", "+5\r\nabcde\r\n0\r\n\r\n", NULL},
    {"-1", "-1\r\n", NULL},
    {"space before", " 5\r\nabcde\r\n0\r\n\r\n", NULL},
    {"space after", "5 \r\nabcde\r\n0\r\n\r\n", NULL},
    {"space before extension", "5 ;a\r\nabcde\r\n0\r\n\r\n", NULL},
    {"no size", "\r\nabc\r\n", NULL},
    {"no size but extension", ";a\r\n", NULL},
    {"not hex", "g\r\n", NULL},
    {"bare lf", "3\nabc\r\n0\r\n\r\n", NULL},
    {"bare cr", "3\rabc", NULL},
    {"lf after data", "3\r\nabc\n0\r\n\r\n", NULL},
    {"data too long", "3\r\nabcd\r\n0\r\n\r\n", NULL},
    {"data too short", "4\r\nabc\r\n0\r\n\r\n", NULL},
    {"lf in extension", "3;a\nabc\r\n", NULL},
    {"16 digits", "1000000000000000\r\n", NULL},
    {"17 zeros", "00000000000000000\r\n", NULL},
    {"folded trailer", "0\r\nA: b\r\n c\r\n\r\n", NULL},
    {"trailer without colon", "0\r\nabc\r\n\r\n", NULL},
    {"trailer with bare lf", "0\r\nA: b\n\r\n", NULL},
    {"trailer with empty name", "0\r\n: b\r\n\r\n", NULL},
    {"end with bare lf", "0\r\n\n", NULL},
};

static bool feed(struct http_chunked *c, const char *p, size_t n, struct buf *out, bool *done)
{
    for (size_t at = 0; at < n && !*done;) {
        struct str span;
        int64_t used = http_chunked_next(c, p + at, n - at, &span, done, NULL);
        if (used < 0)
            return false;
        assert_true((size_t)used <= n - at && (used > 0 || *done));
        buf_add(out, span.p, span.n);
        at += (size_t)used;
    }
    return true;
}

static void check_body(size_t i, size_t cut)
{
    const char *in = BODIES[i].in;
    size_t n = strlen(in);
    buf_auto struct buf out;
    buf_init(&out, 4096);
    struct http_chunked c = {0};
    bool done = false, ok = true;
    if (cut <= n)
        ok = feed(&c, in, cut, &out, &done) && feed(&c, in + cut, n - cut, &out, &done);
    for (size_t k = 0; cut > n && ok && k < n; k++)
        ok = feed(&c, in + k, 1, &out, &done);
    if (ok && !done)
        buf_adds(&out, "...");
    if (!ok != !BODIES[i].out || (ok && strcmp(out.p ? out.p : "", BODIES[i].out) != 0))
        fail_msg("%s, cut at %zu: %s \"%s\"", BODIES[i].name, cut, ok ? "ok" : "bad", out.p);
}

static void test_chunked(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(BODIES); i++)
        for (size_t cut = 0; cut <= strlen(BODIES[i].in) + 1; cut++)
            check_body(i, cut);
}

/* Framing without data is bounded: per line, and over the whole body. */
static void test_chunk_flood(void **state)
{
    static const struct {
        const char *name, *first, *again;
        size_t bytes;
    } cases[] = {
        {"one endless extension", "1;", "a", 300},
        {"many extensions", "", "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n", 20000},
        {"endless trailer", "0\r\nA: ", "b", 10000},
        {"many trailers", "0\r\n", "A: b\r\n", 20000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_chunked c = {0};
        buf_auto struct buf in, out;
        buf_init(&in, 1 << 20);
        buf_init(&out, 1 << 20);
        bool done = false;
        buf_adds(&in, cases[i].first);
        while (in.n < cases[i].bytes)
            buf_adds(&in, cases[i].again);
        if (feed(&c, in.p, in.n, &out, &done))
            fail_msg("%s is taken", cases[i].name);
    }
}

static void test_url(void **state)
{
    static const struct {
        const char *target, *path, *query;
    } cases[] = {
        {"/", "/", ""},           {"/a%20b?c=d", "/a b", "c=d"},
        {"/a+b", "/a+b", ""},     {"/caf%C3%A9", "/caf\xc3\xa9", ""},
        {"/a//b/", "/a//b/", ""}, {"/...", "/...", ""},
        {"/.a/b.", "/.a/b.", ""}, {"http://x/y?z", "/y", "z"},
        {"http://x", "/", ""},    {"http://x?q=/y", "/", "q=/y"},
        {"*", "*", ""},           {"/..", NULL, NULL},
        {"/../x", NULL, NULL},    {"/x/..", NULL, NULL},
        {"/x/./y", NULL, NULL},   {"/%2e%2e/x", NULL, NULL},
        {"/.%2e", NULL, NULL},    {"/x%2f..%2fy", NULL, NULL},
        {"/%2e", NULL, NULL},     {"/%00", NULL, NULL},
        {"/%0a", NULL, NULL},     {"/%7f", NULL, NULL},
        {"/%5c..", NULL, NULL},   {"/%", NULL, NULL},
        {"/%4", NULL, NULL},      {"/%4g", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *path = NULL;
        struct str query = {0};
        struct err e;
        int rc = url_split(str_of(cases[i].target), &path, &query, &e);
        if ((rc == 0) != (cases[i].path != NULL))
            fail_msg("%s: %d", cases[i].target, rc);
        if (rc == 0) {
            assert_string_equal(path, cases[i].path);
            assert_true(str_eq(query, str_of(cases[i].query)));
        }
        free(path);
    }
    static const struct {
        const char *query, *name, *value;
    } queries[] = {
        {"a=1&b=2", "b", "2"},         {"a=1&a=2", "a", "1"},     {"a", "a", ""},
        {"a=b%3Dc+d", "a", "b=c d"},   {"aa=1", "a", NULL},       {"", "a", NULL},
        {"a=%00", "a", NULL},          {"a=%zz", "a", NULL},      {"&&a=1", "a", "1"},
        {"a=1234567", "a", "1234567"}, {"a=12345678", "a", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
        char dst[8] = "?";
        bool found = url_query(str_of(queries[i].query), queries[i].name, dst, sizeof dst);
        if (found != (queries[i].value != NULL))
            fail_msg("%s", queries[i].query);
        assert_string_equal(dst, found ? queries[i].value : "?");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests), cmocka_unit_test(test_responses),
        cmocka_unit_test(test_meaning),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_chunked),  cmocka_unit_test(test_chunk_flood),
        cmocka_unit_test(test_url),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
