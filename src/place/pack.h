/* Instances placed together, exactly: a best-first search over conflicts. Pure; one thread.
 *
 * Every instance begins with the best plan it would have alone. Where several want more of a device
 * than there is, at least one of them must use less of it: for each, a branch in which a limit says
 * so (choice.h), with limits so close that no set of plans is lost. The sum of the best plans under
 * the limits bounds everything below a branch; the first branch in order of bounds that has no
 * conflict is the best set. See README.md, "Several instances". */
#ifndef PLACE_PACK_H
#define PLACE_PACK_H

#include "place/choice.h"

enum { PACK_MAX_ITEMS = 64, PACK_MAX_NODES = 50000 };

struct pack {
    const struct cluster_snapshot *s; /* as if nothing of the instances was placed yet */
    const struct cost_form *form;
    const struct choice_for *items; /* in the order in which they come; alike ones together */
    uint32_t n;
    bool all;            /* sets that leave one out are none, and any set will do */
    const int64_t *beat; /* only sets that cost less are wanted; NULL: any */
    uint64_t steps;      /* budget */
};
struct pack_answer {
    struct place_plan **plans; /* by item, owned; NULL: no such set was found */
    bool proved;               /* of plans: no set costs less; without: there is no such set */
    int64_t *low;              /* no set costs less than this */
    uint64_t steps;
    uint32_t n_sets; /* looked at */
};
/* ERR_* as of place_plan. Free the answer with pack_done, also after an error. */
int pack_solve(const struct pack *p, struct pack_answer *out, struct err *err);
void pack_done(struct pack_answer *a, uint32_t n_items);

#endif
