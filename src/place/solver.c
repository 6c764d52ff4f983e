/* Setting up a search: ranks, profiles and kinds of nodes; see solve.h. */
#include "place/solve_int.h"

#include "base/mem.h"

#include <string.h>

static int by_speed_and_rank(const void *a, const void *b)
{
    const struct pdev *x = a, *y = b;
    if (x->speed != y->speed)
        return x->speed < y->speed ? -1 : 1;
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
    if (a->src->main_ok != b->src->main_ok)
        return a->src->main_ok ? -1 : 1;
    if (a->cpu_lay != b->cpu_lay)
        return a->cpu_lay > b->cpu_lay ? -1 : 1;
    for (uint32_t i = 0; i < a->n_dev; i++) {
        const struct pdev *p = &a->src->dev[i], *q = &b->src->dev[i];
        if (p->speed != q->speed)
            return p->speed < q->speed ? -1 : 1;
        if (p->rank != q->rank)
            return p->rank > q->rank ? -1 : 1;
    }
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

static void fill_room(struct solver *v, struct snode *s)
{
    for (uint32_t q = 0; q < s->n_dev; q++) {
        const uint64_t *cap = ranks_caps(v->ranks, s->src->dev[s->top[q]].rank);
        for (uint32_t c = 0; c < CAP_COUNT; c++)
            s->cap[c][q + 1] = s->cap[c][q] + cap[c];
    }
    if (!v->p->cpu_ns || !s->src->main_ok)
        return;
    s->cpu_lay = s->src->n_cpu_max < v->n_layers ? s->src->n_cpu_max : v->n_layers;
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        s->cpu_cap[c] = ranks_measure(v->ranks, c, s->cpu_lay);
}

static void init_node(struct solver *v, struct pnode *src, struct snode *s)
{
    /* Devices that hold no layer at all are none. */
    uint32_t n = 0;
    for (uint32_t i = 0; i < src->n_dev; i++) {
        src->dev[i].rank = ranks_of(v->ranks, src->dev[i].room);
        if (ranks_layers(v->ranks, src->dev[i].rank))
            src->dev[n++] = src->dev[i];
    }
    src->n_dev = n;
    qsort(src->dev, n, sizeof *src->dev, by_speed_and_rank);
    *s = (struct snode){.src = src, .index = (uint32_t)(src - v->p->nodes), .n_dev = n};
    s->groups = mem_calloc(n + 1, sizeof *s->groups);
    s->top = mem_calloc(n + 1, sizeof *s->top);
    s->cap[0] = mem_calloc((CAP_COUNT + 4) * ((size_t)n + 1), sizeof **s->cap);
    for (uint32_t c = 1; c < CAP_COUNT; c++)
        s->cap[c] = s->cap[c - 1] + n + 1;
    s->loc = (int64_t *)s->cap[CAP_COUNT - 1] + n + 1;
    s->rem = s->loc + n + 1;
    s->gloc = s->rem + n + 1;
    s->grem = s->gloc + n + 1;
    for (uint32_t i = 0; i < n; i++) {
        s->top[i] = i;
        if (i == 0 || src->dev[i].speed != src->dev[i - 1].speed)
            s->groups[s->n_groups++] = (struct group){i, 0};
        s->groups[s->n_groups - 1].n++;
    }
    qsort_r(s->top, n, sizeof *s->top, by_rank, src->dev);
    fill_room(v, s);
}

struct solver *solver_new(struct problem *p, uint64_t steps)
{
    struct solver *v = mem_calloc(1, sizeof *v);
    v->p = p;
    v->budget = steps;
    v->n_layers = p->need->n;
    v->ranks = ranks_new(p->need);
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        v->want[c] = ranks_measure(v->ranks, c, v->n_layers + 1);
    v->steps = (uint64_t)v->n_layers * v->n_layers;
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
    for (uint32_t s = 0; s < v->p->n_speeds; s++)
        free(v->excess[s]);
    free(v->excess);
    free(v->cpu_excess);
    free(v->price);
    free(v->nodes);
    ranks_free(v->ranks);
    free(v);
}

uint64_t solver_steps(const struct solver *v)
{
    return v->steps;
}

int64_t solver_floor(const struct solver *v, uint32_t k)
{
    int64_t fixed = PLACE_INF;
    for (uint32_t s = 0; s < v->p->n_speeds; s++)
        fixed = v->p->speeds[s].fixed < fixed ? v->p->speeds[s].fixed : fixed;
    int64_t more = k > 1 && fixed < PLACE_INF
                       ? v->net_min.once + (k - 1) * v->net_min.fixed + (k - 2) * fixed
                       : 0;
    return v->floor_ns + v->p->base_ns + more;
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
        out[i] = (struct leaf_dev){d->room, d->rank, d->speed, net.fixed, net.tail, d->id};
    }
    const struct pnode *m = &p->nodes[main];
    *leaf = (struct leaf){.need = p->need,
                          .ranks = v->ranks,
                          .speeds = p->speeds,
                          .dev = out,
                          .n_dev = n,
                          .cpu_ns = p->cpu_ns,
                          .n_cpu_max = p->cpu_ns ? m->n_cpu_max : 0};
    if (leaf->n_cpu_max >= v->n_layers) /* a device in use holds at least one */
        leaf->n_cpu_max = v->n_layers - 1;
}

int64_t solver_extra(const struct solver *v, uint32_t main, const uint32_t *node, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (node[i] != main)
            return v->p->base_ns + solver_net(v->p, main, node[i]).once;
    return v->p->base_ns;
}
