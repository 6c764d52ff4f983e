/* The best of many, when few of them change: a tree of winners. Pure; one owner. */
#ifndef PLACE_TOURNAMENT_H
#define PLACE_TOURNAMENT_H

#include <stdbool.h>
#include <stdint.h>

#define TOURNAMENT_NONE UINT32_MAX

struct tournament {
    uint32_t n, width; /* leaves; a power of two from n on */
    uint32_t *win;     /* [1] is the best of all; leaves from width on; owned */
    bool (*better)(const void *ctx, uint32_t a, uint32_t b); /* a total order */
    const void *ctx;
};
void tournament_init(struct tournament *t, uint32_t n,
                     bool (*better)(const void *ctx, uint32_t a, uint32_t b), const void *ctx);
void tournament_done(struct tournament *t);
/* Leaf i takes part or not, and may have changed: O(log n) comparisons. */
void tournament_set(struct tournament *t, uint32_t i, bool in);
uint32_t tournament_best(const struct tournament *t); /* TOURNAMENT_NONE: nobody takes part */

#endif
