/* Planning as a job. */
#include "server/planning.h"

#include "base/mem.h"

#include <string.h>

struct planning *planning_new(const struct deployment_spec *spec, struct facts *facts)
{
    struct planning *p = mem_calloc(1, sizeof *p);
    p->spec = mem_calloc(1, sizeof *p->spec);
    *p->spec = *spec;
    p->facts = facts;
    if (facts)
        facts->refs++;
    snapshot_init(&p->snapshot);
    return p;
}

/* Where a plan for several models put it, if that still stands: its GPUs and split are a split by
 * hand, which is checked and not searched. */
static struct place_plan *plan_as_wished(struct planning *p, struct place_demand d)
{
    struct place_budget budget = {.no_changes = true};
    mem_auto struct deployment_spec *spec = mem_calloc(1, sizeof *spec);
    *spec = *p->spec;
    spec->want.gpus = p->wish->gpus;
    spec->want.n_split = p->wish->n_split;
    memcpy(spec->want.split, p->wish->split, sizeof spec->want.split);
    d.spec = spec;
    struct place_plan *plan = place_plan(&p->snapshot, &d, &budget, NULL);
    if (plan && plan->feasible)
        return plan;
    place_free(plan);
    return NULL;
}

void planning_run(struct planning *p)
{
    struct place_demand demand;
    struct place_budget budget = {.no_changes = true};
    if (place_demand_init(&demand, p->facts->facts, p->spec, &p->err))
        return;
    p->plan = p->wish ? plan_as_wished(p, demand) : NULL;
    p->as_wished = p->plan != NULL;
    if (!p->plan)
        p->plan = place_plan(&p->snapshot, &demand, &budget, &p->err);
    /* The fast path leaves out what would change a refusal; a new refusal deserves the answer. */
    if (p->plan && !p->plan->feasible)
        note_text(&p->plan->summary, WORDS_EN, p->refusal, sizeof p->refusal);
    if (p->plan && !p->plan->feasible && strcmp(p->refusal, p->known_refusal) != 0) {
        place_free(p->plan);
        budget.no_changes = false;
        p->full = true;
        p->plan = place_plan(&p->snapshot, &demand, &budget, &p->err);
    }
    if (p->plan && p->plan->feasible)
        place_validate(&p->snapshot, &demand, &p->plan->a, &p->wrong);
    if (p->plan)
        p->doc = place_to_json(p->plan);
}

void planning_free(struct planning *p)
{
    if (!p)
        return;
    place_free(p->plan);
    json_decref(p->doc);
    snapshot_done(&p->snapshot);
    facts_unref(p->facts);
    free(p->wish);
    free(p->spec);
    free(p);
}
