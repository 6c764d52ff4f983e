/* The checked cursor over a file: bounds first, sticky fault with its byte offset. */
#include "gguf/gguf_internal.h"

#include "base/mem.h"

#include <stdarg.h>
#include <string.h>

void cursor_init(struct cursor *c, const struct gguf_source *src)
{
    *c = (struct cursor){.src = src};
    c->end = src->size < GGUF_MAX_HEADER ? src->size : GGUF_MAX_HEADER;
    c->window = mem_calloc(c->end < CURSOR_WINDOW ? (size_t)c->end + 1 : CURSOR_WINDOW, 1);
}

void cursor_done(struct cursor *c)
{
    free(c->window);
    c->window = NULL;
}

int cursor_fail(struct cursor *c, uint64_t at, enum err_code code, const char *fmt, ...)
{
    if (c->failed)
        return -1;
    c->failed = true;
    c->have = 0; /* nothing is read any more */
    va_list ap;
    va_start(ap, fmt);
    err_vfill(&c->err, code, fmt, ap);
    va_end(ap);
    size_t n = strlen(c->err.msg);
    str_copyf(c->err.msg + n, sizeof c->err.msg - n, " (at byte %llu)", (unsigned long long)at);
    return -1;
}

uint64_t cursor_left(const struct cursor *c)
{
    return c->failed ? 0 : c->end - c->pos;
}

/* Says why n more bytes cannot be had, unless something was said before. */
void cursor_short(struct cursor *c, uint64_t n)
{
    if (c->end < c->src->size)
        cursor_fail(c, c->pos, ERR_LIMIT,
                    "the header is longer than %d MiB (GGUF_MAX_HEADER): %llu more bytes claimed",
                    GGUF_MAX_HEADER >> 20, (unsigned long long)n);
    else
        cursor_fail(c, c->pos, ERR_CORRUPT,
                    "the file is cut short: %llu more bytes claimed, %llu left",
                    (unsigned long long)n, (unsigned long long)(c->end - c->pos));
}

/* Reads exactly n bytes at the cursor's position; bounds were checked. */
static bool read_exact(struct cursor *c, void *dst, size_t n)
{
    struct err err = {0};
    int64_t got = c->src->read_at(c->src->ctx, c->pos, dst, n, &err);
    if (got == (int64_t)n)
        return true;
    if (got < 0)
        cursor_fail(c, c->pos, err.code ? err.code : ERR_IO, "%s",
                    err.msg[0] ? err.msg : "the file cannot be read");
    else
        cursor_fail(c, c->pos, ERR_IO, "the file shrank while it was read: %lld of %zu bytes came",
                    (long long)got, n);
    return false;
}

void cursor_bytes(struct cursor *c, void *dst, size_t n)
{
    const unsigned char *p = cursor_need(c, n) ? cursor_peek(c, n) : NULL;
    if (!p && !c->failed) {
        if (n > CURSOR_WINDOW) { /* long strings go straight to their place */
            if (!read_exact(c, dst, n))
                memset(dst, 0, n);
            c->pos += n;
            return;
        }
        uint64_t want = c->end - c->pos < CURSOR_WINDOW ? c->end - c->pos : CURSOR_WINDOW;
        c->base = c->pos;
        c->have = read_exact(c, c->window, (size_t)want) ? (size_t)want : 0;
        p = cursor_peek(c, n);
    }
    if (c->failed || !p) {
        memset(dst, 0, n);
        return;
    }
    memcpy(dst, p, n);
    c->pos += n;
}

uint64_t gguf_le(const unsigned char *p, unsigned n)
{
    uint64_t v = 0;
    memcpy(&v, p, n); /* n is at most 8 */
    return le64toh(v);
}
