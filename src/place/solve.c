/* Depth-first search between bounds; see solve.h and README.md.
 *
 * A node is taken as the main one or not, with some of its devices. Inside a node and a speed only
 * "how many" matters: a larger device does whatever a smaller one does, as fast. */
#include "place/solve_int.h"

#include "base/mem.h"

#include <string.h>

enum {
    MIN_LEAVES = 4, /* even without any budget: an answer, if a poor one, is better than none */
    LEAF_WORK = 4 << 20,   /* cells of one leaf's table */
    TABLE_CELLS = 2 << 20, /* of one bound's table; beyond it the smallest nodes are left out */
};

enum goal { GOAL_FITS, GOAL_TIME };

struct acc {
    int64_t cap[CAP_COUNT], tim;
};

struct search {
    struct solver *v;
    struct bounds *b;
    enum goal goal;
    uint32_t k;
    int64_t rest_ns;   /* of the bound: what is not in the tables */
    int64_t below_ns;  /* only answers faster than this are wanted */
    uint64_t deadline; /* of solver.steps */
    uint32_t leaves;   /* looked at so far */
    bool stopped;      /* the deadline came */
    bool unsure;       /* a leaf could not be decided */
    bool found;
    struct solution *best;
    /* The path. */
    uint32_t *node, *dev, n_pick;
    uint32_t main, most_dev;
};

/* ---- leaves ---- */

static void keep(struct search *x, const struct leaf_answer *a, int64_t ns, uint32_t n)
{
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
                           .ns = ns};
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

/* Kept as a set: the caller needs to know which nodes and how many devices. */
static void keep_set(struct search *x, const uint32_t *node, const uint32_t *dev, uint32_t n)
{
    struct solution *s = x->best;
    solution_done(s);
    *s = (struct solution){.main = x->main, .n_nodes = x->k, .n_dev = n};
    s->node = mem_calloc(n, sizeof *s->node);
    s->dev = mem_calloc(n, sizeof *s->dev);
    memcpy(s->node, node, n * sizeof *node);
    memcpy(s->dev, dev, n * sizeof *dev);
    x->found = true;
}

static void leaf_fit(struct search *x)
{
    if (x->n_pick == 0)
        return;
    struct leaf l;
    mem_auto struct leaf_dev *leaf_dev = mem_calloc(x->n_pick, sizeof *leaf_dev);
    mem_auto uint32_t *node = mem_calloc(x->n_pick, sizeof *node);
    mem_auto uint32_t *dev = mem_calloc(x->n_pick, sizeof *dev);
    memcpy(node, x->node, x->n_pick * sizeof *node);
    memcpy(dev, x->dev, x->n_pick * sizeof *dev);
    uint32_t n = keep_largest(x, node, dev, x->n_pick, x->most_dev), used;
    solver_leaf(x->v, x->main, node, dev, n, leaf_dev, &l);
    l.max_work = LEAF_WORK;
    bool exact;
    uint64_t work = 0;
    used = leaf_fits(&l, &exact, &work);
    x->v->steps += work / 8 + 1;
    x->unsure |= !exact;
    if (used) {
        keep_set(x, node, dev, n);
        x->best->bound_dev = used;
        x->stopped = true;
    }
}

static void leaf_time(struct search *x)
{
    struct leaf l;
    uint32_t n = x->n_pick;
    if (n == 0)
        return;
    mem_auto struct leaf_dev *dev = mem_calloc(n + 1, sizeof *dev);
    mem_auto uint16_t *order = mem_calloc(n + 1, sizeof *order);
    mem_auto uint16_t *counts = mem_calloc(n + 1, sizeof *counts);
    solver_leaf(x->v, x->main, x->node, x->dev, n, dev, &l);
    l.max_work = LEAF_WORK;
    struct leaf_answer a = {.order = order, .counts = counts};
    leaf_solve(&l, &a);
    x->v->steps += a.work / 8 + 1;
    x->unsure |= !a.exact;
    if (!a.feasible)
        return;
    mem_auto uint32_t *node = mem_calloc(n + 1, sizeof *node);
    for (uint32_t i = 0; i < n; i++)
        node[i] = x->node[order[i]];
    int64_t ns = a.ns + solver_extra(x->v, x->main, node, n), least = ns;
    /* With unequal links it matters a little which node comes first; the leaf did not look at that,
     * so another order may be faster by the difference. */
    for (uint32_t i = 0; i < n && x->v->p->n_pairs; i++)
        if (node[i] != x->main) {
            int64_t other = a.ns + x->v->p->base_ns + solver_net(x->v->p, x->main, node[i]).once;
            least = other < least ? other : least;
        }
    x->unsure |= least < ns && least < x->below_ns;
    if (ns < x->below_ns) {
        keep(x, &a, ns, n);
        x->below_ns = ns;
    }
}

