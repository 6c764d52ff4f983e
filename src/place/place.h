/* Placement: (snapshot, demand, policy, budget) to plan with reasons. Pure, deterministic; any
 * thread.
 *
 * Problem, algorithm and proof: src/place/README.md. Never a cap: every cluster gets an answer, and
 * an answer says whether it is optimal or how far it may be off. Times are integer nanoseconds,
 * bytes integers; the same inputs give the same bytes. */
#ifndef PLACE_PLACE_H
#define PLACE_PLACE_H

#include "cluster/deployment.h"
#include "estimate/estimate.h"
#include "place/words.h"

enum place_tier { TIER_ONE_GPU, TIER_ONE_NODE, TIER_NODES, TIER_RAM, TIER_CPU, TIER_NONE };
const char *place_tier_name(
    enum place_tier t); /* "one GPU", "one node", "several nodes", "part in RAM", "CPU only" */

struct place_demand {
    const struct arch_facts *facts;
    struct estimate_opts opts;
    const struct deployment_spec *spec; /* constraints and policy; name may be "" */
};

/* The context per request of a spec that names none becomes the trained one, at most 8192. */
void place_default_ctx(struct deployment_spec *spec, const struct arch_facts *facts);
/* The demand of a spec whose context is set; both are borrowed. ERR_INVALID: an unknown KV type. */
int place_demand_init(struct place_demand *d, const struct arch_facts *facts,
                      const struct deployment_spec *spec, struct err *err);

/* What was looked at, and what is to be said of it. */
struct place_finding {
    struct note what;  /* ALT_...: an alternative; AT_...: a GPU, a node, RAM */
    struct notes says; /* all reasons */
    double tok_s;      /* of an alternative that runs; else 0 */
};
struct place_findings {
    struct place_finding *items; /* owned */
    uint32_t n, total;           /* total: before the list was cut at PLACE_MAX_FINDINGS */
};
enum { PLACE_MAX_FINDINGS = 4096 };

struct place_change { /* verified by planning again */
    struct note what; /* SET_..., ADD_..., ... */
    struct note gives;
    bool fits;
    enum place_tier tier; /* TIER_NONE when it does not fit */
    uint32_t n_nodes, n_gpus;
    double tok_s;
};

/* One term of the policy, and what of it the plan has. Units: policy_term_unit. */
struct place_term {
    enum policy_term term;
    double amount;
    double bound; /* plans that equal this one in the terms before it cannot have less */
    bool proved;  /* bound and amount are the same; what follows an unproved term is none */
};

enum { PLACE_MAX_TERMS = TERM_COUNT + 2 };

struct place_plan {
    bool feasible, optimal;
    double gap_percent; /* when not optimal: of the first term that is not proved, or of the sum */
    struct place_term terms[PLACE_MAX_TERMS]; /* in the order of the policy; then nodes, GPUs and
                                                 time, unless it names them */
    uint32_t n_terms;
    bool weighted;         /* the policy is a sum: */
    double sum, bound_sum; /* of weights times amounts, and what no plan can be below */
    uint32_t time_step_ns; /* times were compared in steps of so much; 1: exactly */
    enum place_tier tier;
    struct assignment a;            /* filled when feasible */
    struct notes proof, why;        /* binding facts that prove it; WHY THIS ONE */
    struct notes notes;             /* what was decided on the way */
    struct note verdict;            /* of a plan: OPTIMAL, BEST_FOUND */
    struct notes ways;              /* one per part: how the main process reaches it */
    struct notes assumed;           /* what was taken for granted */
    struct notes warnings;          /* the search ended early */
    struct notes remarks;           /* on the lists: one was cut, plans for one ended early */
    struct place_findings rejected; /* alternatives a person would think of */
    struct place_findings refused;  /* a refusal: every reason by GPU, node and RAM */
    struct place_change *changes;   /* ONE CHANGE AWAY, smallest first; owned */
    uint32_t n_changes;
    struct note summary;     /* of a refusal: NO_FIT... */
    uint64_t steps;          /* of the budget used */
    uint32_t n_devices_seen; /* candidates */
    uint64_t free_bytes_seen;
};

struct place_budget {
    uint64_t steps;  /* 0: default, ample */
    bool no_changes; /* skip ONE CHANGE AWAY (the scheduler's fast path) */
    bool bare;       /* no reasons and no id at all: for searches over many plans */
};

/* NULL only for an invalid demand (err); a refusal is a plan with feasible false. Free with
 * place_free. */
struct place_plan *place_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              const struct place_budget *budget, struct err *err);
void place_free(struct place_plan *p);

/* The stable document `stowage.plan/1` (owned by the caller). */
json_t *place_to_json(const struct place_plan *p);

/* Independent check (validate.c, no code shared with the optimiser): recomputes every device's
 * bytes from the model and compares with the snapshot and the plan's own figures. */
int place_validate(const struct cluster_snapshot *s, const struct place_demand *d,
                   const struct assignment *a, struct err *err);

/* The same for a model that is estimated already. */
int place_validate_model(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                         const struct estimate_model *m, const struct assignment *a,
                         struct err *err);

#endif
