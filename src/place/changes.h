/* What the files of ONE CHANGE AWAY share; nobody else includes this. */
#ifndef PLACE_CHANGES_H
#define PLACE_CHANGES_H

#include "place/place_int.h"
#include "place/trial.h"

struct search {
    const struct cluster_snapshot *s;
    const struct place_demand *d;
    const struct deployment_spec *spec; /* allows only what is better than the plan */
    const struct estimate_model *m;     /* of the demand */
    const struct scene *c;              /* of the demand as it is */
    struct place_plan *p;
    enum place_tier tier; /* of the plan, which a change must better; TIER_NONE: a refusal */
    struct trials *trials;
};

/* Plans with a changed cluster, the demand and its model as they are. */
bool changes_try(const struct search *x, const struct cluster_snapshot *s, struct trial *t);
/* Adds a change with what its trial gave; the caller sets the parameters of the note. It is valid
 * until the next one is added. */
struct note *changes_add(const struct search *x, const struct trial *t, enum note_code what);
/* What a change that is not enough leaves to be wished for: sets `gives` of the newest change. */
void changes_lacking(const struct search *x, const struct cluster_snapshot *s,
                     const struct deployment_spec *spec, const struct estimate_model *m);

/* changes_cluster.c: nodes, instances, the engine, new GPUs. */
void changes_of_cluster(const struct search *x);

#endif
