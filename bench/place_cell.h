/* One cell of the placement benchmark: one model on several random clusters of one family and size,
 * timed; and its line and JSON form. I/O: clocks and stdout; one thread. */
#ifndef BENCH_PLACE_CELL_H
#define BENCH_PLACE_CELL_H

#include "place_base.h"
#include "place_common.h"
#include "place_world.h"

enum { CELL_MAX_CLUSTERS = 64 };

struct cell_opts {
    uint32_t clusters;   /* random clusters, at most CELL_MAX_CLUSTERS */
    uint64_t seed;       /* of the first one */
    uint64_t base_calls; /* the baseline's limit; 0: without a baseline */
    bool explained;      /* the path with all explanations, too */
};

/* Of one way of planning over all clusters of a cell. */
struct path_figures {
    double median_ms, worst_ms;
    uint64_t peak_bytes; /* the worst cluster's */
};
struct base_figures {
    struct base_result r;
    double ms, ratio; /* processor time, and how many times ours on the same cluster */
};
struct cell {
    const char *family, *model, *policy;
    uint32_t n_gpus, clusters;
    uint32_t tiers[TIER_NONE + 1], optimal; /* clusters by answer; TIER_NONE: refused */
    uint32_t invalid;                       /* answers that the validator refuses */
    double gap_percent;                     /* the worst */
    uint64_t steps;                         /* the most */
    struct path_figures search, explained;
    bool has_base;
    struct base_figures capped, free; /* on the first cluster */
};

/* Times are processor time of the thread, so other work on the machine counts little; of three or
 * more repeats on a cluster the middle one is taken, fewer where one takes over half a second.
 * From 10,000 GPUs on explanations are timed on the first cluster only. `s` are the clusters,
 * o->clusters of them. An invalid demand ends the program. */
void cell_measure(struct cell *c, const struct cluster_snapshot *s, const struct demand *d,
                  const struct cell_opts *o);

void cell_print_head(void);
void cell_print(const struct cell *c);
json_t *cell_to_json(const struct cell *c);

#endif
