/* A snapshot on which models are placed and freed all day, with what each demand would get kept up
 * to date per node. Pure, deterministic; one owner, one thread.
 *
 * Every answer is the plan that place_plan makes from scratch of the same state, name and terms
 * included (only reasons, what was seen and steps are left out); a placement that one GPU or one
 * node can hold costs far less. What the index cannot decide goes to the full search, counted.
 *
 *     struct live *l = live_new(&snapshot);
 *     uint32_t d;
 *     live_demand(l, &demand, NULL, &d, err);           once per model, options and constraints
 *     struct place_plan *p = live_place(l, d, err);
 *     if (p && p->feasible)
 *         live_claim(l, &p->a, "qwen", 0, &id, err);  the bytes are taken
 *     ...
 *     live_release(l, id);                         and given back */
#ifndef PLACE_LIVE_H
#define PLACE_LIVE_H

#include "place/place.h"

enum {
    LIVE_MAX_DEMANDS = 256,
    LIVE_MAX_INSTANCES = CLUSTER_MAX_INSTANCES,
    LIVE_MAX_CELLS = 8 << 20, /* demands times nodes and devices that are kept up to date, some 100
                                 bytes each; demands beyond are planned from scratch */
};

struct live;
/* Copies the snapshot. Never NULL. */
struct live *live_new(const struct cluster_snapshot *s);
void live_free(struct live *l);
/* The state now; its instances are those of the snapshot given and those claimed since. Borrowed;
 * valid until the next claim or release. */
const struct cluster_snapshot *live_snapshot(const struct live *l);

/* Prepares a demand; its spec is copied, its facts and m stay the caller's until the end. m: the
 * model of the demand, NULL: made from its facts. *id from 0, in order. ERR_LIMIT: more than
 * LIVE_MAX_DEMANDS; others as place_plan. */
int live_demand(struct live *l, const struct place_demand *d, const struct estimate_model *m,
                uint32_t *id, struct err *err);
/* The plan of a demand on the state now; a refusal is a plan too. NULL: errors as of place_plan.
 * Free with place_free. */
struct place_plan *live_place(struct live *l, uint32_t demand, struct err *err);
/* Takes what an assignment holds for a replica of `deployment`. *id is for live_release.
 * ERR_NO_PLACEMENT: it is not free; ERR_NOT_FOUND: no such device; ERR_LIMIT: too many. */
int live_claim(struct live *l, const struct assignment *a, const char *deployment, uint32_t replica,
               uint32_t *id, struct err *err);
void live_release(struct live *l, uint32_t id);

struct live_counts {
    uint64_t by_gpu, by_node; /* answers of the index */
    uint64_t full;            /* of the full search */
};
struct live_counts live_counts(const struct live *l);

#endif
