/* HTTP/1.1 codec: heads and chunked bodies, strictly by RFC 9112.
 *
 * A proxy that reads framing otherwise than its neighbour lets requests be smuggled, so whatever
 * RFC 9112 allows a recipient to repair is refused here. One deliberate narrowing more: two equal
 * Content-Length lines, which a recipient may merge, are refused as well. */
#include "net/http.h"

#include <string.h>

enum {
    METHOD_MAX = 24,
    CHUNK_LINE_MAX = 256,      /* size and extensions of one chunk */
    CHUNK_OVERHEAD_MAX = 8192, /* extensions and trailers of one body */
    CHUNK_DIGITS_MAX = 15,     /* 60 bits: sums cannot wrap */
};

/* ---- characters ---- */

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_token_char((unsigned char)s.p[i]))
            return false;
    return s.n > 0;
}

/* Text of a header value or reason: no control bytes but the tab. */
static bool is_text_char(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool is_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_text_char((unsigned char)s.p[i]))
            return false;
    return true;
}

/* ---- lines ---- */

static int next_line(const char *p, size_t n, size_t *at, struct str *line, struct err *err)
{
    const char *start = p + *at, *lf = memchr(start, '\n', n - *at);
    if (!lf) {
        if (n >= HTTP_MAX_HEAD)
            return err_set(err, ERR_LIMIT, "head is longer than %d bytes", HTTP_MAX_HEAD);
        return 0;
    }
    *at = (size_t)(lf - p) + 1;
    if (*at > HTTP_MAX_HEAD)
        return err_set(err, ERR_LIMIT, "head is longer than %d bytes", HTTP_MAX_HEAD);
    if (lf == start || lf[-1] != '\r')
        return err_set(err, ERR_INVALID, "line ends without CR at byte %zu", *at - 1);
    *line = (struct str){start, (size_t)(lf - 1 - start)};
    return 1;
}

static bool parse_version(struct str s, int *minor)
{
    if (s.n != 8 || memcmp(s.p, "HTTP/1.", 7) != 0 || (s.p[7] != '0' && s.p[7] != '1'))
        return false;
    *minor = s.p[7] - '0';
    return true;
}

static bool target_ok(struct str method, struct str target)
{
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= 0x20 || target.p[i] >= 0x7f || target.p[i] == '#')
            return false; /* a signed char above 0x7f is below 0x20 */
    if (!target.n)
        return false;
    return target.p[0] == '/' || str_starts(target, STR("http://")) ||
           str_starts(target, STR("https://")) ||
           (str_eq(target, STR("*")) && str_eq(method, STR("OPTIONS")));
}

static int parse_request_line(struct str line, struct http_head *h, struct err *err)
{
    const char *sp1 = memchr(line.p, ' ', line.n);
    const char *sp2 = sp1 ? memchr(sp1 + 1, ' ', line.n - (size_t)(sp1 + 1 - line.p)) : NULL;
    if (!sp2)
        return err_set(err, ERR_INVALID, "request line is not \"METHOD TARGET HTTP/1.1\"");
    h->method = (struct str){line.p, (size_t)(sp1 - line.p)};
    h->target = (struct str){sp1 + 1, (size_t)(sp2 - sp1 - 1)};
    struct str version = {sp2 + 1, line.n - (size_t)(sp2 + 1 - line.p)};
    if (!is_token(h->method) || h->method.n > METHOD_MAX)
        return err_set(err, ERR_INVALID, "malformed method in the request line");
    if (!target_ok(h->method, h->target))
        return err_set(err, ERR_INVALID, "malformed target in the request line");
    if (!parse_version(version, &h->minor))
        return err_set(err, ERR_INVALID, "the version is not HTTP/1.1 or HTTP/1.0");
    return 0;
}

static int parse_status_line(struct str line, struct http_head *h, struct err *err)
{
    if (line.n < 13 || !parse_version((struct str){line.p, 8}, &h->minor) || line.p[8] != ' ' ||
        line.p[12] != ' ' || !is_text(line))
        return err_set(err, ERR_INVALID, "status line is not \"HTTP/1.1 NNN reason\"");
    h->status = 0;
    for (int i = 9; i < 12; i++) {
        if (line.p[i] < '0' || line.p[i] > '9')
            return err_set(err, ERR_INVALID, "status line has no three-digit status");
        h->status = h->status * 10 + (line.p[i] - '0');
    }
    if (h->status < 100 || h->status > 599)
        return err_set(err, ERR_INVALID, "status %d is outside 100..599", h->status);
    return 0;
}

static int parse_header(struct str line, struct http_head *h, struct err *err)
{
    if (h->n_headers == HTTP_MAX_HEADERS)
        return err_set(err, ERR_LIMIT, "more than %d headers", HTTP_MAX_HEADERS);
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return err_set(err, ERR_INVALID, "folded header line");
    const char *colon = memchr(line.p, ':', line.n);
    struct str name = {line.p, colon ? (size_t)(colon - line.p) : 0};
    if (!is_token(name))
        return err_set(err, ERR_INVALID, "malformed header name in header %zu", h->n_headers + 1);
    struct str value = str_trim((struct str){colon + 1, line.n - name.n - 1});
    if (!is_text(value))
        return err_set(err, ERR_INVALID, "control byte in header \"%.*s\"",
                       (int)(name.n < 60 ? name.n : 60), name.p);
    h->headers[h->n_headers++] = (struct http_header){name, value};
    return 0;
}

