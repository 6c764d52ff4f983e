/* Request targets: path decoding and query parameters. Pure functions of bytes. */
#include "net/http_conn.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX (and + when asked) into dst, which has room for s.n. The new length, or -1. */
static int64_t decode(struct str s, bool plus, char *dst)
{
    size_t k = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int hi = i + 2 < s.n ? hex(s.p[i + 1]) : -1, lo = hi >= 0 ? hex(s.p[i + 2]) : -1;
            if (lo < 0)
                return -1;
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        dst[k++] = c;
    }
    return (int64_t)k;
}

/* Looked at after decoding, so that %2e%2e and %2f are seen for what they are. */
static bool path_safe(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\')
            return false;
    for (size_t at = 0; at < n;) {
        const char *slash = memchr(p + at, '/', n - at);
        size_t end = slash ? (size_t)(slash - p) : n, len = end - at;
        if ((len == 1 || len == 2) && p[at] == '.' && p[end - 1] == '.')
            return false;
        at = end + 1;
    }
    return true;
}

int url_split(struct str target, char **path, struct str *query, struct err *err)
{
    if (target.n && target.p[0] != '/' && target.p[0] != '*') { /* http://host/path */
        const char *start = (const char *)memchr(target.p, '/', target.n) + 2;
        size_t skip = (size_t)(start - target.p);
        while (skip < target.n && target.p[skip] != '/' && target.p[skip] != '?')
            skip++;
        target = (struct str){target.p + skip, target.n - skip};
    }
    const char *mark = memchr(target.p, '?', target.n);
    struct str raw = {target.p, mark ? (size_t)(mark - target.p) : target.n};
    *query = mark ? (struct str){mark + 1, target.n - raw.n - 1} : (struct str){"", 0};
    if (!raw.n)
        raw = STR("/");
    mem_auto char *out = mem_calloc(raw.n + 1, 1);
    int64_t n = decode(raw, false, out);
    if (n < 0)
        return err_set(err, ERR_INVALID, "malformed %% escape in the path");
    if (!path_safe(out, (size_t)n))
        return err_set(err, ERR_INVALID, "path holds a control byte, a backslash or a dot segment");
    *path = STEAL(out);
    return 0;
}

bool url_query(struct str query, const char *name, char *dst, size_t cap)
{
    while (query.n) {
        const char *amp = memchr(query.p, '&', query.n);
        struct str pair = {query.p, amp ? (size_t)(amp - query.p) : query.n};
        const char *eq = memchr(pair.p, '=', pair.n);
        struct str key = {pair.p, eq ? (size_t)(eq - pair.p) : pair.n};
        struct str value = {pair.p + key.n + (eq ? 1 : 0), pair.n - key.n - (eq ? 1 : 0)};
        if (str_eq(key, str_of(name))) {
            mem_auto char *out = mem_calloc(value.n + 1, 1);
            int64_t n = decode(value, true, out);
            if (n < 0 || (size_t)n >= cap || memchr(out, 0, (size_t)n))
                return false;
            memcpy(dst, out, (size_t)n);
            dst[n] = 0;
            return true;
        }
        size_t used = pair.n + (amp ? 1 : 0);
        query = (struct str){query.p + used, query.n - used};
    }
    return false;
}
