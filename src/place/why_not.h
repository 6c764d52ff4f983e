/* Why a GPU is not used: left out by a reason, or the best plan that uses it beside the chosen one.
 * Pure; any thread. */
#ifndef PLACE_WHY_NOT_H
#define PLACE_WHY_NOT_H

#include "place/place.h"

/* The document `stowage.why_not/1` (the caller's): `gpu`, `used`, `chosen` (the plan), and when it
 * is not used `says` (reasons, as notes) or `with`: the best of `compared` plans that use it,
 * alone, in the place of a chosen GPU, or beside them all. ERR_NOT_FOUND: no such GPU; others as
 * place_plan. */
json_t *why_not(const struct cluster_snapshot *s, const struct place_demand *d, const char *gpu,
                uint64_t steps, struct err *err);

#endif
