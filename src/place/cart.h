/* Where what is bought could go, and whether models fit then; used by size.c alone. Pure.
 *
 * A position is one thing that one unit can be bought for: a node, or a GPU in a free slot of a
 * node. A bundle is how many of each, as a sorted list of positions. Nodes that are alike are one
 * kind: of bundles that differ only in which of them got what, one is looked at. */
#ifndef PLACE_CART_H
#define PLACE_CART_H

#include "place/many.h"
#include "place/prices.h"
#include "place/size.h"

enum { CART_POSITIONS = 4096 };

struct cart_host { /* takes GPUs */
    bool bought;
    uint32_t node;      /* of the snapshot; bought: while it is in */
    uint32_t had;       /* GPUs of a node that is not bought */
    uint32_t item, nth; /* bought: the nth one of this item */
    uint32_t slots;     /* UINT32_MAX: not known, no limit */
    uint32_t before;    /* the host of its kind before it, or UINT32_MAX */
    uint32_t first;     /* its first position; one per GPU item, in order of the list */
};
struct cart_position {
    uint32_t item, host; /* host UINT32_MAX: a node is bought */
    double price;
};
struct cart {
    const struct prices *prices;
    const struct place_wish *wishes;
    uint32_t n_wishes;
    struct cluster_snapshot s;      /* as it is; additions are put in and taken out again */
    struct cluster_device *gpus;    /* by item, complete */
    struct cluster_device **inside; /* by item: the GPUs of a node, complete */
    struct cart_host *hosts;
    uint32_t n_hosts, had_nodes;
    size_t cap_hosts;
    struct cart_position *at; /* nodes first, then host by host */
    uint32_t n_at, n_gpu_items;
    uint64_t need_bytes; /* of all layers; 0: RAM may hold some */
    uint64_t *rooms;     /* usable on each GPU now, largest first; as many as can be used at once */
    uint32_t n_rooms, most_gpus; /* most_gpus: that instances of the engine can use at once */
    uint64_t steps;
    uint32_t n_plans;
    bool unsure; /* a plan ended on its budget without an answer */
};
struct bundle {
    double price;
    uint32_t n;
    uint16_t at[SIZE_PIECES]; /* sorted */
};

/* *c zeroed by the caller; cart_done() in any case. */
int cart_init(struct cart *c, const struct cluster_snapshot *s, const struct place_wish *wishes,
              uint32_t n, const struct prices *prices, struct err *err);
void cart_done(struct cart *c);

/* Of cart_init(): fills hosts and positions. ERR_NOT_FOUND, ERR_LIMIT. */
int cart_find_places(struct cart *c, struct err *err);
bool cart_same_gpu(const struct cluster_device *a, const struct cluster_device *b);

/* Adds one unit of position p, not before the last one. False: it may not be there (maximum, slots,
 * an equal bundle is looked at elsewhere, no room). */
bool cart_add(const struct cart *c, struct bundle *b, uint32_t p);
/* The least that a bundle with this in it costs in the end. */
double cart_floor(const struct cart *c, const struct bundle *b);
/* Whether everything fits with the bundle. -1: err. */
int cart_fits(struct cart *c, const struct bundle *b, struct err *err);
/* 1: nothing fits with any bundle, as it does not with more than all of them. 0: not known. -1:
 * err.
 */
int cart_hopeless(struct cart *c, struct err *err);
/* The plans with the bundle in: stowage.plan/1 or stowage.plans/1. */
json_t *cart_plan(struct cart *c, const struct bundle *b, struct err *err);
/* What is bought, line by line, and the same as edits (place/edit.h). */
void cart_put(const struct cart *c, const struct bundle *b, json_t *offer);

#endif
