/* What the parts of the placement benchmark share. */
#ifndef BENCH_PLACE_COMMON_H
#define BENCH_PLACE_COMMON_H

#include "base/json.h"
#include "place/place.h"

#include <stdlib.h>
#include <time.h>

struct demand { /* a model with its context, one request at a time */
    const char *file, *name;
    uint32_t ctx;
    struct arch_facts *facts; /* owned by who made it */
    struct deployment_spec *spec;
    struct place_demand d;
};

/* Processor time of this thread: other work on the machine counts little. */
static inline double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* The middle of v[n], n > 0, which is sorted; of an even number the larger one. */
double bench_middle(double *v, uint32_t n);
/* A plan; ends the program for an invalid demand. explained: with all explanations. */
struct place_plan *bench_plan(const struct cluster_snapshot *s, const struct place_demand *d,
                              bool explained);
/* "one GPU", or "refused". */
const char *bench_answer_name(const struct place_plan *p);

/* Every model of the folder on the clusters of examples/, at several contexts and KV types: prints
 * a line for each and adds it to `out`. ERR_NOT_FOUND and others for files. */
int bench_answers(const char *models, const char *examples, json_t *out, struct err *err);
/* Random releases and placements on a live snapshot of n GPUs of each of some families. */
void bench_live(const struct demand *d, uint32_t n_demands, uint32_t n_gpus, uint64_t seed,
                json_t *out);

#endif
