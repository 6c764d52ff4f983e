/* Several instances on one snapshot: replicas of a model, several models. Pure, deterministic; any
 * thread.
 *
 * Objective, compared in this order:
 *   1. instances placed: as many as possible;
 *   2. which: as many as possible of the first demand given, then of the second, ...: the order of
 *      the demands is their priority;
 *   3. the sum of what they cost. Costs of instances of one policy are added term by term in the
 *      order of its terms (a weighted policy is one term); policies are compared in the order of
 *      the first demand that has them. Terms from the first `leftover`, `whole`, `load` or `spread`
 *      on are preferences: followed one instance after the other, each seeing those before it, but
 *      no part of what is called optimal.
 * Together they fit: on every device, and in the RAM of every node, all of them and the margin.
 *
 * How: README.md, "Several instances". `optimal` is proved; else bound_placed and gap_percent say
 * how far off the answer may be. */
#ifndef PLACE_MANY_H
#define PLACE_MANY_H

#include "place/place.h"

enum {
    PLACE_MANY_DEMANDS = 256,
    PLACE_MANY_INSTANCES = 10000, /* of all demands together */
    PLACE_MANY_EXPLAINED = 32,    /* beyond, plans of a set come without reasons */
};

struct place_wish {
    struct place_demand d; /* d.spec->name names its replicas, for anti_affinity and spread */
    const struct estimate_model *m; /* of the demand; NULL: made from its facts */
    uint32_t replicas;
};

struct place_item {
    uint32_t wish, replica;  /* replica: 0 .. replicas - 1 */
    struct place_plan *plan; /* owned; a refusal when there is no room beside the others */
};

struct place_set {
    struct place_item *items; /* by wish, then replica: those placed of a wish come first */
    uint32_t n_items;
    uint32_t n_placed, bound_placed; /* no set of plans places more than bound_placed */
    bool optimal;
    double gap_percent; /* when not optimal: of the first sum that is not proved */
    struct notes proof; /* SET_...: what proves it, or what was not excluded */
    uint64_t steps;
};

/* Plans every wish; every item has a plan, with reasons up to PLACE_MANY_EXPLAINED items. NULL:
 * ERR_LIMIT for more than the limits above, ERR_INVALID and others as place_plan. Free with
 * place_set_free. */
struct place_set *place_many(const struct cluster_snapshot *s, const struct place_wish *wishes,
                             uint32_t n, const struct place_budget *budget, struct err *err);
void place_set_free(struct place_set *p);
/* The stable document `stowage.plans/1` (owned by the caller); `wishes` as given to place_many. */
json_t *place_set_to_json(const struct place_set *p, const struct place_wish *wishes);

#endif
