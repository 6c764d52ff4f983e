/* What plans have of each term of a policy: figures of devices, nodes and whole plans, as whole
 * numbers of the term's resolution. Pure; any thread.
 *
 * Where each comes from is told in docs/policies.md. */
#ifndef PLACE_FIGURES_H
#define PLACE_FIGURES_H

#include "place/scene.h"
#include "place/tiers.h"

/* What of a plan has a figure: the plan as such, every used GPU, every node that takes part, the
 * main node. */
enum figure_of { FIGURE_OF_PLAN, FIGURE_OF_DEVICE, FIGURE_OF_NODE, FIGURE_OF_MAIN };
enum figure_of figure_kind(enum policy_term t);
/* Counted for plans that are all on GPUs alone. */
bool figure_gpus_only(enum policy_term t);
/* One unit for people in the resolution: 1e6 ns make a ms. */
double figure_resolution(enum policy_term t);

/* What needs a look at every instance, made once. NULL members where no term asks for them. */
struct figures {
    uint32_t *replicas; /* of the same deployment, by node: in its failure domain */
    bool *ours;         /* by device of the scene: something of ours runs there */
};
void figures_init(struct figures *f, const struct scene *c, const struct policy *p);
void figures_done(struct figures *f);

int64_t figure_device(const struct scene *c, enum policy_term t, uint32_t dev);
int64_t figure_node(const struct scene *c, enum policy_term t, uint32_t node); /* or main node */
/* Of a plan; times are those of the answer. */
int64_t figure_answer(const struct scene *c, const struct answer *a, enum policy_term t);
/* The slowest stage of a plan, ns: a device's layers, the output layer, and its way to the main
 * node; the layers, or the experts, on the CPU. */
int64_t figure_stage_ns(const struct scene *c, const struct answer *a);

#endif
