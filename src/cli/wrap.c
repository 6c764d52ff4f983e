/* Columns and lines; see wrap.h. */
#include "cli/wrap.h"

#include <string.h>

/* Ranges that terminals show two columns wide (Unicode, East Asian Width W and F). */
static const struct {
    uint32_t lo, hi;
} WIDE[] = {
    {0x1100, 0x115F}, {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF}, {0x4E00, 0x9FFF},
    {0xA000, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F}, {0xFF00, 0xFF60},
    {0xFFE0, 0xFFE6}, {0x1F300, 0x1FAFF}, {0x20000, 0x3FFFD},
};

/* One character and its bytes; a byte that begins none is taken as it is. */
static uint32_t next(const char *s, size_t *n)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : p[0] >= 0xC0 ? 2 : 1;
    uint32_t c = len == 1 ? p[0] : p[0] & (0x7F >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            *n = 1;
            return p[0];
        }
        c = c << 6 | (p[i] & 0x3F);
    }
    *n = len;
    return c;
}

static size_t columns_of(uint32_t c)
{
    for (size_t i = 0; i < sizeof WIDE / sizeof *WIDE; i++)
        if (c >= WIDE[i].lo && c <= WIDE[i].hi)
            return 2;
    return 1;
}

size_t text_columns(const char *s)
{
    size_t sum = 0;
    for (size_t n; *s; s += n)
        sum += columns_of(next(s, &n));
    return sum;
}

size_t text_bytes(const char *s, size_t columns)
{
    size_t at = 0;
    for (size_t n, sum = 0; s[at]; at += n) {
        sum += columns_of(next(s + at, &n));
        if (sum > columns)
            break;
    }
    return at;
}

/* ，。、；：？！）》」』】 */
static bool closes(uint32_t c)
{
    return c == 0xFF0C || c == 0x3002 || c == 0x3001 || c == 0xFF1B || c == 0xFF1A || c == 0xFF1F ||
           c == 0xFF01 || c == 0xFF09 || c == 0x300B || c == 0x300D || c == 0x300F || c == 0x3011;
}

/* Bytes and columns of what stays together at the beginning of s. */
static size_t atom(const char *s, size_t *columns)
{
    size_t at = 0, n;
    *columns = 0;
    while (s[at] && s[at] != ' ') {
        uint32_t c = next(s + at, &n);
        bool wide = columns_of(c) == 2;
        if (at && wide && !closes(c))
            break;
        at += n;
        *columns += columns_of(c);
        uint32_t then = s[at] ? next(s + at, &n) : 0;
        if (wide && !closes(then))
            break;
    }
    return at;
}

void text_wrap(struct buf *out, const char *text, size_t width, size_t indent, size_t at)
{
    for (bool first = true; *text; first = false) {
        bool space = *text == ' ';
        text += strspn(text, " ");
        size_t columns, n = atom(text, &columns);
        if (!n)
            break;
        if (!first && at + space + columns > width) {
            buf_addf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first && space) {
            buf_addc(out, ' ');
            at++;
        }
        buf_add(out, text, n);
        at += columns;
        text += n;
    }
    buf_addc(out, '\n');
}
