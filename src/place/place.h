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

/* Codes of reasons, with parameters; text is made from them by place_reason_text. */
enum place_code {
    PLACE_MEMORY,   /* does not hold: needs `need`, has `have` bytes */
    PLACE_LAYERS,   /* holds `have` of `need` layers */
    PLACE_EXCLUDED, /* left out by a constraint: text */
    PLACE_DRAINED,
    PLACE_LOST,
    PLACE_SLOWER,     /* fits, predicted tok_s against the chosen one's */
    PLACE_MORE_NODES, /* fits, uses more nodes or GPUs than needed */
    PLACE_CODE_COUNT,
};
struct place_reason {
    enum place_code code;
    char what[128];   /* "hill 0+1 only", "equal split over 3 GPUs", "dale:0 RTX 4070" */
    char detail[160]; /* "" or the constraint's text */
    uint64_t need, have;
    double tok_s; /* 0 when it does not run */
};
struct place_change { /* a change that was verified by planning again */
    char set[64];     /* "--ctx 4096", "--kv q8_0", "add 1 GPU of 24 GiB" */
    char gives[128];  /* "one node, 2 GPUs, 15.0 tok/s" */
    enum place_tier tier;
    double tok_s;
    bool fits;
};

/* One term of the policy, and what of it the plan has. Units: policy_term_unit. */
struct place_term {
    enum policy_term term;
    double amount;
    double bound; /* plans that equal this one in the terms before it cannot have less */
    bool proved;  /* bound and amount are the same; what follows an unproved term is none */
};

enum { PLACE_MAX_TERMS = TERM_COUNT + 2, PLACE_MAX_NOTES = 4 };

struct place_plan {
    bool feasible, optimal;
    double gap_percent; /* when not optimal: of the first term that is not proved, or of the sum */
    struct place_term terms[PLACE_MAX_TERMS]; /* in the order of the policy */
    uint32_t n_terms;
    bool weighted;                   /* the policy is a sum: */
    double sum, bound_sum;           /* of weights times amounts, and what no plan can be below */
    char note[PLACE_MAX_NOTES][160]; /* what was decided on the way; "" ends */
    enum place_tier tier;
    struct assignment a; /* filled when feasible */
    char proof[4][160];  /* binding facts that prove it; "" ends */
    char why[4][160];    /* WHY THIS ONE */
    struct place_reason
        *rejected; /* alternatives a person would think of, or per-GPU reasons of a refusal */
    uint32_t n_rejected;
    struct place_change *changes;
    uint32_t n_changes;
    char summary[240]; /* a refusal in one line: "no placement: 80 layers of 1057 MiB needed, 61
                          fit" */
    uint64_t steps;    /* of the budget used */
    uint32_t n_devices_seen; /* candidates */
    uint64_t free_bytes_seen;
};

struct place_budget {
    uint64_t steps;  /* 0: default, ample */
    bool no_changes; /* skip ONE CHANGE AWAY (the scheduler's fast path) */
};

/* NULL only for an invalid demand (err); a refusal is a plan with feasible false. Free with
 * place_free. */
struct place_plan *place_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              const struct place_budget *budget, struct err *err);
void place_free(struct place_plan *p);

void place_reason_text(const struct place_reason *r, char *dst, size_t cap);
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
