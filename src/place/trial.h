/* Planning again with something changed: what REJECTED and ONE CHANGE AWAY are computed with. Pure;
 * any thread. */
#ifndef PLACE_TRIAL_H
#define PLACE_TRIAL_H

#include "place/place.h"

struct trial {
    bool fits;
    bool sure; /* nothing fits, or this is the best: not ended on the budget */
    enum place_tier tier;
    uint32_t n_nodes, n_gpus;
    double tok_s;
    char main[CLUSTER_NAME]; /* its node */
    uint32_t n_cpu, n_moe;
};

/* What trials may cost together. One that would start when nothing is left is not run; that, and
 * those that end on their own budget, are counted. */
struct trials {
    uint64_t left; /* steps */
    uint64_t used;
    uint32_t n_run, n_ended;
};
enum { TRIAL_STEPS = 1 << 18 /* of one: some 0.1 s */, TRIALS_MAX = 512 /* however cheap */ };

/* Plans without reasons. A spec or model that cannot be planned is one that does not fit. Returns
 * t->fits. */
bool trial_run(const struct cluster_snapshot *s, const struct deployment_spec *spec,
               const struct estimate_model *m, struct trials *all, struct trial *t);
/* Adds the warning, when there is something to be said of the list that these were for, and the
 * steps. */
void trials_report(const struct trials *all, const char *list, struct place_plan *p);

/* A copy of the spec on the heap under which only better tiers than this are found: for TIER_NODES
 * those of one node, and so on. TIER_NONE: the same spec. */
struct deployment_spec *trial_spec(const struct deployment_spec *spec, enum place_tier tier);

/* A copy of a snapshot whose nodes can be changed and nodes[i].devices replaced: the rest is
 * borrowed. Freed with trial_snapshot_done, which frees devices that are not those of `from`. */
void trial_snapshot(struct cluster_snapshot *to, const struct cluster_snapshot *from);
void trial_snapshot_done(struct cluster_snapshot *s, const struct cluster_snapshot *from);
/* The node with devices of its own, `more` of them new and zeroed at the end. */
struct cluster_node *trial_node(struct cluster_snapshot *s, const struct cluster_snapshot *from,
                                uint32_t node, uint32_t more);

/* Figures of a trial in a note, those that its code has: n_nodes, n_gpus, tok_s. */
void trial_note(struct note *n, const struct trial *t);

#endif
