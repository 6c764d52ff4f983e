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
    uint64_t *node_space; /* groups, tops and sums of all nodes */
    uint64_t steps, budget;
    uint32_t n_layers;
    uint32_t n_caps;                           /* measures in use */
    uint64_t want[CAP_COUNT];                  /* measures of the whole model */
    int64_t scale;                             /* of ns in the value */
    int64_t ceiling;                           /* answers have less value than this */
    bool costs;                                /* somewhere a cost is not zero */
    int64_t least_node, least_main, least_dev; /* costs */
    bool bound_by_size; /* what fits is what the constraints allow: no others are set */
    uint32_t k_holds;   /* fewer nodes are proved too few by size */
    bool more_nodes;    /* fewer nodes than asked for may do, so that each has to be in use */
    uint32_t n_by;      /* bounds kept: BY_TIME only where a limit and costs meet */
    int64_t *floor_ns;  /* [x]: every layer from x on on its fastest kind, and the fastest
                           output layer */
    struct net net_min; /* the cheapest link there is */
    uint16_t *stage_lo; /* [speed][e]: least start of a range to e in a device's longest time; n +
                           1: to the end with the output layer; or NULL */
    uint64_t (*stage_caps)[CAP_COUNT]; /* [speed]: most in a device's longest time; or NULL */
};

/* Sums of values saturate. Both are within PLACE_INF, above or below zero. */
static inline int64_t value_add(int64_t a, int64_t b)
{
    int64_t x = a + b;
    return x > PLACE_INF ? PLACE_INF : x < -PLACE_INF ? -PLACE_INF : x;
}
static inline int64_t value_mul(int64_t a, int64_t b)
{
    int64_t x;
    if (__builtin_mul_overflow(a, b, &x))
        x = (a < 0) == (b < 0) ? PLACE_INF : -PLACE_INF;
    return x > PLACE_INF ? PLACE_INF : x < -PLACE_INF ? -PLACE_INF : x;
}
static inline int64_t value_scale(const struct solver *v, uint32_t by)
{
    return by == BY_TIME ? 1 : v->scale;
}

static inline uint64_t snode_cpu(const struct solver *v, const struct snode *s, uint32_t c)
{
    return s->cpu_lay ? ranks_measure(v->ranks, c, s->cpu_lay) : 0;
}

/* nodes.c: profiles of all nodes, largest first, equal ones next to each other. */
void nodes_fill(struct solver *v);
void nodes_done(struct solver *v);

/* prepare.c */
void prepare_floor(struct solver *v);
/* Nodes that can take part in an answer of exactly k nodes, at most k that do whatever another one
 * does. ascending: smallest first, and only equal ones count as such. Returns how many; *cut is set
 * when not all of them could be kept (max). */
uint32_t prepare_nodes(const struct solver *v, uint32_t k, bool ascending, uint32_t max,
                       struct bnode **out, bool *cut);
/* Could the best `most` devices of all nodes together, and a CPU, hold the model? */
bool prepare_enough(const struct solver *v, uint32_t most);
/* The most of each measure that a device holds; `own` is room for it. */
const uint64_t *solver_caps(const struct solver *v, const struct pdev *d, uint64_t own[CAP_COUNT]);
void prepare_stage(struct solver *v);                                 /* stage_lo and stage_caps */
const uint16_t *solver_stage(const struct solver *v, uint32_t speed); /* row of stage_lo or NULL */
struct net solver_net(const struct problem *p, uint32_t a, uint32_t b); /* indexes of nodes */

/* dual.c: no value with exactly k nodes and g devices (any number where it is free) is below
 * `bound`; the tables and shares of b are left filled for it. */
struct dual_opts {
    uint32_t by, k, g;
    int64_t enough; /* a bound as high as this ends the search for a better one */
};
struct dual {
    struct solver *v;
    struct bounds *b;
    struct dual_opts o;
    uint32_t c;              /* the measure that is priced */
    int64_t scale, lambda;   /* of ns in the bound; price per unit */
    int64_t bound, rest;     /* rest: of the bound what is in no table */
    int64_t *units;          /* [x]: of the first x layers */
    int64_t *rest_ns;        /* [x]: of layers from x on, with their price, rounded down */
    int64_t *gain;           /* see dual.c */
    struct quote *own, *one; /* scratch for the devices of a node */
};
struct dual *dual_new(struct solver *v, struct bounds *b, const struct dual_opts *o);
void dual_free(struct dual *t);
/* What a local device adds to a bound in ns at least, costs apart. */
struct quote_ns dual_device(const struct dual *t, const struct pdev *d);

/* polish.c: among equally fast answers the tidiest: nodes together, main last, smaller devices,
 * most room left. */
void polish(struct solver *v, struct solution *s);

/* Devices of an answer as a leaf; fills dev[n] with the ways to `main`. */
void solver_leaf(const struct solver *v, uint32_t main, const uint32_t *node, const uint32_t *dev,
                 uint32_t n, struct leaf_dev *out, struct leaf *leaf);
/* Constant of an answer: base and the first remote device in pipeline order. */
int64_t solver_extra(const struct solver *v, uint32_t main, const uint32_t *node, uint32_t n);
/* Costs of a set of devices. */
int64_t solver_cost(const struct solver *v, uint32_t main, const uint32_t *node,
                    const uint32_t *dev, uint32_t n);
/* Costs of k nodes and g devices at least; g 0: of as few as can be. */
int64_t solver_least_cost(const struct solver *v, uint32_t k, uint32_t g);
/* The most devices an answer can use. */
uint32_t solver_most(const struct solver *v);

#endif
