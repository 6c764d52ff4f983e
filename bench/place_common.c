/* See place_common.h. */
#include "place_common.h"

#include <stdio.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_middle(double *v, uint32_t n)
{
    qsort(v, n, sizeof *v, by_value);
    return v[n / 2];
}

struct place_plan *bench_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              bool explained)
{
    struct place_budget budget = {.no_changes = !explained};
    struct err err = {0};
    struct place_plan *p = place_plan(s, d, &budget, &err);
    if (!p) {
        fprintf(stderr, "place_bench: %s: %s\n", d->facts->name, err.msg);
        exit(1);
    }
    return p;
}

const char *bench_answer_name(const struct place_plan *p)
{
    return p->feasible ? place_tier_name(p->tier) : "refused";
}
