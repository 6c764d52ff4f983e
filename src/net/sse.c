/* Server-sent events (WHATWG HTML, section 9.2): parser and writer. */
#include "net/sse.h"

#include <string.h>

void sse_init(struct sse_parser *s)
{
    *s = (struct sse_parser){0};
    buf_init(&s->line, SSE_MAX_EVENT);
    buf_init(&s->data, SSE_MAX_EVENT);
    buf_init(&s->event, 1024);
    buf_init(&s->id, 1024);
}

void sse_done(struct sse_parser *s)
{
    buf_done(&s->line);
    buf_done(&s->data);
    buf_done(&s->event);
    buf_done(&s->id);
}

static void set(struct buf *b, struct str v)
{
    buf_clear(b);
    buf_add(b, v.p, v.n);
}

/* The data buffer ends each line with \n; one that is empty means that no data line came, and then
 * nothing is dispatched. */
static void dispatch(struct sse_parser *s, void (*fn)(void *arg, const struct sse_event *e),
                     void *arg)
{
    if (s->data.n) {
        struct sse_event e = {buf_str(&s->event), buf_str(&s->id), {s->data.p, s->data.n - 1}};
        fn(arg, &e);
    }
    buf_clear(&s->event);
    if (s->data.cap > 65536)
        buf_done(&s->data); /* one big event must not cost its memory for ever */
    else
        buf_clear(&s->data);
}

static void take_field(struct sse_parser *s, struct str line)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct str name = {line.p, colon ? (size_t)(colon - line.p) : line.n};
    struct str value = {line.p + line.n, 0};
    if (colon) {
        value = (struct str){colon + 1, line.n - name.n - 1};
        if (value.n && value.p[0] == ' ')
            value = (struct str){value.p + 1, value.n - 1};
    }
    if (str_eq(name, STR("data"))) {
        buf_add(&s->data, value.p, value.n);
        buf_addc(&s->data, '\n');
    } else if (str_eq(name, STR("event"))) {
        set(&s->event, value);
    } else if (str_eq(name, STR("id")) && !memchr(value.p, 0, value.n)) {
        set(&s->id, value);
    }
}

static int take_line(struct sse_parser *s, struct str line,
                     void (*fn)(void *arg, const struct sse_event *e), void *arg)
{
    if (!line.n)
        dispatch(s, fn, arg);
    else if (line.p[0] != ':')
        take_field(s, line);
    return s->data.full || s->event.full || s->id.full ? -1 : 0;
}

/* Length of the line at p, without its end; n when the end is not there yet. */
static size_t line_length(const char *p, size_t n)
{
    const char *lf = memchr(p, '\n', n);
    size_t len = lf ? (size_t)(lf - p) : n;
    const char *cr = memchr(p, '\r', len);
    return cr ? (size_t)(cr - p) : len;
}

int sse_feed(struct sse_parser *s, const char *p, size_t n,
             void (*fn)(void *arg, const struct sse_event *e), void *arg)
{
    for (size_t at = 0; at < n;) {
        if (s->cr && p[at] == '\n') /* the second half of CR LF */
            at++;
        s->cr = false;
        size_t len = line_length(p + at, n - at);
        if (at + len == n) {
            buf_add(&s->line, p + at, len);
            return s->line.full ? -1 : 0;
        }
        struct str line = {p + at, len};
        if (s->line.n) {
            buf_add(&s->line, p + at, len);
            if (s->line.full)
                return -1;
            line = buf_str(&s->line);
        }
        s->cr = p[at + len] == '\r';
        at += len + 1;
        int rc = take_line(s, line, fn, arg);
        if (s->line.cap > 65536)
            buf_done(&s->line);
        else
            buf_clear(&s->line);
        if (rc != 0)
            return -1;
    }
    return 0;
}

/* A name with a line end would start a line of its own: it is cut there. */
static void add_field(struct buf *out, const char *name, const char *value)
{
    if (value)
        buf_addf(out, "%s: %.*s\n", name, (int)strcspn(value, "\r\n"), value);
}

void sse_format(struct buf *out, const char *event, const char *id, struct str data)
{
    add_field(out, "event", event);
    add_field(out, "id", id);
    for (size_t at = 0; at <= data.n;) {
        size_t len = line_length(data.p + at, data.n - at);
        buf_adds(out, "data: ");
        buf_add(out, data.p + at, len);
        buf_addc(out, '\n');
        at += len + 1;
        if (at < data.n + 1 && data.p[at - 1] == '\r' && at < data.n && data.p[at] == '\n')
            at++;
    }
    buf_addc(out, '\n');
}
