/* Defragmentation: at most three moves of running instances that make room for a model. Pure,
 * deterministic; any thread. Nothing is moved here: the answer is a plan.
 *
 * A move gives one instance a new place, once per instance. Steps are in order, each feasible when
 * its turn comes: by preference the instance is loaded at its new place while the old one still
 * serves ("load, then stop"); where that does not fit it is stopped first (down_time). An instance
 * that is all on GPUs stays all on GPUs. Its deployment's constraints hold for the new place.
 *
 * Objective: fewest moves, then fewest bytes to load, then fewest moves with down time.
 *
 * How: README.md, "Moves". A set of instances is looked at when the pending model would fit without
 * them; whether all of it fits again, step by step, is asked of pack.h. */
#ifndef PLACE_DEFRAG_H
#define PLACE_DEFRAG_H

#include "place/many.h"

enum {
    DEFRAG_MOVES = 3,
    DEFRAG_MAX_SETS = 1 << 20, /* of one size; beyond, those of the largest models are left out */
};

struct defrag_move {
    uint32_t instance;       /* index in the snapshot's instances */
    bool down_time;          /* stop, then load; else load, then stop */
    uint64_t bytes;          /* of weights, which the new processes load: GPUs and RAM */
    struct place_plan *plan; /* the new place; owned */
};

struct place_defrag {
    bool feasible;     /* the pending model fits after these moves */
    bool proved;       /* nothing better by the objective; or no plan with at most DEFRAG_MOVES */
    uint32_t excluded; /* plans with fewer moves than this are proved not to exist */
    struct defrag_move moves[DEFRAG_MOVES]; /* in order */
    uint32_t n_moves;                       /* 0: it fits as it is, or not at all */
    uint64_t bytes;                         /* of all moves */
    struct place_plan *pending; /* after the moves, or the refusal as it is now; owned */
    struct notes proof;         /* MOVES_... */
    uint64_t steps;
    uint32_t n_movable; /* instances that may be moved */
    uint32_t n_sets;    /* sets of them that were looked at */
};

/* `demands[i]` is that of the i-th instance of s; facts NULL: it cannot be moved. Pinned ones stay
 * as well, and those on nodes that are lost. NULL: errors as of place_plan. Free with
 * place_defrag_free. */
struct place_defrag *place_defrag(const struct cluster_snapshot *s,
                                  const struct place_demand *demands,
                                  const struct place_demand *pending,
                                  const struct place_budget *budget, struct err *err);
/* The same with models that are estimated already; own[i].m NULL: it cannot be moved. */
struct place_defrag *place_defrag_models(const struct cluster_snapshot *s,
                                         const struct place_wish *own,
                                         const struct place_wish *pending,
                                         const struct place_budget *budget, struct err *err);
void place_defrag_free(struct place_defrag *d);
/* The stable document `stowage.defrag/1` (owned by the caller); `s` as given to place_defrag. */
json_t *place_defrag_to_json(const struct place_defrag *d, const struct cluster_snapshot *s);

#endif
