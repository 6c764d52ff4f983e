/* Names of keys and tensors: storage, lookup, and a form that is safe to print. */
#include "gguf/gguf_internal.h"

#include "base/mem.h"

#include <string.h>

enum { ARENA_BLOCK = 64 << 10 };

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(8) char bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_block *b = a->first;
    if (!b || b->cap - b->used < n) {
        size_t cap = n > ARENA_BLOCK / 4 ? n : ARENA_BLOCK;
        struct arena_block *fresh = mem_calloc(1, sizeof *fresh + cap);
        fresh->cap = cap;
        if (b && cap == n) { /* a block of its own; the open block stays in front */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->first = fresh;
        }
        b = fresh;
    }
    void *p = b->bytes + b->used;
    b->used += n;
    return p;
}

void arena_free(struct arena *a)
{
    while (a->first) {
        struct arena_block *next = a->first->next;
        free(a->first);
        a->first = next;
    }
}

void arena_join(struct arena *a, struct arena *b)
{
    struct arena_block **tail = &a->first;
    while (*tail)
        tail = &(*tail)->next;
    *tail = b->first;
    b->first = NULL;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint32_t hash_name(const struct name_index *ix, const char *name)
{
    size_t n = strlen(name);
    uint64_t h = (uint64_t)(uintptr_t)ix->slots ^ 0x9e3779b97f4a7c15u;
    for (; n >= 8; name += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, name, sizeof w);
        h = mix(h ^ w, 0xd6e8feb86659fd93u);
    }
    uint64_t w = n;
    memcpy((char *)&w + 1, name, n);
    h = mix(h ^ w, 0xa0761d6478bd642fu);
    return (uint32_t)(h ^ h >> 32);
}

static const char *row_name(const void *rows, size_t stride, uint32_t i)
{
    return *(const char *const *)((const char *)rows + stride * i);
}

void name_index_reset(struct name_index *ix, uint32_t n)
{
    uint64_t cap = 16;
    while (cap < (uint64_t)n * 2)
        cap *= 2;
    free(ix->slots);
    ix->slots = mem_calloc(cap, sizeof *ix->slots);
    ix->mask = (uint32_t)(cap - 1);
}

void name_index_free(struct name_index *ix)
{
    free(ix->slots);
    ix->slots = NULL;
}

bool name_index_add(struct name_index *ix, const void *rows, size_t stride, uint32_t i)
{
    const char *name = row_name(rows, stride, i);
    uint32_t s = hash_name(ix, name) & ix->mask;
    for (; ix->slots[s]; s = (s + 1) & ix->mask)
        if (strcmp(row_name(rows, stride, ix->slots[s] - 1), name) == 0)
            return false;
    ix->slots[s] = i + 1;
    return true;
}

uint32_t name_index_find(const struct name_index *ix, const void *rows, size_t stride,
                         const char *name)
{
    if (!ix->slots)
        return UINT32_MAX;
    for (uint32_t s = hash_name(ix, name) & ix->mask; ix->slots[s]; s = (s + 1) & ix->mask)
        if (strcmp(row_name(rows, stride, ix->slots[s] - 1), name) == 0)
            return ix->slots[s] - 1;
    return UINT32_MAX;
}

const char *gguf_printable(char dst[72], const char *name)
{
    size_t i = 0;
    for (; name[i] && i < 64; i++)
        dst[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    if (name[i]) {
        memcpy(dst + i, "...", 3);
        i += 3;
    }
    dst[i] = '\0';
    return dst;
}
