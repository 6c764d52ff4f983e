/* What to buy: the cheapest additions to a cluster with which models fit. Pure; any thread. */
#ifndef PLACE_SIZE_H
#define PLACE_SIZE_H

#include "place/many.h"
#include "place/prices.h"

enum {
    SIZE_OFFERS = 3,  /* the cheapest, and the next that contain none of those before */
    SIZE_PIECES = 64, /* in one offer */
};

/* The document `stowage.size/1` (the caller's). Every offer was planned; `bound` says that nothing
 * below this price does. `steps`: 0 for the default budget. Errors as of place_plan; ERR_INVALID:
 * an item whose figures are not known; ERR_NOT_FOUND: slots of a node that is not there. */
json_t *size_answer(const struct cluster_snapshot *s, const struct place_wish *wishes, uint32_t n,
                    const struct prices *prices, uint64_t steps, struct err *err);

#endif
