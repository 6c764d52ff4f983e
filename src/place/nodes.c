/* Profiles of nodes and their kinds; see bounds.h. */
#include "place/solve_int.h"

#include "base/mem.h"
#include "place/sort.h"

#include <string.h>

/* ---- one node ---- */

/* The groups of a node, best devices first in each. */
static int by_group(const void *a, const void *b)
{
    const struct pdev *x = a, *y = b;
    if (x->speed != y->speed)
        return x->speed < y->speed ? -1 : 1;
    if (x->cost != y->cost)
        return x->cost < y->cost ? -1 : 1;
    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_rank(const void *a, const void *b, void *arg)
{
    const struct pdev *dev = arg, *x = &dev[*(const uint32_t *)a], *y = &dev[*(const uint32_t *)b];
    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int more(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* Sums of the largest q. Devices by rank are in that order, but not where time limits them too. */
static void fill_caps(const struct solver *v, struct snode *s)
{
    uint64_t own[CAP_COUNT];
    uint32_t row = s->n_dev + 1;
    for (uint32_t q = 0; q < s->n_dev; q++) {
        const uint64_t *cap = solver_caps(v, &s->src->dev[s->top[q]], own);
        for (uint32_t c = 0; c < v->n_caps; c++)
            s->cap[c * row + q + 1] = cap[c];
    }
    for (uint32_t c = 0; c < v->n_caps; c++) {
        uint64_t *sum = s->cap + c * row;
        if (v->stage_caps)
            qsort(sum + 1, s->n_dev, sizeof *sum, more);
        for (uint32_t q = 0; q < s->n_dev; q++)
            sum[q + 1] += sum[q];
    }
}

/* Layers on the CPU, if it were the main node. */
static void fill_cpu(const struct solver *v, struct snode *s)
{
    const struct problem *p = v->p;
    s->main_ok = s->src->main_ok;
    if (!p->cpu_ns || !s->main_ok)
        return;
    s->cpu_lay = s->src->n_cpu_max < v->n_layers ? s->src->n_cpu_max : v->n_layers;
    while (p->stage_ns && s->cpu_lay && p->cpu_ns[s->cpu_lay] > p->stage_ns)
        s->cpu_lay--;
    s->main_ok = s->cpu_lay > 0;
}

/* Many devices in a row have the same room. */
static void find_ranks(const struct solver *v, struct pnode *src)
{
    for (uint32_t i = 0; i < src->n_dev; i++) {
        bool same = i && src->dev[i].room == src->dev[i - 1].room;
        src->dev[i].rank = same ? src->dev[i - 1].rank : ranks_of(v->ranks, src->dev[i].room);
    }
}

/* Devices that hold no layer at all are none. Without all of its own devices a whole node has only
 * its RAM. Returns how many devices are free to be used whatever the others are. */
static uint32_t drop_useless(const struct solver *v, struct pnode *src)
{
    uint32_t n = 0, n_free = 0;
    bool whole = true;
    for (uint32_t i = 0; i < src->n_dev; i++)
        whole = whole && (ranks_layers(v->ranks, src->dev[i].rank) ||
                          src->dev[i].speed == v->p->remote_only);
    for (uint32_t i = 0; i < src->n_dev; i++) {
        bool ram = src->dev[i].speed == v->p->remote_only;
        if (!ranks_layers(v->ranks, src->dev[i].rank) || (src->all_or_none && !whole && !ram))
            continue;
        n_free += ram;
        src->dev[n++] = src->dev[i];
    }
    src->n_dev = n;
    return n_free;
}

/* Takes what it needs off *space: n_dev + 1 groups, as many indexes, and the sums. */
static void fill_node(const struct solver *v, struct pnode *src, struct snode *s, uint64_t **space)
{
    find_ranks(v, src);
    uint32_t n_free = drop_useless(v, src), n = src->n_dev;
    if (n > 1)
        qsort(src->dev, n, sizeof *src->dev, by_group);
    *s = (struct snode){
        .src = src, .index = (uint32_t)(src - v->p->nodes), .n_dev = n, .n_free = n_free};
    s->cap = *space;
    s->groups = (struct group *)(s->cap + v->n_caps * (n + 1));
    s->top = (uint32_t *)(s->groups + n);
    *space = (uint64_t *)(s->groups + n) + (n + 1) / 2;
    for (uint32_t i = 0; i < n; i++) {
        const struct pdev *d = &src->dev[i];
        s->top[i] = i;
        if (i == 0 || d->speed != d[-1].speed || d->cost != d[-1].cost)
            s->groups[s->n_groups++] = (struct group){i, 0};
        s->groups[s->n_groups - 1].n++;
    }
    if (s->n_groups > 1)
        qsort_r(s->top, n, sizeof *s->top, by_rank, src->dev);
    fill_caps(v, s);
    fill_cpu(v, s);
}

/* ---- kinds ---- */

static uint64_t bytes_of(const struct solver *v, const struct snode *s)
{
    return snode_cap(s, CAP_BYTES, s->n_dev) + snode_cpu(v, s, CAP_BYTES);
}

/* Whatever else than their size tells two nodes apart. */
static int compare_rest(const struct snode *a, const struct snode *b)
{
    if (a->n_dev != b->n_dev)
        return a->n_dev < b->n_dev ? -1 : 1;
    if (a->main_ok != b->main_ok)
        return a->main_ok ? -1 : 1;
    if (a->cpu_lay != b->cpu_lay)
        return a->cpu_lay > b->cpu_lay ? -1 : 1;
    for (uint32_t i = 0; i < a->n_dev; i++) {
        const struct pdev *p = &a->src->dev[i], *q = &b->src->dev[i];
        if (p->speed != q->speed)
            return p->speed < q->speed ? -1 : 1;
        if (p->rank != q->rank)
            return p->rank > q->rank ? -1 : 1;
        if (p->cost != q->cost)
            return p->cost < q->cost ? -1 : 1;
    }
    if (a->src->all_or_none != b->src->all_or_none)
        return a->src->all_or_none ? 1 : -1;
    if (a->src->cost != b->src->cost)
        return a->src->cost < b->src->cost ? -1 : 1;
    if (a->main_ok && a->src->main_cost != b->src->main_cost)
        return a->src->main_cost < b->src->main_cost ? -1 : 1;
    if (a->src->special || b->src->special)
        return (a->src->tag > b->src->tag) - (a->src->tag < b->src->tag);
    return 0;
}

static int by_profile(const void *a, const void *b)
{
    const struct snode *x = a, *y = b;
    int c = compare_rest(x, y);
    return c ? c : (x->src->tag > y->src->tag) - (x->src->tag < y->src->tag);
}

/* Those of one size, and which of them are one kind. */
static void sort_size(struct solver *v, uint32_t from, uint32_t to)
{
    bool sorted = true;
    for (uint32_t i = from + 1; i < to && sorted; i++)
        sorted = by_profile(&v->nodes[i - 1], &v->nodes[i]) < 0;
    if (!sorted)
        qsort(v->nodes + from, to - from, sizeof *v->nodes, by_profile);
    for (uint32_t i = from, start = from; i < to; i++) {
        if (compare_rest(&v->nodes[start], &v->nodes[i]) != 0)
            start = i;
        v->nodes[i].class_start = start;
    }
    for (uint32_t i = to, end = to; i-- > from;) {
        v->nodes[i].class_end = end;
        if (v->nodes[i].class_start == i)
            end = i;
    }
}

static void sort_nodes(struct solver *v, const struct snode *found)
{
    mem_auto struct keyed *key = mem_calloc(v->n_nodes + 1, sizeof *key);
    for (uint32_t i = 0; i < v->n_nodes; i++)
        key[i] = (struct keyed){UINT64_MAX - bytes_of(v, &found[i]), i};
    sort_keyed(key, v->n_nodes);
    for (uint32_t i = 0; i < v->n_nodes; i++)
        v->nodes[i] = found[key[i].item];
    for (uint32_t i = 0, end; i < v->n_nodes; i = end) {
        for (end = i + 1; end < v->n_nodes && key[end].key == key[i].key;)
            end++;
        sort_size(v, i, end);
    }
}

void nodes_fill(struct solver *v)
{
    struct problem *p = v->p;
    size_t space = 1;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        size_t n = p->nodes[i].n_dev;
        space += v->n_caps * (n + 1) + n + (n + 1) / 2;
    }
    v->n_nodes = p->n_nodes;
    v->nodes = mem_calloc(p->n_nodes + 1, sizeof *v->nodes);
    uint64_t *at = v->node_space = mem_calloc(space, sizeof *at);
    mem_auto struct snode *found = mem_calloc(p->n_nodes + 1, sizeof *found);
    for (uint32_t i = 0; i < p->n_nodes; i++)
        fill_node(v, &p->nodes[i], &found[i], &at);
    sort_nodes(v, found);
}

void nodes_done(struct solver *v)
{
    free(v->node_space);
    free(v->nodes);
}

/* ---- of a problem of one node ---- */

uint32_t solver_fewest(const struct solver *v)
{
    const struct snode *s = &v->nodes[0];
    uint32_t q = 0;
    for (uint32_t c = 0; c < v->n_caps; c++)
        while (q <= s->n_dev && snode_cap(s, c, q) + snode_cpu(v, s, c) < v->want[c])
            q++;
    return q <= s->n_dev && s->main_ok ? q : UINT32_MAX;
}

/* The numbers of the order of nodes, each so that less comes first there. */
uint32_t solver_row(const struct solver *v, int64_t *out)
{
    const struct snode *s = &v->nodes[0];
    uint32_t n = 0;
    out[n++] = -(int64_t)bytes_of(v, s);
    out[n++] = s->n_dev;
    out[n++] = !s->main_ok;
    out[n++] = -(int64_t)s->cpu_lay;
    for (uint32_t i = 0; i < s->n_dev; i++) {
        out[n++] = s->src->dev[i].speed;
        out[n++] = -(int64_t)s->src->dev[i].rank;
        out[n++] = s->src->dev[i].cost;
    }
    out[n++] = s->src->all_or_none;
    out[n++] = s->src->cost;
    out[n++] = s->main_ok ? s->src->main_cost : 0;
    return n;
}
