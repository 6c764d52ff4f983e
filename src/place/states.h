/* The states of a leaf: how many devices of each class are used. Internal to leaf.c. Pure.
 *
 * A class is a set of devices that nothing tells apart: same rank, speed and way to the main node.
 * Devices come in pipeline order, so a state has a furthest layer it can reach, and what the unused
 * devices can hold at most gives the least layer from which they could still finish: only layers
 * between the two matter (the slack window), and states where the two cross go no further. With a
 * bound on the time that is left, neither do times that cannot get below what is wanted. Of devices
 * that take the same time, the smallest unused one that holds a range is the one to hold it: the
 * larger ones do whatever it would have done. States are made level by level, a level being a
 * number of devices. */
#ifndef PLACE_STATES_H
#define PLACE_STATES_H

#include "place/leaf.h"

enum { MAX_CLASSES = 64 };

struct class
{
    uint32_t n;
    uint32_t shift; /* of its count in a key */
    uint64_t mask;
    const struct fit *fit;
    struct fit own; /* where time limits it too; lo NULL: it does not */
    const uint64_t *cap;
    const struct speed *speed;
    int64_t fixed, tail;
    int64_t least, last; /* of the bound: what one adds at least, and to be the last device */
    uint32_t end;        /* of the classes that take the same time, larger ones first */
    uint16_t first;      /* in the sorted list of devices */
};

struct cell {
    int64_t ns;
    uint16_t from;  /* layer where the last device starts */
    uint16_t class; /* of that device */
};

struct state {
    uint64_t key;   /* counts of the classes */
    int64_t least;  /* the unused devices add at least this to the bound */
    uint32_t cells; /* of lo..reach in table.cells */
    uint32_t from;  /* the state it was made of first, by the class */
    uint16_t class;
    uint16_t start;     /* the least layer by what is unused, whatever times say */
    uint16_t lo, reach; /* crossed: it leads nowhere */
};

struct edge { /* one more device */
    uint32_t from, to;
    uint16_t class, less; /* less: the next smaller one that is unused, or n_classes */
};

struct table {
    const struct leaf *l;
    uint32_t n_layers, n_classes, n_caps;
    struct class c[MAX_CLASSES];
    uint16_t *sorted; /* device indexes by class */
    bool keyed;       /* false: more classes than a key can tell apart */
    uint64_t full;    /* key of all devices */
    struct state *s;
    uint64_t *room;             /* [state][n_caps]: what the unused devices hold at most */
    uint32_t n, *slot, n_slots; /* hash of key to index + 1; n_slots is a power of two */
    struct edge *edge;          /* between the last two levels */
    struct cell *cells;
    size_t s_cap, room_cap, edge_cap, cells_cap, n_edges;
    uint64_t n_cells, work;
};

void table_init(struct table *t, const struct leaf *l);
void table_done(struct table *t);
/* Fewest devices that hold all layers, in any order: how many, their order in a->order; 0 for none.
 * *exact false: not proved. */
uint32_t table_fits(struct table *t, uint16_t *order, bool *exact);
/* Least time with all devices in use, below what is wanted. False when it would take too much. */
bool table_times(struct table *t, struct leaf_answer *a);

/* Can a device take all from `at` or any layer before? */
bool fit_ends(const struct fit *f, uint32_t at, uint32_t n_cpu);
/* Where a device gets to from `at`, or as the first one, whichever is further: the ones before it
 * need not be used. */
uint16_t fit_furthest(const struct fit *f, uint32_t at);
/* The ranges of a fit on this device that take no longer than a stage may. */
void leaf_clip(const struct leaf *l, const struct leaf_dev *d, const struct fit *from,
               struct fit *to);

#endif
