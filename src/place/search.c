/* Depth-first search between bounds; see search.h and README.md. */
#include "place/search.h"

#include "base/mem.h"

#include <string.h>

enum {
    MIN_LEAVES = 4, /* even without any budget: an answer, if a poor one, is better than none */
    MIN_STEPS = 1 << 16, /* and so far it goes to reach them */
    LEAF_WORK = 4 << 20, /* cells of one leaf's table */
};

struct acc { /* of what is chosen; last: what it adds that the last device is among it */
    int64_t cap[CAP_COUNT], tim[BY_COUNT], last[BY_COUNT];
};

/* ---- leaves ---- */

static void keep(struct search *x, const struct leaf_answer *a, int64_t ns, int64_t value)
{
    uint32_t n = x->n_pick;
    struct solution *s = x->best;
    solution_done(s);
    *s = (struct solution){.feasible = true,
                           .main = x->main,
                           .n_nodes = x->k,
                           .n_dev = n,
                           .n_cpu = a->n_cpu,
                           .node = mem_calloc(n + 1, sizeof *s->node),
                           .dev = mem_calloc(n + 1, sizeof *s->dev),
                           .counts = mem_calloc(n + 1, sizeof *s->counts),
                           .ns = ns,
                           .value = value};
    for (uint32_t i = 0; i < n; i++) {
        s->node[i] = x->node[a->order[i]];
        s->dev[i] = x->dev[a->order[i]];
        s->counts[i] = a->counts[i];
    }
    x->found = true;
}

struct pick {
    uint32_t rank, node, dev;
};

static int larger(const void *a, const void *b)
{
    const struct pick *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->dev > y->dev) - (x->dev < y->dev);
}

/* Moves the `most` picks of best rank to the front: a larger device does whatever a smaller does.
 */
static uint32_t keep_largest(const struct search *x, uint32_t *node, uint32_t *dev, uint32_t n,
                             uint32_t most)
{
    if (n <= most)
        return n;
    mem_auto struct pick *p = mem_calloc(n, sizeof *p);
    for (uint32_t i = 0; i < n; i++)
        p[i] = (struct pick){x->v->p->nodes[node[i]].dev[dev[i]].rank, node[i], dev[i]};
    qsort(p, n, sizeof *p, larger);
    for (uint32_t i = 0; i < most; i++) {
        node[i] = p[i].node;
        dev[i] = p[i].dev;
    }
    return most;
}

/* Kept as a set: the caller needs to know which nodes and devices, in what order they fit. */
static void keep_set(struct search *x, const uint32_t *node, const uint32_t *dev,
                     const uint16_t *order, uint32_t n)
{
    struct solution *s = x->best;
    solution_done(s);
    *s = (struct solution){.main = x->main, .n_nodes = x->k, .n_dev = n};
    s->node = mem_calloc(n, sizeof *s->node);
    s->dev = mem_calloc(n, sizeof *s->dev);
    for (uint32_t i = 0; i < n; i++) {
        s->node[i] = node[order[i]];
        s->dev[i] = dev[order[i]];
    }
    x->found = true;
}

static void leaf_fit(struct search *x)
{
    if (x->n_pick == 0)
        return;
    struct leaf l;
    mem_auto struct leaf_dev *leaf_dev = mem_calloc(x->n_pick, sizeof *leaf_dev);
    mem_auto uint16_t *order = mem_calloc(x->n_pick, sizeof *order);
    mem_auto uint32_t *node = mem_calloc(x->n_pick, sizeof *node);
    mem_auto uint32_t *dev = mem_calloc(x->n_pick, sizeof *dev);
    memcpy(node, x->node, x->n_pick * sizeof *node);
    memcpy(dev, x->dev, x->n_pick * sizeof *dev);
    uint32_t n = keep_largest(x, node, dev, x->n_pick, x->most_dev), used;
    solver_leaf(x->v, x->main, node, dev, n, leaf_dev, &l);
    l.max_work = LEAF_WORK;
    bool exact;
    uint64_t work = 0;
    used = leaf_fits(&l, order, &exact, &work);
    x->v->steps += work / 8 + 1;
    x->unsure |= !exact;
    if (used) {
        keep_set(x, node, dev, order, n);
        x->best->bound_dev = used;
        x->stopped = true;
    }
}

