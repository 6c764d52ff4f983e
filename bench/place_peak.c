/* Counting wrappers; see place_peak.h. State is static because malloc has no other place for it. */
#include "place_peak.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>

static struct {
    bool on;
    int64_t held, most;
} peak;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static void *taken(void *p, size_t before)
{
    if (peak.on && p) {
        peak.held += (int64_t)malloc_usable_size(p) - (int64_t)before;
        peak.most = peak.held > peak.most ? peak.held : peak.most;
    }
    return p;
}

void *__wrap_malloc(size_t n)
{
    return taken(__real_malloc(n), 0);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return taken(__real_calloc(n, size), 0);
}

void *__wrap_realloc(void *p, size_t n)
{
    size_t before = peak.on && p ? malloc_usable_size(p) : 0;
    return taken(__real_realloc(p, n), before);
}

void __wrap_free(void *p)
{
    if (peak.on && p)
        peak.held -= (int64_t)malloc_usable_size(p);
    __real_free(p);
}

void peak_start(void)
{
    peak.held = peak.most = 0;
    peak.on = true;
}

uint64_t peak_stop(void)
{
    peak.on = false;
    return (uint64_t)peak.most;
}
