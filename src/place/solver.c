/* Setting up a search: ranks, profiles and kinds of nodes; see solve.h. */
#include "place/solve_int.h"

#include "base/mem.h"

#include <string.h>

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

/* Largest first; then whatever else tells two nodes apart. */
static int compare(const struct snode *a, const struct snode *b)
{
    uint64_t x = a->cap[CAP_BYTES][a->n_dev] + a->cpu_cap[CAP_BYTES];
    uint64_t y = b->cap[CAP_BYTES][b->n_dev] + b->cpu_cap[CAP_BYTES];
    if (x != y)
        return x > y ? -1 : 1;
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
    int c = compare(x, y);
    return c ? c : (x->src->tag > y->src->tag) - (x->src->tag < y->src->tag);
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
    for (uint32_t q = 0; q < s->n_dev; q++) {
        const uint64_t *cap = solver_caps(v, &s->src->dev[s->top[q]], own);
        for (uint32_t c = 0; c < v->n_caps; c++)
            s->cap[c][q + 1] = cap[c];
    }
    for (uint32_t c = 0; c < v->n_caps; c++) {
        if (v->stage_caps)
            qsort(s->cap[c] + 1, s->n_dev, sizeof **s->cap, more);
        for (uint32_t q = 0; q < s->n_dev; q++)
            s->cap[c][q + 1] += s->cap[c][q];
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
    for (uint32_t c = 0; c < v->n_caps; c++)
        s->cpu_cap[c] = ranks_measure(v->ranks, c, s->cpu_lay);
}

/* Devices that hold no layer at all are none. Without all of its own devices a whole node has only
 * its RAM. Returns how many devices are free to be used whatever the others are. */
static uint32_t drop_useless(struct solver *v, struct pnode *src)
{
    uint32_t n = 0, n_free = 0;
    bool whole = true;
    for (uint32_t i = 0; i < src->n_dev; i++) {
        src->dev[i].rank = ranks_of(v->ranks, src->dev[i].room);
        whole = whole && (ranks_layers(v->ranks, src->dev[i].rank) ||
                          src->dev[i].speed == v->p->remote_only);
    }
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

static void alloc_node(const struct solver *v, struct snode *s)
{
    size_t n = s->n_dev;
    uint64_t *p = mem_calloc(v->n_caps * (n + 1), sizeof *p);
    for (uint32_t c = 0; c < v->n_caps; c++, p += n + 1)
        s->cap[c] = p;
}

static void init_node(struct solver *v, struct pnode *src, struct snode *s)
{
    uint32_t n_free = drop_useless(v, src), n = src->n_dev;
    qsort(src->dev, n, sizeof *src->dev, by_group);
    *s = (struct snode){
        .src = src, .index = (uint32_t)(src - v->p->nodes), .n_dev = n, .n_free = n_free};
    s->groups = mem_calloc(n + 1, sizeof *s->groups);
    s->top = mem_calloc(n + 1, sizeof *s->top);
    for (uint32_t i = 0; i < n; i++) {
        const struct pdev *d = &src->dev[i];
        s->top[i] = i;
        if (i == 0 || d->speed != d[-1].speed || d->cost != d[-1].cost)
            s->groups[s->n_groups++] = (struct group){i, 0};
        s->groups[s->n_groups - 1].n++;
    }
    alloc_node(v, s);
    qsort_r(s->top, n, sizeof *s->top, by_rank, src->dev);
    fill_caps(v, s);
    fill_cpu(v, s);
}

/* What of the problem the search has to look at beside sizes and time. */
static void fill_goal(struct solver *v)
{
    const struct problem *p = v->p;
    v->scale = p->time_scale > 0 ? p->time_scale : 1;
    v->bound_by_size = p->min_devices <= 2 && !p->limit_ns && !p->stage_ns;
    for (uint32_t i = 0; i < p->n_nodes; i++) {
        const struct pnode *n = &p->nodes[i];
        v->costs = v->costs || n->cost || n->main_cost;
        v->bound_by_size = v->bound_by_size && !n->all_or_none;
        for (uint32_t d = 0; d < n->n_dev && !v->costs; d++)
            v->costs = n->dev[d].cost != 0;
    }
    v->costs = v->costs || p->hop_cost;
    v->n_by = v->costs && p->limit_ns ? 2 : 1;
}

static struct ranks *new_ranks(const struct problem *p)
{
    uint64_t lo = UINT64_MAX, hi = 0;
    if (!p->n_nodes) /* any room may be asked for by those who share them */
        return ranks_new(p->need);
    for (uint32_t i = 0; i < p->n_nodes; i++)
        for (uint32_t d = 0; d < p->nodes[i].n_dev; d++) {
            uint64_t room = p->nodes[i].dev[d].room;
            lo = room < lo ? room : lo;
            hi = room > hi ? room : hi;
        }
    return ranks_new_within(p->need, lo < hi ? lo : hi, hi);
}

static void fill_least(struct solver *v)
{
    v->least_node = v->least_main = v->least_dev = PLACE_INF;
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        const struct pnode *n = v->nodes[i].src;
        v->least_node = n->cost < v->least_node ? n->cost : v->least_node;
        if (v->nodes[i].main_ok && n->main_cost < v->least_main)
            v->least_main = n->main_cost;
        for (uint32_t d = 0; d < n->n_dev; d++)
            v->least_dev = n->dev[d].cost < v->least_dev ? n->dev[d].cost : v->least_dev;
    }
}

struct solver *solver_new(struct problem *p, uint64_t steps)
{
    struct solver *v = mem_calloc(1, sizeof *v);
    v->p = p;
    v->budget = steps;
    v->n_layers = p->need->n;
    v->ranks = p->like ? p->like->ranks : new_ranks(p);
    v->n_caps = ranks_n_caps(v->ranks);
    for (uint32_t c = 0; c < v->n_caps; c++)
        v->want[c] = ranks_measure(v->ranks, c, v->n_layers + 1);
    v->steps = (uint64_t)v->n_layers * v->n_layers;
    fill_goal(v);
    prepare_stage(v);
    v->n_nodes = p->n_nodes;
    v->nodes = mem_calloc(p->n_nodes + 1, sizeof *v->nodes);
    for (uint32_t i = 0; i < p->n_nodes; i++)
        init_node(v, &p->nodes[i], &v->nodes[i]);
    qsort(v->nodes, v->n_nodes, sizeof *v->nodes, by_profile);
    for (uint32_t i = 0, start = 0; i < v->n_nodes; i++) {
        if (compare(&v->nodes[start], &v->nodes[i]) != 0)
            start = i;
        v->nodes[i].class_start = start;
    }
    for (uint32_t i = v->n_nodes, end = i; i-- > 0;) {
        v->nodes[i].class_end = end;
        if (v->nodes[i].class_start == i)
            end = i;
    }
    fill_least(v);
    prepare_floor(v);
    return v;
}

void solver_free(struct solver *v)
{
    if (!v)
        return;
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        free(v->nodes[i].groups);
        free(v->nodes[i].top);
        free(v->nodes[i].cap[0]);
    }
    if (!v->p->like) {
        free(v->floor_ns);
        ranks_free(v->ranks);
    }
    free(v->stage_caps);
    free(v->stage_lo);
    free(v->nodes);
    free(v);
}

