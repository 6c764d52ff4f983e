/* Whole plans of any policy and constraints against trying everything, tier by tier. Test code
 * only; one thread. */
#ifndef PLACE_BRUTE_PLAN_H
#define PLACE_BRUTE_PLAN_H

#include "place/brute_case.h"
#include "place/brute_policy.h"

struct brute_outcome {
    bool feasible;
    /* Whether RAM of other nodes helps is asked of plans under one limit on stages, so where
     * nothing else fits the least stream time is not defined: validity alone is compared. */
    bool vague;
    struct brute_candidate best;
    struct brute_worth worth;
};
/* The best of all plans for a spec, but for its least context and a split written by hand. */
void brute_outcome(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                   const struct estimate_model *m, struct brute_outcome *out);
/* Nodes (the main one included) and GPUs of an assignment. */
uint32_t brute_nodes_of(const struct assignment *a);
uint32_t brute_gpus_of(const struct assignment *a);
/* Plans one random instance and compares; 0, or -1 with what differs. *p is the plan, for counting;
 * the caller frees it; NULL with 0: the policy does not fit whole numbers. `steps`: the budget, 0
 * for the default. */
int brute_plan(struct brute_models *all, struct rng *r, const struct brute_shape *o, uint64_t steps,
               struct place_plan **p, struct brute_outcome *best, struct err *err);

#endif
