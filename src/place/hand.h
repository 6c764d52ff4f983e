/* A split that somebody wrote by hand: these GPUs in this order with so many layers each. Nothing
 * is searched but the main node; the same exact fit judges it. Pure.
 *
 * Used when constraints.n_split is above 0. */
#ifndef PLACE_HAND_H
#define PLACE_HAND_H

#include "place/place.h"
#include "place/scene.h"
#include "place/tiers.h"

/* ERR_INVALID: a GPU named twice, or another number of layers than the model has. */
int hand_check(const struct scene *c, struct err *err);
/* The split with its best main node, if it fits and no constraint forbids it. */
void hand_solve(const struct scene *c, struct answer *out);
/* Every reason why it does not: each overfull GPU with its bytes, each one that is left out, each
 * limit; and the summary. */
void hand_refusal(const struct scene *c, struct place_plan *p);

#endif
