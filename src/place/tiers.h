/* The best plan of a policy over the tiers: one GPU, one node, several nodes, part in RAM, CPU
 * only. Pure. */
#ifndef PLACE_TIERS_H
#define PLACE_TIERS_H

#include "place/place.h"
#include "place/scene.h"

struct answer_part {
    uint32_t node, index; /* in the snapshot; index UINT32_MAX: the node's RAM */
    uint32_t n_layers;
};

struct answer {
    bool feasible;
    bool proved; /* best of its policy, and no earlier tier fits */
    enum place_tier tier;
    uint32_t main; /* node of the snapshot */
    uint32_t n_nodes, n_gpus, n_cpu, n_moe;
    int64_t ns, bound_ns;             /* per token; no plan of this kind is below bound_ns */
    int64_t value;                    /* of the objective of its tier (objective.h) */
    __int128 bound_total;             /* that no plan of its tier is below */
    uint32_t bound_offload;           /* TERM_OFFLOAD of the first tier that is not excluded */
    bool counted;                     /* nodes and GPUs were settled before the value: */
    uint32_t bound_nodes, bound_gpus; /* fewer are proved not to do; 0: nothing is said */
    struct answer_part *parts;        /* pipeline order; owned */
    uint32_t n_parts;
};
void answer_done(struct answer *a);

struct tiers_opts {
    enum place_tier last; /* tiers after this one are not tried */
    uint64_t steps;       /* budget */
};
/* *used grows by what was taken of the budget. */
void tiers_solve(const struct scene *c, const struct tiers_opts *o, struct answer *out,
                 uint64_t *used);
/* The best answer of the tier "part in RAM" on one node, whatever else would fit. */
void tiers_ram(const struct scene *c, uint64_t steps, struct answer *out, uint64_t *used);

#endif
