/* Bounds for the search: what the best k nodes and g devices of a suffix of the node list can hold
 * at most, and how much time they take at least. Pure; any thread.
 *
 * Independent relaxations, each additive over devices, so each is a small dynamic program:
 * capacities (need.h), and time: each layer costs what it costs on the fastest kind, devices add
 * their own excess, and a price per layer (lambda, a Lagrange multiplier) pays devices for the
 * layers they could take. Any price gives a valid bound; the best one is searched. */
#ifndef PLACE_BOUNDS_H
#define PLACE_BOUNDS_H

#include "place/solve.h"

struct group { /* devices of one speed in one node, by rank, best first */
    uint32_t first, n;
};

struct snode {
    const struct pnode *src;
    uint32_t index;                  /* in problem.nodes */
    uint32_t class_start, class_end; /* the nodes of equal profile, this one among them */
    uint32_t n_dev;
    struct group *groups;
    uint32_t n_groups;
    uint32_t *top;            /* n_dev: indexes of devices, best rank first */
    uint64_t *cap[CAP_COUNT]; /* n_dev + 1: most with the best q devices */
    int64_t *loc, *rem;       /* n_dev + 1: least time with q devices, local and remote */
    int64_t *gloc, *grem;     /* n_dev + groups: the same inside a group, from each group's start */
    uint32_t cpu_lay; /* as main: layers on its CPU at most, their measures, their least time */
    uint64_t cpu_cap[CAP_COUNT];
    int64_t cpu_tim;
};

struct bounds {
    struct snode *nodes;
    uint32_t n;
    uint32_t k, g; /* tables reach from 0 to k nodes and 0 to g devices; g is 0 when it is free */
    bool free_g;
    int64_t *cap[CAP_COUNT], *tim; /* [n + 1][k + 1][g + 1][main still needed] */
};
#define BOUNDS_AT(b, i, kk, gg, m)                                                                 \
    ((((size_t)(i) * ((b)->k + 1) + (kk)) * ((b)->g + 1) + (gg)) * 2 + (m))

/* Values are below zero or at PLACE_INF where no choice exists. */
uint64_t bounds_size(uint32_t n, uint32_t k, uint32_t g);
void bounds_alloc(struct bounds *b, struct snode *nodes, uint32_t n, uint32_t k, uint32_t g,
                  bool free_g);
void bounds_done(struct bounds *b);
void bounds_fill_room(struct bounds *b); /* cap */
void bounds_fill_time(struct bounds *b); /* tim, from the nodes' loc, rem and cpu_tim */

#endif
