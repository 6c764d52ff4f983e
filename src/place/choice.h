/* Plans of one instance under limits: what the single solver answers when the instance may use at
 * most so many bytes of some devices. Every answer is kept. Pure; one thread.
 *
 * A limit lowers what is free for this instance alone; it is how a search over several instances
 * tells two of them apart that want the same device. */
#ifndef PLACE_CHOICE_H
#define PLACE_CHOICE_H

#include "place/cost.h"

enum {
    CHOICE_RAM = UINT32_MAX,      /* as in cluster_instance_part */
    CHOICE_NODE = UINT32_MAX - 1, /* nothing of the node */
    CHOICE_MAX_LIMITS = 1024,     /* of one instance */
};
struct limit {
    uint32_t node, device;
    uint64_t bytes; /* used there at most, the driver's share included */
};

/* Who wants a place. Instances of one wish with the same `before` are alike. */
struct choice_for {
    uint32_t wish;
    const struct deployment_spec *spec;
    const struct estimate_model *m;
    const struct place_demand *d; /* for a context that may be lowered; facts NULL: not known */
    /* Instances that still hold their bytes when this one comes; borrowed. */
    const struct cluster_instance *const *before;
    uint32_t n_before;
};

struct choice {
    const struct choice_for *who;
    struct limit *limits; /* sorted; owned */
    uint32_t n_limits;
    struct place_plan *plan;      /* owned */
    struct cluster_instance held; /* what the plan holds */
    int64_t *cost, *low;          /* rows (cost.h) */
};

struct choices;
/* Borrows all; s is copied. */
struct choices *choices_new(const struct cluster_snapshot *s, const struct cost_form *form);
void choices_free(struct choices *x);
/* The plan of `who` under the limits of `from` (NULL: none) and one more (NULL: none). Index of the
 * choice, or UINT32_MAX with err. More limits than CHOICE_MAX_LIMITS: ERR_LIMIT. */
uint32_t choices_get(struct choices *x, const struct choice_for *who, const struct choice *from,
                     const struct limit *more, struct err *err);
const struct choice *choices_at(const struct choices *x, uint32_t i);
uint64_t choices_steps(const struct choices *x); /* of the single solver so far */

#endif
