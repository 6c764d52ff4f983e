/* Every plan of a small cluster, judged by a policy and constraints from the snapshot, the spec and
 * estimate/ alone: what the planner's answers are compared with. Tests only. */
#ifndef PLACE_POLICY_BRUTE_H
#define PLACE_POLICY_BRUTE_H

#include "place/place.h"

enum { EVERY_DEV = 6, EVERY_TERMS = TERM_COUNT };

struct every {
    const struct cluster_snapshot *s;
    const struct estimate_model *m;
    const struct deployment_spec *spec;
    struct policy policy;      /* of the spec, without a price or power that nobody knows */
    uint64_t plans;            /* that fit and are allowed */
    bool with_gpus;            /* some of them use a GPU */
    bool feasible;             /* the best of them: */
    int64_t best[EVERY_TERMS]; /* figure by term, in its resolution */
    double sum;
};
/* Fills plans, feasible, best and sum. RAM of further nodes is left out: it takes part
 * where nothing with a GPU fits. */
void every_plan(struct every *e);
/* Figures of a plan that the planner made. */
void every_figures(const struct every *e, const struct assignment *a, int64_t *out);
double every_sum(const struct every *e, const int64_t *figures);
/* The terms that decide, in order: those of the policy, then nodes, GPUs, time. */
uint32_t every_terms(const struct every *e, enum policy_term *out);

#endif
