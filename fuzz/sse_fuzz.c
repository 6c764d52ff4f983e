/* Server-sent events: any cut of the stream gives the same events, and what the writer writes of
 * them reads back the same. The first byte of an input says where it is cut. */
#include "base/mem.h"
#include "net/sse.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct buf text; /* every event, one after the other */
    size_t n;
    bool writes; /* rewrites each event and reads it back */
};

static void on_event(void *arg, const struct sse_event *e);

static void add(struct buf *b, struct str s)
{
    buf_addf(b, "%zu:", s.n);
    buf_add(b, s.p, s.n);
}

static void check_rewritten(const struct sse_event *e)
{
    struct sse_parser s;
    struct seen first = {0}, again = {0};
    buf_auto struct buf wire;
    buf_init(&wire, 1 << 26);
    if (memchr(e->event.n ? e->event.p : "x", 0, e->event.n ? e->event.n : 1))
        return; /* the writer takes C strings */
    mem_auto char *event = mem_strndup(e->event.n ? e->event.p : "", e->event.n);
    mem_auto char *id = mem_strndup(e->id.n ? e->id.p : "", e->id.n);
    buf_init(&first.text, 1 << 26);
    buf_init(&again.text, 1 << 26);
    sse_format(&wire, e->event.n ? event : NULL, e->id.n ? id : NULL, e->data);
    sse_init(&s);
    assert(sse_feed(&s, wire.p, wire.n, on_event, &again) == 0);
    sse_done(&s);
    on_event(&first, e);
    assert(again.n == 1 && first.text.n == again.text.n);
    assert(memcmp(first.text.p, again.text.p, first.text.n) == 0);
    buf_done(&first.text);
    buf_done(&again.text);
}

static void on_event(void *arg, const struct sse_event *e)
{
    struct seen *seen = arg;
    seen->n++;
    add(&seen->text, e->event);
    add(&seen->text, e->id);
    add(&seen->text, e->data);
    if (seen->writes)
        check_rewritten(e);
}

static int read_all(const char *p, size_t n, size_t cut, struct seen *seen)
{
    struct sse_parser s;
    sse_init(&s);
    int rc = sse_feed(&s, p, cut, on_event, seen);
    if (rc == 0)
        rc = sse_feed(&s, p + cut, n - cut, on_event, seen);
    sse_done(&s);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const char *p = (const char *)data + 1;
    size_t n = size - 1, cut = data[0] < n ? data[0] : n;
    struct seen whole = {.writes = true}, split = {0};
    buf_init(&whole.text, 1 << 26);
    buf_init(&split.text, 1 << 26);
    int a = read_all(p, n, n, &whole), b = read_all(p, n, cut, &split);
    assert(a == b && whole.n == split.n && whole.text.n == split.text.n);
    assert(memcmp(whole.n ? whole.text.p : "", split.n ? split.text.p : "", whole.text.n) == 0);
    buf_done(&whole.text);
    buf_done(&split.text);
    return 0;
}