/* An answer is wanted: within the limit on time, and of less value than the best so far. */
static bool wanted(const struct search *x, int64_t ns, int64_t value)
{
    int64_t limit = x->v->p->limit_ns;
    return value < x->below && (!limit || ns <= limit);
}

/* What the first remote device of a pipeline adds, at least: with unequal links it matters a little
 * which one it is, and leaves do not look at that. */
static int64_t least_extra(const struct search *x)
{
    const struct problem *p = x->v->p;
    int64_t least = PLACE_INF;
    for (uint32_t i = 0; i < x->n_pick; i++)
        if (x->node[i] != x->main) {
            int64_t once = solver_net(p, x->main, x->node[i]).once;
            least = once < least ? once : least;
        }
    return p->base_ns + (least < PLACE_INF ? least : 0);
}

/* A leaf's answer with the path's devices. */
static void offer(struct search *x, const struct leaf_answer *a)
{
    const struct solver *v = x->v;
    uint32_t n = x->n_pick;
    mem_auto uint32_t *node = mem_calloc(n + 1, sizeof *node);
    for (uint32_t i = 0; i < n; i++)
        node[i] = x->node[a->order[i]];
    int64_t ns = a->ns + solver_extra(v, x->main, node, n), least = a->ns + least_extra(x);
    int64_t cost = solver_cost(v, x->main, x->node, x->dev, n);
    int64_t value = value_add(value_mul(v->scale, ns), cost);
    if (least < ns) /* another order may be faster by the difference */
        x->unsure |= wanted(x, least, value_add(value_mul(v->scale, least), cost));
    if (wanted(x, ns, value)) {
        keep(x, a, ns, value);
        x->below = value;
        x->stopped = x->stopped || v->p->first;
    }
}

/* Only what is faster than this can be wanted of a leaf. */
static int64_t below_ns(const struct search *x)
{
    const struct solver *v = x->v;
    int64_t most = x->below - solver_cost(v, x->main, x->node, x->dev, x->n_pick);
    int64_t ns = most > 0 ? (most - 1) / v->scale + 1 : 0, limit = v->p->limit_ns;
    return (limit && limit < ns ? limit + 1 : ns) - least_extra(x);
}

static void leaf_value(struct search *x)
{
    struct solver *v = x->v;
    struct leaf l;
    uint32_t n = x->n_pick;
    if (n == 0)
        return;
    mem_auto struct leaf_dev *dev = mem_calloc(n + 1, sizeof *dev);
    mem_auto uint16_t *order = mem_calloc(2 * (size_t)n + 1, sizeof *order);
    solver_leaf(v, x->main, x->node, x->dev, n, dev, &l);
    l.max_work = LEAF_WORK;
    l.below_ns = below_ns(x);
    if (x->dual) {
        l.rest_ns = x->dual->rest_ns;
        for (uint32_t i = 0; i < n; i++) {
            dev[i].least_ns = x->quote[i].any + dev[i].net_fixed;
            dev[i].last_ns = value_add(x->quote[i].last, dev[i].net_tail - x->quote[i].any);
        }
    }
    struct leaf_answer a = {.order = order, .counts = order + n};
    leaf_solve(&l, &a);
    v->steps += a.work / 8 + 1;
    x->unsure |= !a.exact;
    if (a.feasible)
        offer(x, &a);
}

/* Nodes of the path, the main one included. */
static uint32_t count_nodes(const struct search *x)
{
    uint32_t k = 1;
    for (uint32_t i = 0; i < x->n_pick; i++) {
        bool seen = x->node[i] == x->main;
        for (uint32_t j = 0; j < i && !seen; j++)
            seen = x->node[j] == x->node[i];
        k += !seen;
    }
    return k;
}

