/* Line splitting and cleaning. */
#include "worker/lines.h"

#include <stdint.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at p, 0 when there is none (RFC 3629: no surrogates, no
 * overlong form). */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    static const struct {
        unsigned char lo, hi, second_lo, second_hi;
        size_t len;
    } FORMS[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        if (p[0] < FORMS[i].lo || p[0] > FORMS[i].hi)
            continue;
        if (n < FORMS[i].len || p[1] < FORMS[i].second_lo || p[1] > FORMS[i].second_hi)
            return 0;
        for (size_t k = 2; k < FORMS[i].len; k++)
            if (p[k] < 0x80 || p[k] > 0xbf)
                return 0;
        return FORMS[i].len;
    }
    return 0;
}

static void clean(char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)text[i];
        size_t len = 1;
        if (c >= 0x80)
            len = utf8_len((const unsigned char *)text + i, n - i);
        bool c1 = len == 2 && c == 0xc2 && (unsigned char)text[i + 1] < 0xa0; /* 8-bit controls */
        if (len == 0 || c1 || (c < 0x20 && c != '\t') || c == 0x7f)
            memset(text + i, '?', len ? len : 1);
        i += len ? len : 1;
    }
}

static void finish(struct lines *l, lines_fn fn, void *arg)
{
    clean(l->text, l->n);
    if (l->cut) {
        memcpy(l->text + l->n, "...", 3);
        l->n += 3;
    }
    l->text[l->n] = '\0';
    if (l->n)
        fn(arg, l->text);
    l->n = 0;
    l->cut = false;
}

void lines_feed(struct lines *l, const char *p, size_t n, lines_fn fn, void *arg)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' || p[i] == '\r')
            finish(l, fn, arg);
        else if (l->n < LINE_MAX_BYTES)
            l->text[l->n++] = p[i];
        else
            l->cut = true;
    }
}

void lines_end(struct lines *l, lines_fn fn, void *arg)
{
    finish(l, fn, arg);
}
