/* Replicas of one model: how many there can be at most, and sets of nodes that hold one each. Pure;
 * any thread. */
#ifndef PLACE_REPLICAS_H
#define PLACE_REPLICAS_H

#include "place/place.h"

/* No more replicas than this fit together, by capacities; at most `want`. */
uint32_t replicas_most(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                       const struct estimate_model *m, uint32_t want);

#endif
