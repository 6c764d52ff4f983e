/* Memory: small allocations abort on failure, so bound first. Pure; any thread.
 *
 * Anything sized by a file, a request or a peer is compared with a named limit before it is
 * allocated here. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

/* Zeroed n*size bytes; aborts when memory is out or the product overflows. Never NULL. */
void *mem_calloc(size_t n, size_t size);
void *mem_realloc(void *p, size_t n, size_t size);
char *mem_strdup(const char *s);            /* NULL stays NULL */
char *mem_strndup(const char *s, size_t n); /* copies exactly n bytes and a NUL */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void mem_free_auto(void *p)
{
    free(*(void **)p);
}
/* `mem_auto char *s = NULL;` is freed when it goes out of scope. */
#define mem_auto __attribute__((cleanup(mem_free_auto)))
/* Hands over what a cleanup variable owns: `return STEAL(s);` */
#define STEAL(x)                                                                                   \
    ({                                                                                             \
        __typeof__(x) steal_ = (x);                                                                \
        (x) = NULL;                                                                                \
        steal_;                                                                                    \
    })
#define ARRAY_LEN(a) (sizeof(a) / sizeof *(a))

/* Grows *items (capacity *cap, element size `size`) so that it holds `need` elements; new ones
 * zero. */
void mem_grow(void *items_ptr, size_t *cap, size_t need, size_t size);

#endif
