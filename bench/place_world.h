/* Random clusters for the placement benchmark: families of GPUs by size, seeded. Pure; any thread.
 */
#ifndef BENCH_PLACE_WORLD_H
#define BENCH_PLACE_WORLD_H

#include "cluster/cluster.h"

struct family {
    const char *name;
    const char *what;      /* for the document */
    const uint32_t *cards; /* kinds it draws from: indexes, `n_cards` of them */
    uint32_t n_cards;
    uint32_t per_node;
    bool mixed;     /* kinds are drawn per card, else per node */
    bool in_use;    /* a random part of every card is taken already, up to half */
    bool free_span; /* an engine that spans any number of devices */
};
/* The n-th family, NULL after the last one. Constant data. */
const struct family *world_family(uint32_t n);

/* n GPUs of a family; the same seed gives the same cluster. *s is initialised here; the caller
 * ends it with snapshot_done. */
void world_make(struct cluster_snapshot *s, const struct family *f, uint32_t n_gpus, uint64_t seed);

#endif