/* ---- branches ---- */

/* Can nodes from i on still complete this? */
static bool can(struct search *x, uint32_t i, uint32_t k, uint32_t g, uint32_t m,
                const struct acc *a)
{
    const struct bounds *b = x->b;
    size_t at = BOUNDS_AT(b, i, k, b->free_g ? 0 : g, m);
    if (b->cap[0][at] < 0)
        return false;
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        if ((uint64_t)(a->cap[c] + b->cap[c][at]) < x->v->want[c])
            return false;
    if (x->goal == GOAL_FITS)
        return true;
    return b->tim[at] < PLACE_INF && a->tim + b->tim[at] + x->rest_ns < x->below_ns;
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
            leaf_time(x);
    } else {
        branch(x, j + 1, k, g, m, a);
    }
}

static void push(struct search *x, const struct snode *s, uint32_t dev)
{
    x->node[x->n_pick] = s->index;
    x->dev[x->n_pick++] = dev;
}

/* The best q devices of a node, for "does it fit". */
static void take_top(struct search *x, uint32_t j, uint32_t k, uint32_t g, uint32_t m, bool main,
                     const struct acc *a)
{
    const struct snode *s = &x->b->nodes[j];
    uint32_t most = x->b->free_g ? s->n_dev : s->n_dev < g ? s->n_dev : g, mark = x->n_pick;
    uint32_t least = x->b->free_g ? most : !main;
    if (!x->b->free_g && k == 1)
        least = most = g <= s->n_dev ? g : s->n_dev;
    for (uint32_t q = most + 1; q-- > least && !x->stopped;) {
        if (q == 0 && !main)
            break;
        struct acc next = *a;
        for (uint32_t c = 0; c < CAP_COUNT; c++)
            next.cap[c] += (int64_t)(s->cap[c][q] + (main ? s->cpu_cap[c] : 0));
        for (uint32_t d = 0; d < q; d++)
            push(x, s, s->top[d]);
        descend(x, j, k - 1, g - (x->b->free_g ? 0 : q), m - main, &next);
        x->n_pick = mark;
    }
}

static void add_caps(struct acc *a, const uint64_t *cap, int64_t sign)
{
    for (uint32_t c = 0; c < CAP_COUNT; c++)
        a->cap[c] += sign * (int64_t)cap[c];
}

/* Every "how many of each speed" of a node, for time. */
static void take_groups(struct search *x, uint32_t j, uint32_t grp, uint32_t k, uint32_t g,
                        uint32_t m, bool main, uint32_t mark, const struct acc *a)
{
    const struct snode *s = &x->b->nodes[j];
    if (x->stopped)
        return;
    if (grp == s->n_groups) {
        if ((x->n_pick > mark || main) && (x->b->free_g || k > 1 || g == 0))
            descend(x, j, k - 1, g, m - main, a);
        return;
    }
    const struct group *r = &s->groups[grp];
    const int64_t *val = main ? s->gloc : s->grem;
    uint32_t most = r->n < g ? r->n : g, before = x->n_pick;
    if (main && s->src->dev[r->first].speed == x->v->p->remote_only)
        most = 0;
    struct acc next = *a;
    /* Most first; the sums are taken off again one device at a time. */
    for (uint32_t q = 0; q < most; q++) {
        const struct pdev *d = &s->src->dev[r->first + q];
        add_caps(&next, ranks_caps(x->v->ranks, d->rank), 1);
        next.tim += val[r->first + q];
        push(x, s, r->first + q);
    }
    for (uint32_t q = most + 1; q-- > 0;) {
        take_groups(x, j, grp + 1, k, g - q, m, main, mark, &next);
        x->n_pick = before + (q ? q - 1 : 0);
        if (q) {
            const struct pdev *d = &s->src->dev[r->first + q - 1];
            add_caps(&next, ranks_caps(x->v->ranks, d->rank), -1);
            next.tim -= val[r->first + q - 1];
        }
    }
}

