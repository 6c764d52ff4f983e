/* Aborting allocation. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *must(void *p)
{
    if (!p) {
        fputs("stowage: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *mem_calloc(size_t n, size_t size)
{
    return must(calloc(n ? n : 1, size ? size : 1));
}

void *mem_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        bytes = (size_t)-1;
    return must(realloc(p, bytes ? bytes : 1));
}

char *mem_strndup(const char *s, size_t n)
{
    char *d = must(malloc(n + 1));
    memcpy(d, s, n);
    d[n] = 0;
    return d;
}

char *mem_strdup(const char *s)
{
    return s ? mem_strndup(s, strlen(s)) : NULL;
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = must(malloc((size_t)(n < 0 ? 0 : n) + 1));
    s[0] = 0;
    if (n > 0)
        vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

void mem_grow(void *items_ptr, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return;
    size_t n = *cap ? *cap : 8;
    while (n < need)
        n *= 2;
    char *p;
    memcpy(&p, items_ptr, sizeof p);
    p = mem_realloc(p, n, size);
    memset(p + *cap * size, 0, (n - *cap) * size);
    memcpy(items_ptr, &p, sizeof p);
    *cap = n;
}
