/* Several instances to place, prepared: what many.c and replicas.c work on. Nobody else includes
 * this. */
#ifndef PLACE_MANY_JOB_H
#define PLACE_MANY_JOB_H

#include "base/map.h"
#include "place/cost.h"
#include "place/many.h"

struct job {
    const struct cluster_snapshot *s;
    struct place_wish *wishes; /* with models, and aversions both ways */
    uint32_t n_wishes, n;      /* n: instances */
    uint32_t *wish;            /* by instance */
    struct cost_form form;
    struct map *nodes;
    uint64_t budget, steps;
    bool changes;
    struct estimate_model **made; /* those that are ours, by wish */
    struct deployment_spec **own; /* the same */
};
/* ERR_LIMIT as place_many; others as estimate_new. job_done also after an error. */
int job_init(struct job *j, const struct cluster_snapshot *s, const struct place_wish *w,
             uint32_t n, struct err *err);
void job_done(struct job *j);
/* The single solver for one wish on some state. */
struct place_plan *job_solve(struct job *j, const struct cluster_snapshot *now, uint32_t wish,
                             const struct place_budget *b, struct err *err);

#endif