/* The path's devices in their order; false when it does not fit. */
static bool in_order(struct search *x)
{
    struct leaf l;
    uint32_t n = x->n_pick;
    mem_auto struct leaf_dev *dev = mem_calloc(n + 1, sizeof *dev);
    mem_auto uint16_t *order = mem_calloc(2 * (size_t)n + 1, sizeof *order);
    for (uint32_t i = 0; i < n; i++)
        order[i] = (uint16_t)i;
    solver_leaf(x->v, x->main, x->node, x->dev, n, dev, &l);
    struct leaf_answer a = {.order = order, .counts = order + n};
    bool fits = leaf_split(&l, 0, &a);
    x->v->steps += a.work / 8 + 1;
    if (fits)
        offer(x, &a);
    return fits;
}

void search_first(struct solver *v, struct solution *s)
{
    struct solution set = *s;
    *s = (struct solution){0};
    for (uint32_t n = set.bound_dev < 2 ? 2 : set.bound_dev; n <= set.n_dev && !s->feasible; n++) {
        struct search x = {.v = v, .best = s, .k = set.n_nodes, .below = v->ceiling};
        mem_auto uint32_t *node = mem_calloc(set.n_dev, sizeof *node);
        mem_auto uint32_t *dev = mem_calloc(set.n_dev, sizeof *dev);
        memcpy(node, set.node, set.n_dev * sizeof *node);
        memcpy(dev, set.dev, set.n_dev * sizeof *dev);
        x.main = set.main;
        x.node = node;
        x.dev = dev;
        x.n_pick = keep_largest(&x, node, dev, set.n_dev, n);
        if (count_nodes(&x) == set.n_nodes && !in_order(&x))
            leaf_value(&x);
    }
    solution_done(&set);
}

bool search_improve(struct search *x)
{
    const struct solution *s = x->best;
    mem_auto uint32_t *node = mem_calloc(s->n_dev, sizeof *node);
    mem_auto uint32_t *dev = mem_calloc(s->n_dev, sizeof *dev);
    memcpy(node, s->node, s->n_dev * sizeof *node);
    memcpy(dev, s->dev, s->n_dev * sizeof *dev);
    mem_auto struct quote_ns *quote = mem_calloc(s->n_dev, sizeof *quote);
    for (uint32_t i = 0; i < s->n_dev; i++)
        quote[i] = dual_device(x->dual, &x->v->p->nodes[node[i]].dev[dev[i]]);
    x->quote = quote;
    x->node = node;
    x->dev = dev;
    x->main = s->main;
    x->n_pick = s->n_dev;
    x->below = s->value;
    leaf_value(x);
    return x->found;
}

/* ---- branches ---- */

/* The least value there can be with this and the table's entry. */
static int64_t bound(const struct search *x, uint32_t by, size_t at, const struct acc *a)
{
    const int64_t *rest = x->b->tim[by] + at * 2;
    int64_t last = rest[0] < PLACE_INF ? value_add(rest[0], a->last[by]) : PLACE_INF;
    int64_t least = last < rest[1] ? last : rest[1];
    return least < PLACE_INF ? value_add(value_add(a->tim[by], least), x->rest[by]) : PLACE_INF;
}

/* Can nodes from i on still complete this? */
static bool can(struct search *x, uint32_t i, uint32_t k, uint32_t g, uint32_t m,
                const struct acc *a)
{
    const struct bounds *b = x->b;
    size_t at = BOUNDS_AT(b, i, k, b->free_g ? 0 : g, m);
    const int64_t *cap = b->cap + at * b->n_caps;
    if (cap[0] < 0)
        return false;
    for (uint32_t c = 0; c < b->n_caps; c++)
        if ((uint64_t)(a->cap[c] + cap[c]) < x->v->want[c])
            return false;
    if (x->goal == GOAL_FITS)
        return true;
    if (b->n_by > 1 && bound(x, BY_TIME, at, a) > x->v->p->limit_ns)
        return false;
    return bound(x, BY_VALUE, at, a) < x->below;
}

