/* The search over nodes and devices: fewest nodes, fewest devices, least value. Pure; any thread.
 *
 * A problem is one way of holding the model ("mode"): all layers on devices; the first ones on the
 * main node's CPU; experts in its RAM. Bounds on layers, bytes and time for every suffix of the
 * node list come from dynamic programs (bounds.h); a depth-first search between those bounds ends
 * in leaves with exact sums (leaf.h). See README.md. */
#ifndef PLACE_SOLVE_H
#define PLACE_SOLVE_H

#include "place/leaf.h"

/* What a remote device costs per token, by the link between the main node and its node. */
struct net {
    int64_t fixed, tail, once; /* each device; with the output layer; the first one in addition */
};
struct net_pair {
    uint32_t a, b; /* tags of nodes, a < b */
    struct net net;
};

struct pdev {
    uint64_t room;
    uint32_t rank; /* filled by solve_prepare */
    uint32_t speed;
    uint32_t id;  /* total order of devices, the caller's */
    int64_t cost; /* of using it at all, in units of the value; 0 or more */
};
struct pnode {
    struct pdev *dev; /* owned by the caller */
    uint32_t n_dev;
    bool main_ok;       /* its RAM holds what the main process needs */
    uint32_t n_cpu_max; /* layers its RAM holds as the main node (CPU mode) */
    uint32_t tag;       /* total order of nodes, the caller's */
    bool special;       /* has a link of its own */
    bool all_or_none;   /* all of its devices are used, or none; its RAM (remote_only) apart */
    int64_t cost;       /* of its taking part, in units of the value; 0 or more */
    int64_t main_cost;  /* of its being the main node, in addition */
};

/* What is minimised is the value: time_scale * ns + the costs of devices, nodes, main node and
 * hops. Values saturate at PLACE_INF; an answer of that value is none. */
struct problem {
    const struct need *need;
    const struct speed *speeds; /* faster ones first, by the caller's total order */
    uint32_t n_speeds;
    struct pnode *nodes;
    uint32_t n_nodes;
    const int64_t
        *cpu_ns;     /* CPU mode: time of the first x layers on the main node's CPU; else NULL */
    int64_t base_ns; /* added to every answer (may be negative) */
    struct net net_all;
    const struct net_pair *pairs; /* sorted */
    uint32_t n_pairs;
    uint32_t max_devices; /* 0: no bound */
    uint32_t min_devices; /* 0: no bound */
    int64_t time_scale;   /* of ns in the value; 0: 1 */
    int64_t hop_cost; /* of each device on another node than the main one, in units of the value */
    int64_t limit_ns; /* answers slower than this are none; 0: no bound */
    int64_t limit_value; /* answers of this value or more are none; 0: no bound. The caller may
                            lower it between two solves: it has found something better elsewhere */
    /* No stage of the pipeline takes longer: a device's layers, its speed's fixed time, output
     * layer and way to the main node (but `once`), or the layers on the CPU; 0: no bound. */
    int64_t stage_ns;
    bool first;                /* the first answer will do: not proved to be the best one */
    uint32_t remote_only;      /* devices of this speed are not used on the main node (its CPU) */
    const struct solver *like; /* of a problem without nodes, else the same: its tables are used and
                                  it stays as long; NULL: none */
};
enum { PLACE_NO_SPEED = UINT32_MAX >> 1 }; /* for remote_only: none */

struct solution {
    bool feasible;
    bool proved;      /* the answer, or that there is none */
    uint32_t main;    /* index into nodes */
    uint32_t n_nodes; /* main included */
    uint32_t n_dev, n_cpu;
    uint32_t *node; /* n_dev: indexes into nodes, pipeline order; owned */
    uint32_t *dev;  /* indexes into that node's dev */
    uint16_t *counts;
    int64_t ns, bound_ns;       /* time, and what no answer can be below */
    int64_t value, bound_value; /* bound_value also when there is none and that is not proved */
    uint32_t bound_nodes, bound_dev;
};
void solution_done(struct solution *s);

struct solver;
/* Borrows p, sorts its devices by speed and rank and fills the ranks. `steps` is the budget. */
struct solver *solver_new(struct problem *p, uint64_t steps);
void solver_free(struct solver *v);
uint64_t solver_steps(const struct solver *v); /* used so far */
/* Of a problem of one node. So many of its devices at least; UINT32_MAX: all are too few. */
uint32_t solver_fewest(const struct solver *v);
/* Of a problem of one node: what tells it from others, as numbers; returns how many. Where several
 * nodes are as good, a search for one node takes that of the greatest row, number by number, and of
 * equal ones that of the least tag. `out` has room for SOLVER_ROW + 3 n_dev. */
enum { SOLVER_ROW = 8 };
uint32_t solver_row(const struct solver *v, int64_t *out);
/* No answer with k or more nodes has less value than this. */
int64_t solver_floor(const struct solver *v, uint32_t k);

/* All layers on devices: nodes from k_lo to k_hi, then fewest devices (two or more), then value. */
void solve_tiered(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out);
/* Fewest nodes from k_lo to k_hi, then value. */
void solve_fastest(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out);

#endif
