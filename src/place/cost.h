/* What a set of plans costs: the objective of many.h as a row of whole numbers that are compared
 * from the first on. Pure; any thread.
 *
 * The row: instances not placed; of those, each wish's; then, for every policy among the wishes,
 * the sums of its terms. Rows add up over instances, and lexicographic order survives adding, so
 * the sum of rows that no plan of each instance is below is one that no set is below. */
#ifndef PLACE_COST_H
#define PLACE_COST_H

#include "place/place.h"

/* Amounts are whole numbers of millionths: milliseconds to the nanosecond. */
enum { COST_UNIT = 1000000 };

struct cost_terms {
    uint32_t at, n; /* place in the row; how many */
    enum policy_term t[PLACE_MAX_TERMS];
};
struct cost_form {
    uint32_t n_wishes, len;
    const struct deployment_spec **specs; /* by wish; borrowed specs */
    struct cost_terms *terms;             /* by wish */
};
void cost_form_init(struct cost_form *f, const struct deployment_spec *const *specs, uint32_t n);
void cost_form_done(struct cost_form *f);

/* Adds what a plan of this wish costs (not feasible: the instance is not placed). */
void cost_add(const struct cost_form *f, uint32_t wish, const struct place_plan *p, int64_t *row);
/* Adds what no plan of this wish costs less than, on the snapshot that p was planned on or any with
 * less free memory. */
void cost_add_low(const struct cost_form *f, uint32_t wish, const struct place_plan *p,
                  int64_t *row);
int cost_compare(const struct cost_form *f, const int64_t *a, const int64_t *b);
/* By how many per cent `a` is above `low` in the first number that differs; 0 when none does. */
double cost_gap(const struct cost_form *f, const int64_t *a, const int64_t *low);

#endif
