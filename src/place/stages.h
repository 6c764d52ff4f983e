/* Moves one after the other, and then one more instance: places for all of them such that each step
 * is feasible when it comes. Pure; one thread.
 *
 * When the k-th instance comes, those before it are at their new places and those after it still at
 * their old ones; its own old place is still held as well, unless it is stopped first. */
#ifndef PLACE_STAGES_H
#define PLACE_STAGES_H

#include "place/many.h"

enum { STAGES_MOVES = 3, STAGES_MAX = STAGES_MOVES + 1 };

struct stages {
    const struct cluster_snapshot *s;           /* with all at their old places */
    struct cluster_snapshot freed;              /* without those that move; owned */
    struct deployment_spec *spec[STAGES_MOVES]; /* of those that move; owned */
    struct place_wish wish[STAGES_MAX];         /* as given; the pending one last */
    uint32_t given[STAGES_MOVES];               /* instances as given */
    uint32_t n;                                 /* the pending one among them */
    /* The order that was tried last, and what came of it. */
    uint32_t at[STAGES_MAX]; /* by step: index into wish */
    uint32_t instance[STAGES_MOVES];
    bool down[STAGES_MOVES]; /* stopped first */
    const struct cluster_instance *before[STAGES_MAX][STAGES_MAX];
    uint32_t n_before[STAGES_MAX];
    struct place_plan *plans[STAGES_MAX]; /* by step; NULL: no places found; owned */
    uint64_t steps;
};

/* `freed` is copied, the rest borrowed. instance[n]: those that move; own[instance[i]] is its wish.
 * An instance that is all on GPUs stays so. */
void stages_init(struct stages *g, const struct cluster_snapshot *s,
                 const struct cluster_snapshot *freed, const struct place_wish *own,
                 const uint32_t *instance, uint32_t n, const struct place_wish *pending);
void stages_done(struct stages *g); /* also of zeroes */
/* As if all moved at once: no order does more. */
void stages_together(struct stages *g);
/* The i-th of stages_orders(n) orders; bit k of `down`: the k-th is stopped first. */
uint32_t stages_orders(uint32_t n_moves);
void stages_order(struct stages *g, uint32_t i, uint32_t down);
/* Finds places for the order set last; *proved: none found, and there are none. ERR_* of
 * place_plan. */
int stages_solve(struct stages *g, uint64_t steps, bool *proved, struct err *err);
/* Plans each step again, all others staying as they are: the best of its policy, with reasons. */
int stages_settle(struct stages *g, struct err *err);

#endif
