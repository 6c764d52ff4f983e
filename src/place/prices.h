/* A price list: what could be bought. Plain data; pure; any thread. Schema stowage.prices/1,
 * docs/prices.md. */
#ifndef PLACE_PRICES_H
#define PLACE_PRICES_H

#include "cluster/cluster.h"

struct doc;

enum {
    PRICES_MAX_ITEMS = 64,
    PRICES_MAX_SLOTS = 1024,   /* nodes whose free slots are given */
    PRICES_MAX_EACH = 64,      /* of one item */
    PRICES_MAX_NODE_GPUS = 64, /* in a node item */
};

struct price_item {
    char name[CLUSTER_NAME];
    double price;                /* above 0, in whatever unit the list is */
    uint32_t max;                /* so many at most */
    bool node;                   /* a whole node; else one GPU for a free slot */
    struct cluster_device gpu;   /* of a GPU; figures left out are 0 */
    uint64_t ram_bytes;          /* of a node */
    struct cluster_device *gpus; /* in a node; owned */
    uint32_t n_gpus;
    uint32_t slots; /* free ones of a node */
};
struct prices {
    char currency[16]; /* "" when not given */
    struct price_item *items;
    uint32_t n_items;
    bool has_slots; /* free slots of nodes are given; nodes that are not named have none */
    struct price_slots {
        char node[CLUSTER_NAME];
        uint32_t n;
    } * slots;
    uint32_t n_slots;
};
/* Reads the document; errors name its place (and file and line, where they are known). The caller
 * frees *out with prices_free. */
int prices_read(struct prices **out, const struct doc *d, struct err *err);
int prices_from_json(struct prices **out, const json_t *doc, struct err *err);
void prices_free(struct prices *p); /* NULL allowed */

#endif
