/* Setting up a search, and what is fixed about its answers; see solve.h. */
#include "place/solve_int.h"

#include "base/mem.h"

#include <string.h>

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
    nodes_fill(v);
    fill_least(v);
    prepare_floor(v);
    return v;
}

void solver_free(struct solver *v)
{
    if (!v)
        return;
    if (!v->p->like) {
        free(v->floor_ns);
        ranks_free(v->ranks);
    }
    free(v->stage_caps);
    free(v->stage_lo);
    nodes_done(v);
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