static void branch(struct search *x, uint32_t i, uint32_t k, uint32_t g, uint32_t m,
                   const struct acc *a);

static void descend(struct search *x, uint32_t j, uint32_t k, uint32_t g, uint32_t m,
                    const struct acc *a)
{
    if (!can(x, j + 1, k, g, m, a))
        return;
    if (k == 0) {
        x->leaves++;
        if (x->goal == GOAL_FITS)
            leaf_fit(x);
        else
            leaf_value(x);
    } else {
        branch(x, j + 1, k, g, m, a);
    }
}

static void push(struct search *x, const struct bnode *node, uint32_t dev)
{
    x->quote[x->n_pick] = node->dev[dev];
    x->node[x->n_pick] = node->s->index;
    x->dev[x->n_pick++] = dev;
}

/* The best q devices of a node, for "does it fit". Where the number is bounded, fewer than there
 * are make sense only when the bound is reached in the end. */
static void take_top(struct search *x, uint32_t j, uint32_t k, uint32_t g, uint32_t m, bool main,
                     const struct acc *a)
{
    const struct bnode *node = &x->b->nodes[j];
    const struct snode *s = node->s;
    bool any = x->b->free_g, fewer = x->fewer;
    uint32_t most = any || s->n_dev < g ? s->n_dev : g, least = any || k == 1 ? most : !main;
    uint32_t mark = x->n_pick;
    for (uint32_t q = most + 1; q-- > least && !x->stopped;) {
        if ((q == 0 && !main) || (k == 1 && !any && fewer && q < g))
            break;
        struct acc next = *a;
        for (uint32_t c = 0; c < x->v->n_caps; c++)
            next.cap[c] += (int64_t)(snode_cap(s, c, q) + (main ? node->cpu[c] : 0));
        for (uint32_t d = 0; d < q; d++)
            push(x, node, s->top[d]);
        x->fewer = fewer || q < s->n_dev;
        descend(x, j, k - 1, g - (any ? 0 : q), m - main, &next);
        x->n_pick = mark;
    }
    x->fewer = fewer;
}

static void add_caps(const struct search *x, struct acc *a, const uint64_t *cap, int64_t sign)
{
    for (uint32_t c = 0; c < x->v->n_caps; c++)
        a->cap[c] += sign * (int64_t)cap[c];
}

/* Of a node whose devices are used all or not at all: can q be right for this group, with `before`
 * devices of earlier groups taken? */
static bool group_takes(const struct search *x, const struct snode *s, uint32_t grp, uint32_t q,
                        uint32_t before)
{
    const struct group *r = &s->groups[grp];
    if (!s->src->all_or_none || s->src->dev[r->first].speed == x->v->p->remote_only)
        return true;
    return q == (before ? r->n : 0) || (grp == 0 && q == r->n);
}

