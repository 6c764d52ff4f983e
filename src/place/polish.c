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

/* Remote nodes in their order, then the main one; inside a node by the caller's order of devices.
 */
static bool before(const struct draft *d, uint32_t i, uint32_t k)
{
    const struct pnode *nodes = d->v->p->nodes;
    if (d->node[i] != d->node[k]) {
        if (d->node[i] == d->main || d->node[k] == d->main)
            return d->node[k] == d->main;
        return nodes[d->node[i]].tag < nodes[d->node[k]].tag;
    }
    return nodes[d->node[i]].dev[d->dev[i]].id < nodes[d->node[k]].dev[d->dev[k]].id;
}

static void swap(struct draft *d, uint32_t i, uint32_t k)
{
    uint32_t n = d->node[i], x = d->dev[i];
    d->node[i] = d->node[k];
    d->dev[i] = d->dev[k];
    d->node[k] = n;
    d->dev[k] = x;
}

static void sort(struct draft *d)
{
    for (uint32_t i = 1; i < d->n; i++)
        for (uint32_t k = i; k > 0 && before(d, k, k - 1); k--)
            swap(d, k, k - 1);
}

static bool in_use(const struct draft *d, uint32_t node, uint32_t dev)
{
    for (uint32_t i = 0; i < d->n; i++)
        if (d->node[i] == node && d->dev[i] == dev)
            return true;
    return false;
}

/* Best fit: where an unused smaller device of the same node and speed does the same, take it, so
 * that the larger one stays whole. */
static void shrink(struct draft *d, int64_t ns)
{
    for (uint32_t i = 0; i < d->n; i++) {
        const struct pnode *node = &d->v->p->nodes[d->node[i]];
        uint32_t mine = d->dev[i];
        /* Devices are sorted by speed, then largest first: smaller ones follow. */
        for (uint32_t k = node->n_dev; k-- > mine + 1;) {
            if (node->dev[k].speed != node->dev[mine].speed || in_use(d, d->node[i], k) ||
                node->dev[k].room >= node->dev[mine].room)
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
    sort(&d);
    if (draft_ns(&d) != s->ns) { /* this order is slower: back to the found one */
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
