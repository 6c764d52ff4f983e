/* What a plan is worth by a policy and whether the constraints allow it, from the snapshot and the
 * spec alone; and random policies, constraints and facts for both. Test code only; pure. */
#ifndef PLACE_BRUTE_POLICY_H
#define PLACE_BRUTE_POLICY_H

#include "base/rng.h"
#include "cluster/deployment.h"
#include "estimate/estimate.h"
#include "place/brute.h"
#include "place/place.h"

struct brute_plan_gpu {
    uint32_t node, index; /* in the snapshot */
};
struct brute_candidate {
    enum place_tier tier;
    uint32_t main;                       /* node of the snapshot */
    uint32_t node[BRUTE_NODES], n_nodes; /* the main one first */
    struct brute_plan_gpu gpu[BRUTE_DEV];
    uint32_t n_gpus, n_ram, hops; /* RAM of other nodes; devices elsewhere */
    int64_t ns, stage;
};

/* Amounts in whole numbers of each term's resolution, in the order they are compared. */
enum { BRUTE_TERMS = TERM_COUNT + 3 };
struct brute_worth {
    uint32_t n;
    enum policy_term term[BRUTE_TERMS];
    int64_t amount[BRUTE_TERMS];
    double sum; /* weighted */
};

struct brute_wish { /* what of a demand these questions need */
    const struct cluster_snapshot *s;
    const struct deployment_spec *spec;
    const struct estimate_model *m;
};
bool brute_allowed(const struct brute_wish *w, const struct brute_candidate *c);
void brute_worth(const struct brute_wish *w, const struct brute_candidate *c,
                 struct brute_worth *out);
/* Below 0: a is better. */
int brute_compare(const struct brute_wish *w, const struct brute_worth *a,
                  const struct brute_worth *b);

/* Labels, prices, power, files, claims and instances for a cluster. */
void brute_dress(struct cluster_snapshot *s, struct rng *r);
/* A preset, or terms in any order, or weights. */
void brute_policy(struct policy *p, struct rng *r);
/* A few constraints, often none. */
void brute_constraints(const struct cluster_snapshot *s, struct constraints *c, struct rng *r);

#endif
