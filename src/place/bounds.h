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

struct group { /* devices of one speed and cost in one node, by rank, best first */
    uint32_t first, n;
};

/* What the bounds on time add up: the value; or plain time, needed in addition where answers have
 * costs and a limit on time. */
enum { BY_VALUE, BY_TIME, BY_COUNT };
struct held { /* a value, and how much of the priced measure is held for it */
    int64_t value, units;
};
struct quote { /* of one device: not the last one, or the last one */
    struct held any, last;
};
struct quote_ns { /* the same in ns, rounded down */
    int64_t any, last;
};
struct share {              /* of one node at the current price, as the main node or another one */
    int64_t own;            /* least with no device yet: costs, the main node's CPU */
    struct held *least;     /* n_dev + 1: with q devices, own included, */
    struct held *with_last; /* and with the last device among them */
    int64_t *group;         /* n_dev + n_groups: with q of a group alone, from first + group on */
    int64_t *last;          /* the same: what it adds that the last device is among those */
};

struct snode { /* a node's profile */
    const struct pnode *src;
    struct group *groups;
    uint32_t *top;                   /* n_dev: indexes of devices, best rank first */
    uint64_t *cap;                   /* [measure][n_dev + 1]: most with any q devices */
    uint32_t index;                  /* in problem.nodes */
    uint32_t class_start, class_end; /* the nodes of equal profile, this one among them */
    uint32_t n_dev, n_groups;
    uint32_t n_free;  /* of all_or_none: devices that may be used or not all the same */
    uint32_t cpu_lay; /* as main: layers on its CPU at most */
    bool main_ok;
};
static inline uint64_t snode_cap(const struct snode *s, uint32_t c, uint32_t q)
{
    return s->cap[c * (s->n_dev + 1) + q];
}
/* Whether q of its devices can be what is used of it. */
static inline bool snode_takes(const struct snode *s, uint32_t q)
{
    return !s->src->all_or_none || q <= s->n_free || q >= s->n_dev - s->n_free;
}

struct bnode { /* a node of the tables */
    const struct snode *s;
    uint32_t end;                 /* of its kind, in the list */
    bool first;                   /* of its kind */
    uint64_t cpu[CAP_COUNT];      /* what its CPU holds */
    struct share by[BY_COUNT][2]; /* by main or not; those of one kind are the same */
    struct quote_ns *dev;         /* n_dev: alone, local, without costs */
};

/* Tables over the suffixes of a list of nodes. What g devices hold is meant as g or fewer; what
 * they take is of exactly g. */
struct bounds {
    struct bnode *nodes;
    uint32_t n;
    uint32_t k, g; /* tables reach from 0 to k nodes and 0 to g devices; g is 0 when it is free */
    bool free_g;
    uint32_t n_caps, n_by;  /* of cap and tim in use */
    int64_t *cap;           /* [n + 1][k + 1][g + 1][main still needed][n_caps] */
    int64_t *tim[BY_COUNT]; /* [n + 1][k + 1][g + 1][main still needed][last still needed] */
    int64_t *shares;        /* of all nodes */
};
#define BOUNDS_AT(b, i, kk, gg, m)                                                                 \
    ((((size_t)(i) * ((b)->k + 1) + (kk)) * ((b)->g + 1) + (gg)) * 2 + (m))

/* Values are below zero or at PLACE_INF where no choice exists. */
uint64_t bounds_size(uint32_t n, uint32_t k, uint32_t g);
/* The caller has filled nodes, n, k, g, free_g, n_caps and n_by. */
void bounds_alloc(struct bounds *b);
void bounds_done(struct bounds *b);
void bounds_fill_room(struct bounds *b);              /* cap */
void bounds_fill_time(struct bounds *b, uint32_t by); /* tim[by], from the nodes' shares */
/* The least of k nodes and g devices, and what those hold of the priced measure. */
int64_t bounds_least(const struct bounds *b, uint32_t by, uint32_t k, uint32_t g, int64_t *units);

#endif
