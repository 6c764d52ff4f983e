/* The depth-first search over nodes and devices between bounds, and its leaves. Pure; any thread.
 *
 * A node is taken as the main one or not, with some of its devices. Inside a node, a speed and a
 * cost only "how many" matters: a larger device does whatever a smaller one does, as fast. */
#ifndef PLACE_SEARCH_H
#define PLACE_SEARCH_H

#include "place/solve_int.h"

enum goal { GOAL_FITS, GOAL_VALUE };

struct search {
    struct solver *v;
    struct bounds *b; /* its time tables filled for GOAL_VALUE */
    enum goal goal;
    const struct dual *dual; /* of the bounds by value; NULL: leaves have no bound */
    uint32_t k;
    int64_t rest[BY_COUNT]; /* of the bounds: what is not in the tables */
    int64_t below;          /* only answers of less value than this are wanted */
    uint64_t deadline;      /* of solver.steps */
    struct solution *best;  /* what is found replaces it */
    /* The outcome. */
    uint32_t leaves; /* looked at */
    bool stopped;    /* the deadline came, or a set was found */
    bool unsure;     /* a leaf could not be decided */
    bool found;
    /* The path. */
    uint32_t *node, *dev, n_pick;
    struct quote_ns *quote; /* of the devices, by the dual */
    uint32_t main, most_dev;
    bool fewer;    /* of some node fewer devices than it has */
    bool any_main; /* which node is the main one does not matter */
};

/* Exactly k nodes with g devices (at most g where the bounds leave their number free).
 * GOAL_FITS: ends with the first set on which the model fits, by sizes alone, whatever else the
 * problem asks; that set in *best, best->bound_dev of its devices were enough.
 * GOAL_VALUE: the answer of least value below x->below. */
void search_run(struct search *x, uint32_t g);
/* Could an answer with g devices exist, as far as the bounds know? */
bool search_may(struct search *x, uint32_t g);
/* Of a set found by GOAL_FITS, some answer on as many of its devices as it takes for each of them
 * to hold a layer; replaces *s, not feasible when there is none. */
void search_first(struct solver *v, struct solution *s);
/* The least value with the devices and the main node of *x->best, if that is less. */
bool search_improve(struct search *x);

#endif
