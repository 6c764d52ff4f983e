/* Sorting by one number, faster than by comparisons. Pure; any thread. */
#ifndef PLACE_SORT_H
#define PLACE_SORT_H

#include <stddef.h>
#include <stdint.h>

struct keyed {
    uint64_t key;
    uint32_t item;
};
/* Ascending; equal keys stay in their order. O(n) for each byte in which keys differ. */
void sort_keyed(struct keyed *a, size_t n);

#endif
