/* String views and buffers. */
#include "base/str.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct str str_of(const char *s)
{
    return (struct str){s ? s : "", s ? strlen(s) : 0};
}

bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (!a.n || memcmp(a.p, b.p, a.n) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

struct str str_trim(struct str s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool str_copy(char *dst, size_t cap, const char *src)
{
    size_t n = src ? strlen(src) : 0;
    bool fits = n < cap;
    if (!fits)
        n = cap - 1;
    if (n)
        memcpy(dst, src, n);
    dst[n] = 0;
    return fits;
}

bool str_copyf(char *dst, size_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(dst, cap, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < cap;
}

/* Levenshtein distance of two short names, one row at a time. */
static unsigned distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n >= MAX || m >= MAX)
        return MAX;
    unsigned row[MAX + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned change = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            unsigned best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            row[j] = change < best ? change : best;
        }
    }
    return row[m];
}

/* The nearest so far, if `name` is not nearer. */
static const char *nearer(const char *s, const char *name, const char *best, unsigned *best_d)
{
    unsigned d = distance(s, name);
    if (d >= *best_d || d >= strlen(s))
        return best;
    *best_d = d;
    return name;
}

enum { NEAR = 2 }; /* edits that a slip of the finger makes */

const char *str_nearest(const char *s, const char *const *names, size_t n)
{
    const char *best = NULL;
    unsigned d = NEAR + 1;
    for (size_t i = 0; i < n; i++)
        best = nearer(s, names[i], best, &d);
    return best;
}

const char *str_nearest_in(const char *s, const char *first, size_t n, size_t stride)
{
    const char *best = NULL;
    unsigned d = NEAR + 1;
    for (size_t i = 0; i < n; i++)
        best = nearer(s, first + i * stride, best, &d);
    return best;
}

struct str_hint str_did_you_mean(const char *near)
{
    struct str_hint hint = {""};
    if (near)
        str_copyf(hint.text, sizeof hint.text, "; did you mean '%.60s'?", near);
    return hint;
}

/* Bytes of the UTF-8 character at p (n left), 0 when it is none or a control character. */
static size_t utf8_char(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0xc2 || p[0] > 0xf4 || len > n)
        return 0;
    uint32_t c = p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    bool control = c < 0xa0 || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                   (c >= 0x2066 && c <= 0x2069);
    if (c < LEAST[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || control)
        return 0;
    return len;
}

void str_clean(char *dst, size_t cap, struct str src)
{
    size_t at = 0;
    for (size_t i = 0; i < src.n;) {
        const unsigned char *p = (const unsigned char *)src.p + i;
        size_t len = utf8_char(p, src.n - i);
        size_t take = len ? len : 1;
        if (at + take >= cap)
            break;
        if (len)
            memcpy(dst + at, p, len);
        else
            dst[at] = '?';
        at += take;
        i += take;
    }
    dst[at] = '\0';
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_done(struct buf *b)
{
    if (!b)
        return;
    free(b->p);
    *b = (struct buf){.max = b->max};
}

static bool reserve(struct buf *b, size_t more)
{
    if (b->full || more > b->max || b->n > b->max - more) {
        b->full = true;
        return false;
    }
    size_t need = b->n + more + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need)
            cap *= 2;
        b->p = mem_realloc(b->p, cap, 1);
        b->cap = cap;
    }
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    b->p[b->n] = 0;
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addv(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0 || !reserve(b, (size_t)n))
        return;
    vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
    b->n += (size_t)n;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_addv(b, fmt, ap);
    va_end(ap);
}

void buf_drop(struct buf *b, size_t n)
{
    if (n >= b->n) {
        buf_clear(b);
        return;
    }
    memmove(b->p, b->p + n, b->n - n + 1);
    b->n -= n;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->full = false;
    if (b->p)
        b->p[0] = 0;
}

char *buf_take(struct buf *b)
{
    char *p = b->p ? b->p : mem_strdup("");
    *b = (struct buf){.max = b->max};
    return p;
}

struct str buf_str(const struct buf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}
