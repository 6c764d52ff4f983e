/* net/sse: events in every split, limits, and what the writer writes read back. */
#include "net/sse.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static void record(void *arg, const struct sse_event *e)
{
    buf_addf(arg, "[%.*s|%.*s|", (int)e->event.n, e->event.p ? e->event.p : "", (int)e->id.n,
             e->id.p ? e->id.p : "");
    buf_add(arg, e->data.p, e->data.n);
    buf_addc(arg, ']');
}

static const struct {
    const char *name, *in, *out;
} CASES[] = {
    {"one", "data: a\n\n", "[||a]"},
    {"no space", "data:a\n\n", "[||a]"},
    {"two spaces keep one", "data:  a\n\n", "[|| a]"},
    {"lines join", "data: a\ndata\ndata: b\n\n", "[||a\n\nb]"},
    {"cr", "data: a\rdata: b\r\r", "[||a\nb]"},
    {"crlf", "data: a\r\ndata: b\r\n\r\n", "[||a\nb]"},
    {"mixed ends", "data: a\r\n\rdata: b\n\r\n", "[||a][||b]"},
    {"named", "event: x\nid: 7\ndata: a\n\ndata: b\n\n", "[x|7|a][|7|b]"},
    {"comment", ": hi\n\ndata: a\n: hi\n\n", "[||a]"},
    {"no data", "event: x\n\ndata: a\n\n", "[||a]"},
    {"empty data", "data\n\ndata:\n\n", "[||][||]"},
    {"unknown fields", "retry: 5\nfoo: bar\nfoo\ndata: a\n\n", "[||a]"},
    {"unfinished", "data: a\n\ndata: b\n", "[||a]"},
    {"utf-8", "data: \xc3\xa9\xe2\x82\xac\n\n", "[||\xc3\xa9\xe2\x82\xac]"},
};

/* Fed whole, byte by byte, and cut at every place. */
static void test_splits(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        size_t n = strlen(CASES[i].in);
        for (size_t cut = 0; cut <= n + 1; cut++) {
            buf_auto struct buf out;
            struct sse_parser s;
            buf_init(&out, 4096);
            sse_init(&s);
            int rc = 0;
            if (cut <= n) {
                rc |= sse_feed(&s, CASES[i].in, cut, record, &out);
                rc |= sse_feed(&s, CASES[i].in + cut, n - cut, record, &out);
            }
            for (size_t k = 0; cut > n && k < n; k++)
                rc |= sse_feed(&s, CASES[i].in + k, 1, record, &out);
            sse_done(&s);
            if (rc != 0 || strcmp(out.p ? out.p : "", CASES[i].out) != 0)
                fail_msg("%s, cut at %zu: %s", CASES[i].name, cut, out.p);
        }
    }
}

static void test_format(void **state)
{
    static const struct {
        const char *event, *id, *data, *read;
    } cases[] = {
        {NULL, NULL, "a", "[||a]"},
        {"x", "7", "a\nb", "[x|7|a\nb]"},
        {"x", NULL, "", "[x||]"},
        {NULL, NULL, "a\n", "[||a\n]"},
        {NULL, NULL, "a\r\nb\rc\n\n", "[||a\nb\nc\n\n]"},
        {"x\ndata: no", "1\r2", "event: y", "[x|1|event: y]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_auto struct buf wire, out;
        struct sse_parser s;
        buf_init(&wire, 4096);
        buf_init(&out, 4096);
        sse_init(&s);
        sse_format(&wire, cases[i].event, cases[i].id, str_of(cases[i].data));
        assert_int_equal(sse_feed(&s, wire.p, wire.n, record, &out), 0);
        assert_string_equal(out.p, cases[i].read);
        sse_done(&s);
    }
}

static void test_limits(void **state)
{
    struct sse_parser s;
    size_t n = 1 << 20;
    char *big = mem_calloc(n, 1);
    memset(big, 'x', n);
    static const char *const starts[] = {"data: ", ":", "event: ", "id: "};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        buf_auto struct buf out;
        buf_init(&out, 4096);
        sse_init(&s);
        int rc = sse_feed(&s, starts[i], strlen(starts[i]), record, &out), fed = 0;
        while (rc == 0 && fed++ < 20)
            rc = sse_feed(&s, big, n, record, &out);
        assert_int_equal(rc, -1);
        sse_done(&s);
    }
    sse_init(&s);
    buf_auto struct buf out;
    buf_init(&out, 16);
    int rc = 0, lines = 0;
    big[0] = ':';
    big[n - 1] = '\n';
    for (; rc == 0 && lines < 40; lines++) { /* comments are dropped: no limit on their sum */
        rc = sse_feed(&s, big, n, record, &out);
    }
    assert_int_equal(rc, 0);
    memcpy(big, "data:", 5);
    for (lines = 0; rc == 0 && lines < 40; lines++)
        rc = sse_feed(&s, big, n, record, &out);
    assert_int_equal(rc, -1);
    assert_in_range(lines, 16, 17);
    sse_done(&s);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_limits),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