struct str http_find(const struct http_header *h, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(h[i].name, str_of(name)))
            return h[i].value;
    return (struct str){NULL, 0};
}

/* ---- framing ---- */

/* The only value of a header that must not come twice. 1 found, 0 absent, -1 repeated. */
static int find_single(const struct http_head *h, const char *name, struct str *value,
                       struct err *err)
{
    int found = 0;
    for (size_t i = 0; i < h->n_headers; i++)
        if (str_eq_nocase(h->headers[i].name, str_of(name))) {
            *value = h->headers[i].value;
            if (found++)
                return err_set(err, ERR_INVALID, "header %s comes twice", name);
        }
    return found;
}

static int parse_length(struct str s, uint64_t *out, struct err *err)
{
    uint64_t v = 0;
    bool ok = s.n > 0 && s.n <= 18;
    for (size_t i = 0; ok && i < s.n; i++) {
        ok = s.p[i] >= '0' && s.p[i] <= '9';
        v = v * 10 + (uint64_t)(s.p[i] - '0');
    }
    if (!ok)
        return err_set(err, ERR_INVALID, "content-length \"%.*s\" is not a length",
                       (int)(s.n < 40 ? s.n : 40), s.p);
    *out = v;
    return 0;
}

static bool list_has(struct str list, struct str item)
{
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (str_eq_nocase(str_trim((struct str){list.p, n}), item))
            return true;
        n += comma ? 1 : 0;
        list = (struct str){list.p + n, list.n - n};
    }
    return false;
}

static void find_keep_alive(struct http_head *h)
{
    bool has_close = false, has_keep = false;
    for (size_t i = 0; i < h->n_headers; i++)
        if (str_eq_nocase(h->headers[i].name, STR("connection"))) {
            has_close |= list_has(h->headers[i].value, STR("close"));
            has_keep |= list_has(h->headers[i].value, STR("keep-alive"));
        }
    h->keep_alive = !has_close && (h->minor >= 1 || has_keep);
}

static int check_framing(struct http_head *h, struct err *err)
{
    struct str value = {0};
    int has_length = find_single(h, "content-length", &value, err);
    if (has_length < 0 || (has_length && parse_length(value, &h->length, err) != 0))
        return -1;
    h->has_length = has_length;
    int has_coding = find_single(h, "transfer-encoding", &value, err);
    if (has_coding < 0)
        return -1;
    if (has_coding && has_length)
        return err_set(err, ERR_INVALID, "both content-length and transfer-encoding");
    if (has_coding && h->minor == 0)
        return err_set(err, ERR_INVALID, "transfer-encoding in HTTP/1.0");
    if (has_coding && !str_eq_nocase(value, STR("chunked")))
        return err_set(err, ERR_INVALID, "transfer-encoding is not \"chunked\"");
    h->chunked = has_coding;
    return 0;
}

static bool host_ok(struct str host)
{
    for (size_t i = 0; i < host.n; i++)
        if (!is_token_char((unsigned char)host.p[i]) && !strchr(":[]()=;,", host.p[i]))
            return false;
    return true;
}

/* A target in absolute form must name the same host as the header: two readers could pick either.
 */
static int check_host(const struct http_head *h, struct err *err)
{
    struct str host = {0};
    int found = find_single(h, "host", &host, err);
    if (found < 0)
        return -1;
    if (!found && h->minor >= 1)
        return err_set(err, ERR_INVALID, "no host header");
    if (!host_ok(host))
        return err_set(err, ERR_INVALID, "malformed host header");
    if (h->target.p[0] == '/' || h->target.p[0] == '*')
        return 0;
    const char *start = (const char *)memchr(h->target.p, '/', h->target.n) + 2;
    struct str rest = {start, h->target.n - (size_t)(start - h->target.p)};
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    if (!n || !str_eq_nocase((struct str){rest.p, n}, host))
        return err_set(err, ERR_INVALID, "target and host header name different hosts");
    return 0;
}

static int check_expect(struct http_head *h, struct err *err)
{
    struct str value = {0};
    int found = find_single(h, "expect", &value, err);
    if (found < 0)
        return -1;
    if (found && !str_eq_nocase(value, STR("100-continue")))
        return err_set(err, ERR_INVALID, "unknown expectation");
    h->expect_continue = found && h->minor >= 1 && (h->chunked || h->length > 0);
    return 0;
}