static void branch(struct search *x, uint32_t i, uint32_t k, uint32_t g, uint32_t m,
                   const struct acc *a)
{
    for (uint32_t j = i; j < x->b->n && !x->stopped; j = x->b->nodes[j].class_end) {
        if (++x->v->steps > x->deadline && x->leaves >= MIN_LEAVES) {
            x->stopped = true;
            x->unsure = true;
            return;
        }
        if (!can(x, j, k, g, m, a))
            return;
        const struct snode *s = &x->b->nodes[j];
        for (uint32_t main = m && s->src->main_ok ? 1 : 0;; main--) {
            if (main)
                x->main = s->index;
            if (main || k > 1 || !m) {
                struct acc next = *a;
                if (x->goal == GOAL_FITS) {
                    take_top(x, j, k, g, m, main, a);
                } else {
                    if (main)
                        add_caps(&next, s->cpu_cap, 1);
                    next.tim += main ? s->cpu_tim : 0;
                    take_groups(x, j, 0, k, g, m, main, x->n_pick, &next);
                }
            }
            if (!main)
                break;
        }
    }
}

static void run(struct search *x, uint32_t g)
{
    struct acc none = {0};
    size_t room = 0;
    for (uint32_t i = 0; i < x->b->n; i++)
        room = x->b->nodes[i].n_dev > room ? x->b->nodes[i].n_dev : room;
    room = room * x->k + 1;
    x->n_pick = x->leaves = 0;
    x->found = x->stopped = x->unsure = false;
    x->most_dev = g;
    x->node = mem_calloc(room, sizeof *x->node);
    x->dev = mem_calloc(room, sizeof *x->dev);
    if (can(x, 0, x->k, g, 1, &none))
        branch(x, 0, x->k, g, 1, &none);
    free(x->node);
    free(x->dev);
}

/* A stage may use half of what is left, so that a later one always has something. */
static uint64_t deadline(const struct solver *v)
{
    return v->steps >= v->budget ? v->steps : v->steps + (v->budget - v->steps) / 2 + 1;
}

/* ---- time ---- */

struct timing {
    struct solver *v;
    struct bounds *b;
    uint32_t k, g;
    int64_t lambda, rest_ns;
};

/* No answer is below this, whatever the price. Leaves the tables filled for it. */
static int64_t bound_at(struct timing *t, int64_t lambda)
{
    struct solver *v = t->v;
    prepare_prices(v, t->b->nodes, t->b->n, lambda);
    bounds_fill_time(t->b);
    v->steps += bounds_size(t->b->n, t->k, t->b->g) / 4 + 1;
    t->lambda = lambda;
    t->rest_ns =
        lambda * v->n_layers + v->floor_ns + v->p->base_ns + (t->k > 1 ? v->net_min.once : 0);
    int64_t x = t->b->tim[BOUNDS_AT(t->b, 0, t->k, t->b->free_g ? 0 : t->g, 1)];
    return x >= PLACE_INF ? PLACE_INF : x + t->rest_ns;
}

/* The dearest single layer: no higher price is useful. */
static int64_t lambda_max(const struct solver *v)
{
    int64_t most = 0;
    for (uint32_t s = 0; s < v->p->n_speeds; s++)
        for (uint32_t x = 1; x <= v->n_layers; x++) {
            int64_t step = v->excess[s][x] - v->excess[s][x - 1];
            most = step > most ? step : most;
        }
    for (uint32_t x = 1; x <= v->n_layers; x++) {
        int64_t step = v->cpu_excess[x] - v->cpu_excess[x - 1];
        most = step > most ? step : most;
    }
    return most;
}

/* The bound is concave in the price: ternary search, fewer steps when the tables are large. */
static int64_t best_bound(struct timing *t, int64_t enough)
{
    int64_t best = bound_at(t, 0), at = 0, lo = 0, hi = lambda_max(t->v);
    uint64_t cost = bounds_size(t->b->n, t->k, t->b->g);
    uint32_t rounds = cost > (1 << 18) ? 4 : 12;
    for (uint32_t i = 0; i < rounds && hi - lo > 2 && best < enough; i++) {
        int64_t a = lo + (hi - lo) / 3, c = hi - (hi - lo) / 3;
        int64_t x = bound_at(t, a), y = bound_at(t, c);
        if (x > best)
            best = x, at = a;
        if (y > best)
            best = y, at = c;
        if (x < y)
            lo = a;
        else
            hi = c;
    }
    if (t->lambda != at)
        bound_at(t, at);
    return best;
}

