/* The baseline of the placement benchmark: an enumerator of GPU subsets, smallest sets first, that
 * splits in proportion to free memory, as a classic scheduler does. Pure; any thread. */
#ifndef BENCH_PLACE_BASE_H
#define BENCH_PLACE_BASE_H

#include "cluster/cluster.h"
#include "estimate/estimate.h"

enum {
    BASE_CAP_GPUS = 16, /* capped: more candidates than this are given up */
    BASE_CAP_SET = 8,   /* capped: larger sets are not looked at */
    BASE_MAX_SET = 64,
};
enum base_end { BASE_FITS, BASE_NO_ANSWER, BASE_GIVES_UP, BASE_LIMIT };
const char *base_end_name(enum base_end e); /* "fits", "no answer", "gives up", "limit" */

struct base_result {
    enum base_end end;
    uint64_t calls; /* of the estimator, one per set looked at */
};

/* The first set that holds the model. limit: most estimator calls, after which it ends with
 * BASE_LIMIT. It is told the bytes by a function call; a scheduler that starts a process for each
 * estimate takes some thousand times longer. */
struct base_result base_search(const struct cluster_snapshot *s, const struct estimate_model *m,
                               bool capped, uint64_t limit);

#endif
