/* The last step of the search: given devices, the best order and split. Pure; any thread.
 *
 * All devices given are used, each with one contiguous range of at least one layer. Exact by a
 * dynamic program over "how many of each class are used so far" while the classes are few enough;
 * beyond that a set of good orders is tried and the answer says that it is not proved. */
#ifndef PLACE_LEAF_H
#define PLACE_LEAF_H

#include "place/need.h"

#define PLACE_INF (INT64_MAX / 4)

/* Decode time of layers on one kind of device, in ns. cum has n + 1 entries. */
struct speed {
    const int64_t *cum;
    int64_t fixed; /* once per device */
    int64_t tail;  /* the output layer */
};

struct leaf_dev {
    uint64_t room; /* bytes it may hold */
    uint32_t rank; /* of room */
    uint32_t speed;
    int64_t net_fixed, net_tail; /* of the way between it and the main node; 0 when local */
    int64_t least_ns; /* adds this to any bound: what it takes at least, less the price of what it
                         may hold; 0 without rest_ns */
    int64_t last_ns;  /* what it adds to that to be the last device */
    uint32_t id;      /* the caller's */
};

struct leaf {
    const struct need *need;
    struct ranks *ranks;
    const struct speed *speeds;
    const struct leaf_dev *dev;
    uint32_t n_dev;
    const int64_t *cpu_ns; /* n + 1: time of the first x layers on the CPU, x in [1, n_cpu_max] */
    uint32_t n_cpu_max;    /* 0: all layers on devices */
    int64_t stage_ns;      /* no device takes longer for what is its own; 0: no bound */
    int64_t below_ns;      /* only answers faster than this are wanted */
    /* [x]: layers from x on and the output layer take at least this, with the price of each, beside
     * what the devices add; NULL: nothing is known. */
    const int64_t *rest_ns;
    uint64_t max_work; /* cells and states that may be filled */
};

struct leaf_answer {
    bool feasible;
    bool exact; /* proved: the least time, or that nothing that is wanted fits */
    int64_t ns;
    uint32_t n_cpu;
    uint16_t *order;  /* n_dev: indexes into dev, pipeline order; room is the caller's */
    uint16_t *counts; /* n_dev, in that order */
    uint64_t work;    /* cells filled */
};

/* Whether all layers fit these devices or fewer of them, in any order and whatever time each takes
 * (stage_ns is not looked at): how many it took, 0 for no; order (n_dev entries) has them first.
 * *exact false: a "no" is not proved (too many different devices for max_work). *work counts cells.
 */
uint32_t leaf_fits(const struct leaf *l, uint16_t *order, bool *exact, uint64_t *work);
/* Fills *a (order and counts are set by the caller to room for n_dev). Not feasible and exact:
 * there is nothing below below_ns. */
void leaf_solve(const struct leaf *l, struct leaf_answer *a);
/* The least time of the devices in the order given in a->order; fills counts, n_cpu and ns. Keeps
 * `spare` bytes free on every device. False when it does not fit. */
bool leaf_split(const struct leaf *l, uint64_t spare, struct leaf_answer *a);
/* Among the splits of that order that take a->ns, the one whose fullest device has most room left.
 */
void leaf_balance(const struct leaf *l, struct leaf_answer *a);

#endif