/* Least time with exactly k nodes and (unless free) g devices. *s may hold an answer already. */
static void least_time(struct solver *v, struct bounds *b, uint32_t k, uint32_t g,
                       struct solution *s)
{
    struct timing t = {.v = v, .b = b, .k = k, .g = g};
    int64_t lb = best_bound(&t, s->feasible ? s->ns : PLACE_INF);
    struct search x = {.v = v, .b = b, .goal = GOAL_TIME, .k = k, .best = s, .rest_ns = t.rest_ns};
    bool proved = lb >= PLACE_INF || (s->feasible && s->ns <= lb);
    /* Deepen: answers close to the bound first, which proves or improves quickly. */
    for (int64_t room = lb / 256 + 1; !proved; room = room < PLACE_INF / 8 ? room * 8 : PLACE_INF) {
        int64_t have = s->feasible ? s->ns : PLACE_INF;
        x.below_ns = lb < have - room ? lb + room : have;
        x.deadline = deadline(v);
        bool last = x.below_ns == have;
        run(&x, g);
        if (x.stopped || x.unsure) {
            if (last || x.stopped)
                break;
            if (x.found)
                continue;
        }
        proved = (last || x.found) && !x.unsure && !x.stopped;
    }
    s->proved = proved;
    s->bound_ns = proved && s->feasible ? s->ns : lb;
}

/* ---- how many nodes and devices ---- */

/* Fewest nodes whose best case holds the model; UINT32_MAX when not even all of them do. */
static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

static uint32_t fewest(const struct solver *v, uint32_t c)
{
    mem_auto uint64_t *sum = mem_calloc(v->n_nodes + 1, sizeof *sum);
    uint64_t have = 0;
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        const struct snode *s = &v->nodes[i];
        sum[i] = s->cap[c][s->n_dev];
        have = s->cpu_cap[c] > have ? s->cpu_cap[c] : have;
    }
    qsort(sum, v->n_nodes, sizeof *sum, descending);
    for (uint32_t i = 0; i < v->n_nodes; i++) {
        have += sum[i];
        if (have >= v->want[c])
            return i + 1;
    }
    return UINT32_MAX;
}

static uint32_t k_least(const struct solver *v, uint32_t k)
{
    for (uint32_t c = 0; c < CAP_COUNT; c++) {
        uint32_t x = fewest(v, c);
        k = x > k ? x : k;
    }
    return k;
}

static bool any_main(const struct solver *v)
{
    for (uint32_t i = 0; i < v->n_nodes; i++)
        if (v->nodes[i].src->main_ok)
            return true;
    return false;
}

/* A set of k nodes on which it fits, as a set in *s; s->bound_dev is how many devices it took. */
static bool exists(struct solver *v, struct bounds *b, uint32_t k, uint32_t g, struct solution *s,
                   bool *sure)
{
    struct search x = {
        .v = v, .b = b, .goal = GOAL_FITS, .k = k, .best = s, .deadline = deadline(v)};
    run(&x, g);
    *sure = x.found || !x.unsure;
    return x.found;
}

/* The set in *s becomes an answer with its least time. It was shown to fit on s->bound_dev of its
 * devices, so as many of the largest ones are used as it takes to have each of them hold a layer.
 */
static void first_answer(struct solver *v, struct solution *s)
{
    struct solution set = *s;
    *s = (struct solution){0};
    for (uint32_t n = set.bound_dev < 2 ? 2 : set.bound_dev; n <= set.n_dev && !s->feasible; n++) {
        struct search x = {.v = v, .best = s, .k = set.n_nodes, .below_ns = PLACE_INF};
        mem_auto uint32_t *node = mem_calloc(set.n_dev, sizeof *node);
        mem_auto uint32_t *dev = mem_calloc(set.n_dev, sizeof *dev);
        memcpy(node, set.node, set.n_dev * sizeof *node);
        memcpy(dev, set.dev, set.n_dev * sizeof *dev);
        x.main = set.main;
        x.node = node;
        x.dev = dev;
        x.n_pick = keep_largest(&x, node, dev, set.n_dev, n);
        leaf_time(&x);
    }
    solution_done(&set);
}

static uint32_t max_devices(const struct solver *v)
{
    uint32_t most = v->p->max_devices ? v->p->max_devices : UINT32_MAX;
    return most < v->n_layers ? most : v->n_layers;
}

