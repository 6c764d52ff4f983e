/* One question about placement, one answer: what the command line asks of a cluster file in its own
 * process and what the server answers on the live cluster are the same call. Pure but for the
 * caller's function that knows models; any thread.
 *
 * The question (also the body of POST /api/v1/plan; docs/api.md):
 *   kind     plan (default), whatif, size, defrag, why_not
 *   spec     one model's spec: a plan is stowage.plan/1
 *   specs    or several, with their replicas: stowage.plans/1
 *   edits    changes of the cluster, made before the answer (place/edit.h)
 *   budget   of the search, in steps
 *   prices   size: a price list (place/size.h)
 *   gpu      why_not: node:index or uuid */
#ifndef PLACE_ASK_H
#define PLACE_ASK_H

#include "place/edit.h"
#include "place/place.h"
#include "place/size.h"

enum ask_kind { ASK_PLAN, ASK_WHATIF, ASK_SIZE, ASK_DEFRAG, ASK_WHY_NOT, ASK_KIND_COUNT };

enum {
    ASK_MAX_SPECS = 64,
    ASK_MAX_EDITS = 64,
};

struct ask {
    enum ask_kind kind;
    bool many; /* asked with `specs` */
    struct deployment_spec **specs;
    uint32_t n_specs;
    struct edit *edits;
    uint32_t n_edits;
    struct prices *prices;
    char gpu[CONSTRAINT_NAME];
    uint64_t steps;
};
/* Strict; a spec may lack its name. *a must be zeroed; ask_done() frees what it holds. */
int ask_from_json(struct ask *a, const json_t *doc, struct err *err);
void ask_done(struct ask *a);

/* Who knows the models. `get` returns what the path holds, or NULL with err; borrowed until the
 * answer is made. */
struct ask_models {
    const struct arch_facts *(*get)(void *ctx, const char *path, struct err *err);
    void *ctx;
};
/* The document of the answer (the caller's), a refusal included. NULL: the question cannot be
 * answered (err): a model that cannot be read, a name the cluster does not have, a limit. */
json_t *ask_answer(const struct ask *a, const struct cluster_snapshot *s,
                   const struct ask_models *models, struct err *err);
/* Whether everything fits, by the kind's document: exit status and not more. */
bool ask_fits(const json_t *answer);

#endif