/* Every "how many of each group" of a node, for value. */
static void take_groups(struct search *x, uint32_t j, uint32_t grp, uint32_t k, uint32_t g,
                        uint32_t m, bool main, uint32_t mark, const struct acc *a)
{
    const struct bnode *node = &x->b->nodes[j];
    const struct snode *s = node->s;
    if (x->stopped)
        return;
    if (grp == s->n_groups) {
        if ((x->n_pick > mark || main) && (x->b->free_g || k > 1 || g == 0))
            descend(x, j, k - 1, g, m - main, a);
        return;
    }
    const struct group *r = &s->groups[grp];
    uint32_t most = r->n < g ? r->n : g, before = x->n_pick;
    if (main && s->src->dev[r->first].speed == x->v->p->remote_only)
        most = 0;
    struct acc next = *a;
    uint64_t own[CAP_COUNT];
    for (uint32_t q = 0; q < most; q++) {
        add_caps(x, &next, solver_caps(x->v, &s->src->dev[r->first + q], own), 1);
        push(x, node, r->first + q);
    }
    /* Most first; the sums are taken off again one device at a time. */
    for (uint32_t q = most + 1; q-- > 0;) {
        for (uint32_t by = 0; by < x->b->n_by; by++) {
            const struct share *share = &node->by[by][main];
            int64_t last = share->last[r->first + grp + q];
            next.tim[by] = value_add(a->tim[by], share->group[r->first + grp + q]);
            next.last[by] = last < a->last[by] ? last : a->last[by];
        }
        if (group_takes(x, s, grp, q, before - mark))
            take_groups(x, j, grp + 1, k, g - q, m, main, mark, &next);
        x->n_pick = before + (q ? q - 1 : 0);
        if (q)
            add_caps(x, &next, solver_caps(x->v, &s->src->dev[r->first + q - 1], own), -1);
    }
}

/* One node as the main one or not. */
static void take_node(struct search *x, uint32_t j, uint32_t k, uint32_t g, uint32_t m, bool main,
                      const struct acc *a)
{
    const struct bnode *node = &x->b->nodes[j];
    const struct snode *s = node->s;
    if (main)
        x->main = s->index;
    if (x->goal == GOAL_FITS) {
        take_top(x, j, k, g, m, main, a);
        return;
    }
    struct acc next = *a;
    if (main)
        add_caps(x, &next, node->cpu, 1);
    for (uint32_t by = 0; by < x->b->n_by; by++)
        next.tim[by] = value_add(next.tim[by], node->by[by][main].own);
    take_groups(x, j, 0, k, g, m, main, x->n_pick, &next);
}

static void branch(struct search *x, uint32_t i, uint32_t k, uint32_t g, uint32_t m,
                   const struct acc *a)
{
    for (uint32_t j = i; j < x->b->n && !x->stopped; j = x->b->nodes[j].end) {
        if (++x->v->steps > x->deadline &&
            (x->leaves >= MIN_LEAVES || x->v->steps > x->deadline + MIN_STEPS)) {
            x->stopped = true;
            x->unsure = true;
            return;
        }
        if (!can(x, j, k, g, m, a))
            return;
        bool main = m && x->b->nodes[j].s->main_ok;
        bool other = (k > 1 || !m) && !(main && x->any_main);
        if (main)
            take_node(x, j, k, g, m, true, a);
        if (other)
            take_node(x, j, k, g, m, false, a);
    }
}

bool search_may(struct search *x, uint32_t g)
{
    struct acc none = {.last = {PLACE_INF, PLACE_INF}};
    return can(x, 0, x->k, g, 1, &none);
}

void search_run(struct search *x, uint32_t g)
{
    struct acc none = {.last = {PLACE_INF, PLACE_INF}};
    size_t room = 0;
    for (uint32_t i = 0; i < x->b->n; i++)
        room = x->b->nodes[i].s->n_dev > room ? x->b->nodes[i].s->n_dev : room;
    /* Where only sizes matter, the first node that can be the main one may as well be: a main node
     * of which no device is used could be left out, and fewer nodes do not hold it. */
    x->any_main = x->goal == GOAL_FITS && !x->v->p->cpu_ns && x->k <= x->v->k_holds;
    room = room * x->k + 1;
    x->n_pick = x->leaves = 0;
    x->found = x->stopped = x->unsure = false;
    x->most_dev = g;
    x->node = mem_calloc(room, sizeof *x->node);
    x->dev = mem_calloc(room, sizeof *x->dev);
    x->quote = mem_calloc(room, sizeof *x->quote);
    if (can(x, 0, x->k, g, 1, &none))
        branch(x, 0, x->k, g, 1, &none);
    free(x->node);
    free(x->dev);
    free(x->quote);
}
