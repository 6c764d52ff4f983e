/* What the files that make a plan of an answer share; nobody else includes this. */
#ifndef PLACE_PLACE_INT_H
#define PLACE_PLACE_INT_H

#include "place/place.h"
#include "place/tiers.h"

enum {
    PLACE_STEPS = 40 << 20, /* the default budget: a fraction of a second */
    PLACE_CTX_STEP = 256,   /* contexts are lowered by this: the engine rounds to it */
};

/* A plan without ONE CHANGE AWAY, from a model that is estimated already. Tests call it with models
 * made by hand. */
struct place_plan *place_model(const struct cluster_snapshot *s, const struct deployment_spec *spec,
                               const struct estimate_model *m, const struct place_budget *budget,
                               struct err *err);

/* An answer as a plan: what it is, its terms and its assignment; sets its time to what estimate/
 * has. *p is zeroed by the caller, who frees it also after an error (ERR_INTERNAL: the sums of
 * estimate/ are others). */
int place_fill(const struct scene *c, struct answer *a, struct place_plan *p, struct err *err);

/* reasons.c: proof, why and rejected of an answer; every reason and the summary of a refusal.
 * brief: without the alternatives that take a search of their own. */
void reasons_answer(const struct scene *c, const struct answer *a, bool brief,
                    struct place_plan *p);
void reasons_refusal(const struct scene *c, struct place_plan *p);
/* A finding at the end; at most PLACE_MAX_FINDINGS (asserted: who may exceed it looks first). */
struct place_finding *findings_add(struct place_findings *l, enum note_code what);
void findings_done(struct place_findings *l);

struct capacity;
/* rejected.c, refused.c: their parts of it. */
void reasons_rejected(const struct scene *c, const struct answer *a, const struct capacity *k,
                      bool brief, struct place_plan *p);
void reasons_refused(const struct scene *c, const struct capacity *k, struct place_plan *p);
/* Says why a node or a GPU of it was left out; nothing for SCENE_OK. */
void reasons_left_out(const struct scene *c, struct place_finding *f, uint32_t node,
                      enum scene_why why);

/* changes.c: ONE CHANGE AWAY, each planned again. */
void changes_find(const struct cluster_snapshot *s, const struct place_demand *d,
                  struct place_plan *p);

/* Seconds per token of a split of parts on the snapshot, as estimate/ has it. */
double place_seconds(const struct scene *c, uint32_t main, const struct answer_part *parts,
                     uint32_t n_parts, uint32_t n_cpu, uint32_t n_moe);
const char *place_device_label(const struct scene *c, uint32_t node, uint32_t index, char *dst,
                               size_t cap); /* "hill:0 RTX 3090", "hill RAM" */

#endif