/* Exactly k nodes: fewest devices, then time. *sure: a "no" is proved. */
static bool tiered_at(struct solver *v, uint32_t k, struct solution *s, bool *sure)
{
    struct snode *nodes;
    struct bounds b;
    bool cut, found = false, proved = true;
    uint32_t n = prepare_nodes(v, k, k == 1, UINT32_MAX, &nodes, &cut), most = max_devices(v);
    if (n >= k) {
        bounds_alloc(&b, nodes, n, k, 0, true);
        bounds_fill_room(&b);
        v->steps += bounds_size(n, k, 0);
        found = exists(v, &b, k, most, s, sure);
        bounds_done(&b);
    }
    if (!found) {
        free(nodes);
        return false;
    }
    /* One device would do, but alone it is another mode: then every number has to be tried. */
    bool one = s->bound_dev < 2;
    most = one ? most : s->bound_dev;
    if (most < 2) {
        solution_done(s);
        free(nodes);
        return false;
    }
    struct solution set = *s;
    *s = (struct solution){0};
    if (bounds_size(n, k, most) > TABLE_CELLS) {
        free(nodes);
        uint32_t fit = (uint32_t)(TABLE_CELLS / bounds_size(0, k, most));
        n = prepare_nodes(v, k, false, fit > k ? fit : k, &nodes, &cut);
    }
    bounds_alloc(&b, nodes, n, k, most, false);
    bounds_fill_room(&b);
    v->steps += bounds_size(n, k, most);
    found = false;
    uint32_t g = 2, bound_g = 0;
    for (; one && g <= most && !s->feasible; g++) {
        least_time(v, &b, k, g, s);
        proved = proved && s->proved;
        bound_g = bound_g ? bound_g : g;
    }
    for (; !one && g <= most && !found; g++) {
        bool g_sure = true;
        found = exists(v, &b, k, g, s, &g_sure);
        proved = proved && g_sure;
        if (!bound_g && (found || !g_sure))
            bound_g = g;
    }
    if (found || one)
        solution_done(&set);
    else /* the set that showed that k nodes do */
        *s = set;
    if (!one) {
        first_answer(v, s);
        g = s->n_dev;
    }
    if (!one && s->feasible && g <= b.g)
        least_time(v, &b, k, g, s);
    s->proved = (s->feasible ? s->proved : one) && proved && !cut;
    s->bound_dev = bound_g;
    *sure = s->proved;
    bounds_done(&b);
    free(nodes);
    return s->feasible;
}

static bool fastest_at(struct solver *v, uint32_t k, struct solution *s, bool *sure)
{
    struct snode *nodes;
    struct bounds b;
    bool cut;
    uint32_t fit = (uint32_t)(TABLE_CELLS / bounds_size(0, k, 0));
    uint32_t n = prepare_nodes(v, k, k == 1, UINT32_MAX, &nodes, &cut);
    if (n > fit) {
        free(nodes);
        n = prepare_nodes(v, k, false, fit > k ? fit : k, &nodes, &cut);
    }
    *sure = !cut;
    if (n >= k) {
        bounds_alloc(&b, nodes, n, k, 0, true);
        bounds_fill_room(&b);
        v->steps += bounds_size(n, k, 0);
        least_time(v, &b, k, max_devices(v), s);
        *sure = *sure && s->proved;
        s->proved = *sure;
        bounds_done(&b);
    }
    free(nodes);
    return s->feasible;
}

static void solve(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out,
                  bool (*at)(struct solver *, uint32_t, struct solution *, bool *))
{
    *out = (struct solution){0};
    bool sure = true;
    /* Each node but the main one has a device in use. */
    uint32_t most = v->n_nodes < max_devices(v) + 1 ? v->n_nodes : max_devices(v) + 1, bound = 0;
    k_hi = k_hi < most ? k_hi : most;
    if (any_main(v) && prepare_enough(v, max_devices(v)))
        for (uint32_t k = k_least(v, k_lo); k <= k_hi && !out->feasible; k++) {
            bool k_sure = true;
            at(v, k, out, &k_sure);
            sure = sure && k_sure;
            if (!bound && (out->feasible || !k_sure))
                bound = k;
        }
    out->proved = sure;
    out->bound_nodes = bound;
    if (out->feasible)
        polish(v, out);
}

void solve_tiered(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out)
{
    solve(v, k_lo, k_hi, out, tiered_at);
}

void solve_fastest(struct solver *v, uint32_t k_lo, uint32_t k_hi, struct solution *out)
{
    solve(v, k_lo, k_hi, out, fastest_at);
}
