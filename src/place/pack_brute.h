/* Small sets of instances placed by trying everything. Test code only; one thread.
 *
 * Nothing of the search is used: every main node, order and split of a model all on GPUs is made
 * from estimate/, and every choice of one such way for each instance is tried. */
#ifndef PLACE_PACK_BRUTE_H
#define PLACE_PACK_BRUTE_H

#include "base/rng.h"
#include "place/many.h"

enum { PB_DEV = 6, PB_NODES = 3, PB_SLOTS = PB_DEV + PB_NODES, PB_ITEMS = 8, PB_WISHES = 4 };

/* One way to place one instance: what it uses of every device, then of every node's RAM. */
struct pb_way {
    uint64_t use[PB_SLOTS];
    uint32_t nodes; /* set of those that take part */
    uint32_t k, g;
    int64_t ns;
};
struct pb_ways {
    struct pb_way *items;
    uint32_t n;
};
/* Every way that fits alone and that no other one beats in all it uses and costs. */
void pb_ways(const struct cluster_snapshot *s, const struct deployment_spec *spec,
             const struct estimate_model *m, struct pb_ways *out);
/* Bytes that can be used of every slot, and the slot of a device (UINT32_MAX: of a node's RAM). */
void pb_room(const struct cluster_snapshot *s, uint64_t room[PB_SLOTS]);
uint32_t pb_slot(const struct cluster_snapshot *s, uint32_t node, uint32_t device);

struct pb_cost {
    uint32_t dropped, by_wish[PB_WISHES];
    uint64_t k, g;
    int64_t ns;
};
/* The best set of ways for the wishes, by the objective of many.h; all of one policy, tiered or
 * fastest. */
void pb_best(const struct cluster_snapshot *s, const struct place_wish *wishes, uint32_t n,
             struct pb_cost *best);

/* A made up model of n layers, and a cluster around `bytes`; owned by the caller. */
struct estimate_model *pb_model(struct rng *r, uint32_t n);
uint64_t pb_model_bytes(const struct estimate_model *m);
void pb_cluster(struct rng *r, uint64_t bytes, uint32_t max_dev, struct cluster_snapshot *s);

#endif
