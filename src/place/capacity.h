/* What nodes and GPUs hold at most: the figures behind proofs and refusals. Pure; any thread.
 *
 * For each measure of need.h (layers, bytes, large pieces) a GPU's capacity is the most of it in
 * any range of layers that it holds. Whatever is chosen, what capacities do not sum up to cannot be
 * held; the other way round nothing follows. As if every node had enough RAM. */
#ifndef PLACE_CAPACITY_H
#define PLACE_CAPACITY_H

#include "place/scene.h"

struct capacity {
    const struct scene *c;
    struct mode_problem *mode;
    struct ranks *ranks;
    uint32_t most;              /* GPUs that one instance can have: engine, constraints, layers */
    uint64_t want[CAP_COUNT];   /* of the whole model with its output layer */
    uint64_t (*dev)[CAP_COUNT]; /* by device of the scene; 0 where left out */
    uint64_t *list;             /* scratch: n_dev */
};
struct capacity *capacity_new(const struct scene *c);
void capacity_free(struct capacity *k);

/* Layers that a device of this room holds at most. */
uint32_t capacity_layers(const struct capacity *k, uint64_t room);
/* The most of a measure that any n_gpus GPUs hold, or any n_nodes nodes with n_gpus GPUs together
 * (n_nodes 0: however many). An upper bound: exact sums up to a limit of work, above it only one of
 * the two numbers is counted. */
uint64_t capacity_sum(const struct capacity *k, uint32_t measure, uint32_t n_nodes,
                      uint32_t n_gpus);
/* The first measure in which that is less than the whole model; CAP_COUNT: none. */
uint32_t capacity_lacks(const struct capacity *k, uint32_t n_nodes, uint32_t n_gpus,
                        uint64_t *fits);
/* Smallest size of the pieces that a measure from CAP_LARGE on counts. */
uint64_t capacity_large(const struct capacity *k, uint32_t measure);
/* The node of the scene whose GPUs hold most layers, then bytes; UINT32_MAX: no GPU anywhere. */
uint32_t capacity_best_node(const struct capacity *k);
/* Bytes by which the GPUs of a node fall short of the model at least, as a sum: 0 when only whole
 * layers stand in the way. *need: what they would have to have. */
uint64_t capacity_node_short(const struct capacity *k, uint32_t node, uint64_t *need);

#endif
