/* Byte by byte from the least; see sort.h. */
#include "place/sort.h"

#include "base/mem.h"

#include <string.h>

void sort_keyed(struct keyed *a, size_t n)
{
    uint64_t some = 0, all = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        some |= a[i].key;
        all &= a[i].key;
    }
    mem_auto struct keyed *other = mem_calloc(n, sizeof *other);
    struct keyed *from = a, *to = other;
    for (uint32_t shift = 0; shift < 64; shift += 8) {
        size_t at[256] = {0}, sum = 0;
        if (((some ^ all) >> shift & 255) == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            at[from[i].key >> shift & 255]++;
        for (uint32_t d = 0; d < 256; d++) {
            size_t of = at[d];
            at[d] = sum;
            sum += of;
        }
        for (size_t i = 0; i < n; i++)
            to[at[from[i].key >> shift & 255]++] = from[i];
        struct keyed *swap = from;
        from = to;
        to = swap;
    }
    if (from != a)
        memcpy(a, from, n * sizeof *a);
}