int64_t http_parse_head(const char *p, size_t n, bool response, struct http_head *out,
                        struct err *err)
{
    size_t at = 0;
    struct str line;
    out->response = response;
    out->n_headers = 0;
    out->method = out->target = (struct str){"", 0};
    out->status = out->minor = 0;
    out->length = 0;
    out->keep_alive = out->chunked = out->has_length = out->expect_continue = false;
    int got = next_line(p, n, &at, &line, err);
    if (got <= 0)
        return got;
    if ((response ? parse_status_line : parse_request_line)(line, out, err) != 0)
        return -1;
    while ((got = next_line(p, n, &at, &line, err)) > 0 && line.n)
        if (parse_header(line, out, err) != 0)
            return -1;
    if (got <= 0)
        return got;
    if (check_framing(out, err) != 0)
        return -1;
    if (!response && (check_host(out, err) != 0 || check_expect(out, err) != 0))
        return -1;
    find_keep_alive(out);
    return (int64_t)at;
}

/* ---- chunked bodies ---- */

enum chunk_state {
    CHUNK_SIZE, /* first: a zeroed decoder is ready */
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF,
    CHUNK_DONE,
    CHUNK_BROKEN,
};

static int hex_digit(unsigned char b)
{
    if (b >= '0' && b <= '9')
        return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static int size_byte(struct http_chunked *c, unsigned char b)
{
    int digit = hex_digit(b);
    if (digit >= 0) {
        c->left = c->left * 16 + (uint64_t)digit;
        return c->line <= CHUNK_DIGITS_MAX ? CHUNK_SIZE : CHUNK_BROKEN;
    }
    if (c->line == 1)
        return CHUNK_BROKEN; /* no digit at all */
    return b == '\r' ? CHUNK_SIZE_LF : b == ';' ? CHUNK_EXTENSION : CHUNK_BROKEN;
}

/* A trailer line: NAME ":" VALUE. Its bytes are checked and dropped, never merged into the head. */
static int trailer_byte(const struct http_chunked *c, unsigned char b)
{
    if (b == '\r' && c->line == 1)
        return CHUNK_END_LF;
    if (b == ':' && c->line > 1)
        return CHUNK_TRAILER_VALUE;
    return is_token_char(b) ? CHUNK_TRAILER : CHUNK_BROKEN;
}

static int text_byte(unsigned char b, int same, int at_cr)
{
    return b == '\r' ? at_cr : is_text_char(b) ? same : CHUNK_BROKEN;
}

/* One byte of framing moves the state on. */
static int framing_byte(struct http_chunked *c, unsigned char b)
{
    switch (c->state) {
    case CHUNK_SIZE:
        return size_byte(c, b);
    case CHUNK_EXTENSION:
        return text_byte(b, CHUNK_EXTENSION, CHUNK_SIZE_LF);
    case CHUNK_SIZE_LF:
        return b != '\n' ? CHUNK_BROKEN : c->left ? CHUNK_DATA : CHUNK_TRAILER;
    case CHUNK_DATA_CR:
        return b == '\r' ? CHUNK_DATA_LF : CHUNK_BROKEN;
    case CHUNK_DATA_LF:
        return b == '\n' ? CHUNK_SIZE : CHUNK_BROKEN;
    case CHUNK_TRAILER:
        return trailer_byte(c, b);
    case CHUNK_TRAILER_VALUE:
        return text_byte(b, CHUNK_TRAILER_VALUE, CHUNK_TRAILER_LF);
    case CHUNK_TRAILER_LF:
        return b == '\n' ? CHUNK_TRAILER : CHUNK_BROKEN;
    case CHUNK_END_LF:
        return b == '\n' ? CHUNK_DONE : CHUNK_BROKEN;
    default:
        return CHUNK_BROKEN;
    }
}

static bool chunk_step(struct http_chunked *c, unsigned char b)
{
    int was = c->state;
    c->line++;
    c->state = framing_byte(c, b);
    if (was == CHUNK_EXTENSION || was == CHUNK_TRAILER || was == CHUNK_TRAILER_VALUE)
        c->overhead++;
    if (c->state != was && (c->state == CHUNK_SIZE || c->state == CHUNK_TRAILER))
        c->line = 0;
    if ((was == CHUNK_EXTENSION && c->line > CHUNK_LINE_MAX) || c->overhead > CHUNK_OVERHEAD_MAX)
        c->state = CHUNK_BROKEN;
    return c->state != CHUNK_BROKEN;
}

int64_t http_chunked_next(struct http_chunked *c, const char *in, size_t n, struct str *out,
                          bool *done, struct err *err)
{
    size_t at = 0;
    *out = (struct str){in, 0};
    while (at < n && c->state != CHUNK_DATA && c->state != CHUNK_DONE)
        if (!chunk_step(c, (unsigned char)in[at++]))
            return err_set(err, ERR_INVALID, "malformed chunked body");
    if (c->state == CHUNK_DATA && at < n) {
        size_t take = n - at < c->left ? n - at : (size_t)c->left;
        *out = (struct str){in + at, take};
        at += take;
        c->left -= take;
        if (!c->left)
            c->state = CHUNK_DATA_CR;
    }
    *done = c->state == CHUNK_DONE;
    return (int64_t)at;
}
