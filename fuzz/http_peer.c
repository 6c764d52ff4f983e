/* Speaks for our HTTP codec to http_peer.py: requests in, what it makes of them out.
 *
 * Input: 4 bytes of length (little endian) and as many of a request, again and again. Output per
 * request one line: "bad", "more", or "ok METHOD TARGET HEADERS BODY DONE REST" with bytes in hex
 * (- for none). */
#include "base/mem.h"
#include "net/http.h"

#include <stdint.h>
#include <stdio.h>

static void put_hex(const char *p, size_t n)
{
    if (!n)
        fputs(" -", stdout);
    for (size_t i = 0; i < n; i++)
        printf("%s%02x", i ? "" : " ", (unsigned char)p[i]);
}

/* The body behind the head; -1 when malformed. */
static int take_body(const struct http_head *h, const char *p, size_t n, struct buf *body,
                     bool *done, size_t *used)
{
    if (!h->chunked) {
        size_t take = n < h->length ? n : (size_t)h->length;
        buf_add(body, p, take);
        *used = take;
        *done = take == h->length;
        return 0;
    }
    struct http_chunked c = {0};
    while (*used < n && !*done) {
        struct str span;
        int64_t k = http_chunked_next(&c, p + *used, n - *used, &span, done, NULL);
        if (k < 0)
            return -1;
        buf_add(body, span.p, span.n);
        *used += (size_t)k;
    }
    return 0;
}

static void answer(const char *p, size_t n)
{
    struct http_head h;
    buf_auto struct buf body;
    buf_init(&body, n);
    bool done = false;
    size_t used = 0;
    int64_t head = http_parse_head(p, n, false, &h, NULL);
    if (head > 0 && take_body(&h, p + head, n - (size_t)head, &body, &done, &used) != 0)
        head = -1;
    if (head <= 0) {
        puts(head ? "bad" : "more");
        return;
    }
    fputs("ok", stdout);
    put_hex(h.method.p, h.method.n);
    put_hex(h.target.p, h.target.n);
    printf(" %zu", h.n_headers);
    put_hex(body.p, body.n);
    printf(" %d %zu\n", done, done ? n - (size_t)head - used : 0);
}

int main(void)
{
    unsigned char length[4];
    while (fread(length, 1, 4, stdin) == 4) {
        uint32_t n = length[0] | (uint32_t)length[1] << 8 | (uint32_t)length[2] << 16;
        char *p = mem_calloc(n, 1);
        if (fread(p, 1, n, stdin) == n)
            answer(p, n);
        free(p);
    }
    return 0;
}
