/* What the files of the search share; nobody else includes this. */
#ifndef PLACE_SOLVE_INT_H
#define PLACE_SOLVE_INT_H

#include "place/bounds.h"

struct solver {
    struct problem *p;
    struct ranks *ranks;
    struct snode
        *nodes; /* of every node with its profile, sorted so that equal ones are adjacent */
    uint32_t n_nodes;
    uint64_t steps, budget;
    uint32_t n_layers;
    uint64_t want[CAP_COUNT]; /* measures of the whole model */
    int64_t floor_ns;         /* every layer on its fastest kind, and the fastest output layer */
    int64_t **excess;         /* [speed][x]: least excess over that of x layers in a row */
    int64_t *cpu_excess;      /* [x]: of the first x layers on the CPU */
    struct net net_min;       /* the cheapest link there is */
    int64_t *price;           /* [speed][x] scratch for one lambda */
};

/* prepare.c */
void prepare_floor(struct solver *v);
/* Nodes that can take part in an answer of exactly k nodes, at most k of a kind. ascending:
 * smallest first. Returns how many; *cut is set when not all of them could be kept (max). */
uint32_t prepare_nodes(const struct solver *v, uint32_t k, bool ascending, uint32_t max,
                       struct snode **out, bool *cut);
/* Could the best `most` devices of all nodes together, and a CPU, hold the model? */
bool prepare_enough(const struct solver *v, uint32_t most);
void prepare_prices(struct solver *v, struct snode *nodes, uint32_t n, int64_t lambda);
struct net solver_net(const struct problem *p, uint32_t a, uint32_t b); /* indexes of nodes */

/* polish.c: among equally fast answers the tidiest: nodes together, main last, smaller devices,
 * most room left. */
void polish(struct solver *v, struct solution *s);

/* Devices of an answer as a leaf; fills dev[n] with the ways to `main`. */
void solver_leaf(const struct solver *v, uint32_t main, const uint32_t *node, const uint32_t *dev,
                 uint32_t n, struct leaf_dev *out, struct leaf *leaf);
/* Constant of an answer: base and the first remote device in pipeline order. */
int64_t solver_extra(const struct solver *v, uint32_t main, const uint32_t *node, uint32_t n);

#endif
