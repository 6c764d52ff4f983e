/* Among equally fast answers the tidiest one. Nothing here makes an answer slower. */
#include "place/solve_int.h"

#include "base/mem.h"

#include <string.h>

struct draft {
    struct solver *v;
    uint32_t main, n;
    uint32_t *node, *dev; /* pipeline order */
    struct leaf_dev *leaf_dev;
    struct leaf leaf;
    struct leaf_answer a;
};

/* Least time of the draft's devices in its order. */
static int64_t draft_ns(struct draft *d)
{
    solver_leaf(d->v, d->main, d->node, d->dev, d->n, d->leaf_dev, &d->leaf);
    for (uint32_t i = 0; i < d->n; i++)
        d->a.order[i] = (uint16_t)i;
    d->v->steps += (uint64_t)d->n * d->v->n_layers / 8;
    if (!leaf_split(&d->leaf, 0, &d->a))
        return PLACE_INF;
    return d->a.ns + solver_extra(d->v, d->main, d->node, d->n);
}

enum { MAX_PERMUTED = 5 }; /* remote nodes whose orders are all tried: 120 of them */

/* Distinct nodes of the draft but the main one, by name. */
static uint32_t remote_nodes(const struct draft *d, uint32_t *out)
{
    const struct pnode *nodes = d->v->p->nodes;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        bool seen = d->node[i] == d->main;
        for (uint32_t k = 0; k < n; k++)
            seen = seen || out[k] == d->node[i];
        if (seen)
            continue;
        uint32_t at = n++;
        for (; at > 0 && nodes[out[at - 1]].tag > nodes[d->node[i]].tag; at--)
            out[at] = out[at - 1];
        out[at] = d->node[i];
    }
    return n;
}

/* The next order of the list by tag; false after the last one. */
static bool next_order(const struct draft *d, uint32_t *list, uint32_t n)
{
    const struct pnode *nodes = d->v->p->nodes;
    uint32_t i = n;
    while (i > 1 && nodes[list[i - 2]].tag > nodes[list[i - 1]].tag)
        i--;
    if (i < 2 || n > MAX_PERMUTED)
        return false;
    uint32_t k = n - 1;
    while (nodes[list[k]].tag < nodes[list[i - 2]].tag)
        k--;
    uint32_t swap = list[k];
    list[k] = list[i - 2];
    list[i - 2] = swap;
    for (uint32_t a = i - 1, z = n - 1; a < z; a++, z--) {
        swap = list[a];
        list[a] = list[z];
        list[z] = swap;
    }
    return true;
}

/* Devices node by node, the main one last; inside a node by the caller's order or as found. */
static void arrange(struct draft *d, const uint32_t *order, uint32_t n, const uint32_t *node,
                    const uint32_t *dev, bool by_id)
{
    uint32_t at = 0;
    for (uint32_t k = 0; k <= n; k++) {
        uint32_t of = k < n ? order[k] : d->main, start = at;
        const struct pdev *list = d->v->p->nodes[of].dev;
        for (uint32_t i = 0; i < d->n; i++) {
            if (node[i] != of)
                continue;
            uint32_t z = at++;
            for (; by_id && z > start && list[d->dev[z - 1]].id > list[dev[i]].id; z--)
                d->dev[z] = d->dev[z - 1];
            d->node[at - 1] = of;
            d->dev[z] = dev[i];
        }
    }
}

/* Tries to bring the devices of each node together without losing time. */
static bool tidy(struct draft *d, const uint32_t *node, const uint32_t *dev, int64_t ns)
{
    mem_auto uint32_t *order = mem_calloc(d->n + 1, sizeof *order);
    uint32_t n = remote_nodes(d, order);
    do {
        for (int by_id = 1; by_id >= 0; by_id--) {
            arrange(d, order, n, node, dev, by_id);
            if (draft_ns(d) == ns)
                return true;
        }
    } while (next_order(d, order, n));
    return false;
}

static bool in_use(const struct draft *d, uint32_t node, uint32_t dev)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (d->node[i] == node && d->dev[i] == dev)
            return true;
    return false;
}

/* Best fit: where an unused smaller device of the same node, speed and cost does the same, take it,
 * so that the larger one stays whole. */
static void shrink(struct draft *d, int64_t ns)
{
    for (uint32_t i = 0; i < d->n; i++) {
        const struct pnode *node = &d->v->p->nodes[d->node[i]];
        uint32_t mine = d->dev[i];
        /* Devices are sorted by speed and cost, then largest first: smaller ones follow. */
        for (uint32_t k = node->n_dev; k-- > mine + 1;) {
            const struct pdev *less = &node->dev[k], *more = &node->dev[mine];
            if (less->speed != more->speed || less->cost != more->cost ||
                less->room >= more->room || in_use(d, d->node[i], k))
                continue;
            d->dev[i] = k;
            if (draft_ns(d) == ns)
                break;
            d->dev[i] = mine;
        }
    }
}

static void store(const struct draft *d, struct solution *s)
{
    for (uint32_t i = 0; i < d->n; i++) {
        s->node[i] = d->node[i];
        s->dev[i] = d->dev[i];
        s->counts[i] = d->a.counts[i];
    }
    s->n_cpu = d->a.n_cpu;
}

void polish(struct solver *v, struct solution *s)
{
    uint32_t n = s->n_dev;
    struct draft d = {.v = v,
                      .main = s->main,
                      .n = n,
                      .node = mem_calloc(n + 1, sizeof *d.node),
                      .dev = mem_calloc(n + 1, sizeof *d.dev),
                      .leaf_dev = mem_calloc(n + 1, sizeof *d.leaf_dev),
                      .a = {.order = mem_calloc(n + 1, sizeof *d.a.order),
                            .counts = mem_calloc(n + 1, sizeof *d.a.counts)}};
    memcpy(d.node, s->node, n * sizeof *d.node);
    memcpy(d.dev, s->dev, n * sizeof *d.dev);
    shrink(&d, s->ns);
    mem_auto uint32_t *node = mem_calloc(n + 1, sizeof *node);
    mem_auto uint32_t *dev = mem_calloc(n + 1, sizeof *dev);
    memcpy(node, d.node, n * sizeof *node);
    memcpy(dev, d.dev, n * sizeof *dev);
    if (!tidy(&d, node, dev, s->ns)) { /* every such order is slower: back to the found one */
        memcpy(d.node, node, n * sizeof *node);
        memcpy(d.dev, dev, n * sizeof *dev);
    }
    if (draft_ns(&d) == s->ns) {
        leaf_balance(&d.leaf, &d.a);
        store(&d, s);
    }
    free(d.node);
    free(d.dev);
    free(d.leaf_dev);
    free(d.a.order);
    free(d.a.counts);
}