uint64_t solver_steps(const struct solver *v)
{
    return v->steps;
}

uint32_t solver_most(const struct solver *v)
{
    uint32_t most = v->p->max_devices ? v->p->max_devices : UINT32_MAX;
    return most < v->n_layers ? most : v->n_layers;
}

uint32_t solver_fewest(const struct solver *v)
{
    const struct snode *s = &v->nodes[0];
    uint32_t q = 0;
    for (uint32_t c = 0; c < v->n_caps; c++)
        while (q <= s->n_dev && s->cap[c][q] + s->cpu_cap[c] < v->want[c])
            q++;
    return q <= s->n_dev && s->main_ok ? q : UINT32_MAX;
}

/* The numbers of compare(), each so that less comes first there. */
uint32_t solver_row(const struct solver *v, int64_t *out)
{
    const struct snode *s = &v->nodes[0];
    uint32_t n = 0;
    out[n++] = -(int64_t)(s->cap[CAP_BYTES][s->n_dev] + s->cpu_cap[CAP_BYTES]);
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

/* One of the nodes is the main one, the others have a device each. */
int64_t solver_least_cost(const struct solver *v, uint32_t k, uint32_t g)
{
    g = g > k - 1 ? g : k > 1 ? k - 1 : 1;
    int64_t nodes = value_add(value_mul(v->least_node, k), v->least_main);
    nodes = value_add(nodes, value_mul(v->least_dev, g));
    return v->costs ? value_add(nodes, value_mul(v->p->hop_cost, k - 1)) : 0;
}

int64_t solver_floor(const struct solver *v, uint32_t k)
{
    int64_t fixed = PLACE_INF;
    for (uint32_t s = 0; s < v->p->n_speeds; s++)
        fixed = v->p->speeds[s].fixed < fixed ? v->p->speeds[s].fixed : fixed;
    int64_t more = k > 1 && fixed < PLACE_INF
                       ? v->net_min.once + (k - 1) * v->net_min.fixed + (k - 2) * fixed
                       : 0;
    int64_t value = value_mul(v->scale, v->floor_ns[0] + v->p->base_ns + more);
    return value_add(value, solver_least_cost(v, k, 0));
}

int64_t solver_cost(const struct solver *v, uint32_t main, const uint32_t *node,
                    const uint32_t *dev, uint32_t n)
{
    const struct pnode *nodes = v->p->nodes;
    int64_t sum = v->costs ? value_add(nodes[main].cost, nodes[main].main_cost) : 0;
    for (uint32_t i = 0; i < n && v->costs; i++) {
        bool seen = node[i] == main;
        for (uint32_t k = i; k-- > 0 && !seen;)
            seen = node[k] == node[i];
        sum = value_add(sum, nodes[node[i]].dev[dev[i]].cost);
        sum = node[i] == main ? sum : value_add(sum, v->p->hop_cost);
        sum = seen ? sum : value_add(sum, nodes[node[i]].cost);
    }
    return sum;
}

void solution_done(struct solution *s)
{
    free(s->node);
    free(s->dev);
    free(s->counts);
    *s = (struct solution){0};
}

void solver_leaf(const struct solver *v, uint32_t main, const uint32_t *node, const uint32_t *dev,
                 uint32_t n, struct leaf_dev *out, struct leaf *leaf)
{
    const struct problem *p = v->p;
    for (uint32_t i = 0; i < n; i++) {
        const struct pdev *d = &p->nodes[node[i]].dev[dev[i]];
        struct net net = {0};
        if (node[i] != main)
            net = solver_net(p, main, node[i]);
        out[i] = (struct leaf_dev){.room = d->room,
                                   .rank = d->rank,
                                   .speed = d->speed,
                                   .net_fixed = net.fixed,
                                   .net_tail = net.tail,
                                   .id = d->id};
    }
    const struct pnode *m = &p->nodes[main];
    *leaf = (struct leaf){.need = p->need,
                          .ranks = v->ranks,
                          .speeds = p->speeds,
                          .dev = out,
                          .n_dev = n,
                          .cpu_ns = p->cpu_ns,
                          .n_cpu_max = p->cpu_ns ? m->n_cpu_max : 0,
                          .stage_ns = p->stage_ns,
                          .below_ns = PLACE_INF};
    if (leaf->n_cpu_max >= v->n_layers) /* a device in use holds at least one */
        leaf->n_cpu_max = v->n_layers - 1;
    while (p->stage_ns && leaf->n_cpu_max && p->cpu_ns[leaf->n_cpu_max] > p->stage_ns)
        leaf->n_cpu_max--;
}

int64_t solver_extra(const struct solver *v, uint32_t main, const uint32_t *node, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (node[i] != main)
            return v->p->base_ns + solver_net(v->p, main, node[i]).once;
    return v->p->base_ns;
}
