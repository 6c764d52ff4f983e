/* HTTP bytes: heads of requests and responses, targets, chunked bodies. The first byte of an input
 * says which: q request, r response, c chunked body (the second byte then says where it is cut). */
#include "base/mem.h"
#include "net/http_conn.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct err *err)
{
    assert(err->code == ERR_INVALID || err->code == ERR_LIMIT);
    assert(err->msg[0] && memchr(err->msg, 0, sizeof err->msg));
    for (const char *p = err->msg; *p; p++)
        assert((unsigned char)*p >= ' ' || *p == '\t');
}

static void check_inside(struct str s, const char *p, size_t n)
{
    assert(s.n == 0 || (s.p >= p && s.p + s.n <= p + n));
    for (size_t i = 0; i < s.n; i++)
        assert(s.p[i] != '\r' && s.p[i] != '\n' && s.p[i] != 0);
}

static void check_target(struct str target)
{
    char *path = NULL, value[64];
    struct str query;
    struct err err = {0};
    if (url_split(target, &path, &query, &err) != 0) {
        check_error(&err);
        return;
    }
    assert(strcmp(path, "..") != 0 && !strstr(path, "/../") && !strstr(path, "/./"));
    if (url_query(query, "a", value, sizeof value))
        assert(strlen(value) < sizeof value);
    free(path);
}

static void fuzz_head(const char *p, size_t n, bool response)
{
    struct http_head h, again;
    struct err err = {0};
    int64_t used = http_parse_head(p, n, response, &h, &err);
    if (used < 0)
        check_error(&err);
    if (used <= 0)
        return;
    assert((size_t)used <= n && used <= HTTP_MAX_HEAD);
    assert(p[used - 1] == '\n' && p[used - 2] == '\r');
    check_inside(h.method, p, (size_t)used);
    check_inside(h.target, p, (size_t)used);
    for (size_t i = 0; i < h.n_headers; i++) {
        check_inside(h.headers[i].name, p, (size_t)used);
        check_inside(h.headers[i].value, p, (size_t)used);
    }
    assert(!(h.chunked && h.has_length));
    assert(h.length < UINT64_MAX / 2);
    /* What follows the head means nothing to it, and without its last byte it is incomplete. */
    assert(http_parse_head(p, (size_t)used, response, &again, NULL) == used);
    assert(again.n_headers == h.n_headers && again.length == h.length);
    assert(http_parse_head(p, (size_t)used - 1, response, &again, NULL) == 0);
    if (!response)
        check_target(h.target);
}

struct decoded {
    struct buf out;
    bool bad, done;
    size_t used;
};

static void decode(struct decoded *d, struct http_chunked *c, const char *p, size_t n)
{
    for (size_t at = 0; at < n && !d->bad && !d->done;) {
        struct str span;
        struct err err = {0};
        int64_t used = http_chunked_next(c, p + at, n - at, &span, &d->done, &err);
        d->bad = used < 0;
        if (d->bad) {
            check_error(&err);
            return;
        }
        assert(used > 0 && (size_t)used <= n - at);
        check_inside((struct str){span.p, 0}, p, n);
        assert(span.n <= (size_t)used);
        buf_add(&d->out, span.p, span.n);
        at += (size_t)used;
        d->used += (size_t)used;
    }
}

static void fuzz_chunked(const char *p, size_t n, size_t cut)
{
    struct http_chunked c = {0}, c2 = {0};
    struct decoded whole = {0}, split = {0};
    buf_init(&whole.out, n + 1);
    buf_init(&split.out, n + 1);
    decode(&whole, &c, p, n);
    if (cut > n)
        cut = n;
    decode(&split, &c2, p, cut);
    decode(&split, &c2, p + cut, n - cut);
    assert(whole.bad == split.bad && whole.done == split.done && whole.out.n == split.out.n);
    assert(whole.bad || whole.used == split.used);
    assert(memcmp(whole.out.n ? whole.out.p : "", split.out.n ? split.out.p : "", whole.out.n) ==
           0);
    assert(!whole.out.full && whole.out.n <= n);
    buf_done(&whole.out);
    buf_done(&split.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *p = (const char *)data + 1;
    if (data[0] == 'c')
        fuzz_chunked(p + 1, size - 2, data[1]);
    else
        fuzz_head(p, size - 1, data[0] == 'r');
    return 0;
}
